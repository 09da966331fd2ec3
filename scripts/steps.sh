# Sourced: runs named steps one after the other, each into its own log, and adds up what they counted;
# installs tools beside them, so that downloads overlap with compiling.
# shellcheck shell=bash

target=${CARGO_TARGET_DIR:-$PWD/target}
logs=$target/test-logs
steps_failed=()
declare -A tool_pid tool_status

# fetch_tools TOOL...: starts installing each in the background; `ready TOOL` waits for its end.
fetch_tools() {
  local tool
  for tool in "$@"; do
    [ -z "${tool_pid[$tool]:-}" ] || continue
    scripts/need.sh "$tool" &
    tool_pid[$tool]=$!
  done
}

ready() {
  local tool=$1
  if [ -z "${tool_status[$tool]:-}" ]; then
    wait "${tool_pid[$tool]}" && tool_status[$tool]=0 || tool_status[$tool]=$?
  fi
  return "${tool_status[$tool]}"
}

# step NAME NEEDS COMMAND...: one line on success, the end of the log on failure; goes on either way.
# NEEDS names the fetched tools that it waits for, separated by commas, or is `-`.
step() {
  local name=$1 needs=$2 log=$logs/$1.log began=$SECONDS tool outcome=ok
  shift 2
  for tool in ${needs//,/ }; do
    [ "$tool" = - ] || ready "$tool" || outcome="FAILED, without $tool"
  done
  if [ "$outcome" = ok ]; then "$@" >"$log" 2>&1 </dev/null || outcome=FAILED; fi
  printf '  %-8s%-16s %4d s  %s\n' "$outcome" "$name" $((SECONDS - began)) "$(counted "$log")"
  [ "$outcome" = ok ] && return
  steps_failed+=("$name")
  [ ! -f "$log" ] || excerpt "$log" | sed 's/^/      /'
}

# excerpt LOG: the failed tests, of node --test, cargo test and unittest; without any, the end.
excerpt() {
  local failed
  failed=$(awk '
    /^ *not ok / { shown = 1 }
    /^failures:$/ || /^(FAIL|ERROR): / { rest = 1 }
    (shown || rest) && ++lines <= 80 { print }
    /^ *\.\.\.$/ { shown = 0 }
    /^test result: / { rest = 0 }' "$1")
  if [ -n "$failed" ]; then echo "$failed"; else tail -n 60 "$1"; fi
}

# counted LOG...: the sum of what cargo test, wasm-bindgen-test, node --test and unittest closed with.
counted() {
  cat "$@" 2>/dev/null | awk '
    /^test result: / { for (i = 1; i < NF; i++) { if ($(i + 1) ~ /^passed/) pass += $i; if ($(i + 1) ~ /^failed/) fail += $i } }
    /^(#|ℹ) pass [0-9]+$/ { pass += $3 }
    /^(#|ℹ) fail [0-9]+$/ { fail += $3 }
    /^Ran [0-9]+ tests? in / { ran = $2; pass += ran }
    /^FAILED \(/ && ran {
      bad = 0
      for (line = $0; match(line, /(failures|errors)=[0-9]+/); line = substr(line, RSTART + RLENGTH)) {
        split(substr(line, RSTART, RLENGTH), part, "=")
        bad += part[2]
      }
      pass -= bad; fail += bad; ran = 0
    }
    END { if (pass + fail) printf "%d passed, %d failed\n", pass, fail }'
}

# What the tests of a long run counted, and what the simulation printed.
figures() {
  [ -n "${TEST_TIMES:-}" ] || return 0
  echo "$TEST_TIMES times as long: $((256 * TEST_TIMES)) cases a property, $((300 * TEST_TIMES)) seeds of federation"
  cat "$logs"/*.log | sed -n 's/^ *[#ℹ] figures: /  /p'
  [ ! -f "$logs/simulate.log" ] || sed -e '/^ *\(Compiling\|Finished\) /d' -e 's/.*\r//; s/^/  /' "$logs/simulate.log"
}

# The closing line. A step that failed without counting a failed test (it did not compile) counts as one.
close_steps() {
  local total name passed=0 failed=0
  total=$(counted "$logs"/*.log)
  if [ -n "$total" ]; then
    passed=${total%% passed*}
    failed=${total##*, }
    failed=${failed%% failed*}
  fi
  for name in "${steps_failed[@]}"; do
    [[ $(counted "$logs/$name.log") =~ ,\ [1-9] ]] || failed=$((failed + 1))
  done
  [ ${#steps_failed[@]} = 0 ] || echo "failed: ${steps_failed[*]} (logs in $logs)"
  echo "$passed passed, $failed failed"
  [ ${#steps_failed[@]} = 0 ]
}
