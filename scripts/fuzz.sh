#!/usr/bin/env bash
# Runs libFuzzer over the parsers (src/server/fuzzed), one after the other, and says what it executed:
#
#   scripts/fuzz.sh SECONDS [TARGET...]
#
# What it learns of a parser stays in target/fuzz/corpus/TARGET; an input that one falls over is named at the end, to be
# mended and put into tests/fuzz/corpus/TARGET, where every test run looks at it.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:?how many seconds for each target}
shift
[ $# -gt 0 ] || mapfile -t targets < <(ls tests/fuzz/corpus)
[ $# -eq 0 ] || targets=("$@")

scripts/need.sh cc cargo-fuzz
export PATH=$PWD/.tools/bin:$PATH
work=${CARGO_TARGET_DIR:-$PWD/target}/fuzz
# The versions that everything else is built with.
cp Cargo.lock tests/fuzz/Cargo.lock
# Without a sanitizer: there is no unsafe code to watch, and it is twice as fast.
cargo +nightly fuzz build --fuzz-dir tests/fuzz --target-dir "$work" --sanitizer none
program=$(ls "$work"/*/release/fuzz)

failed=()
for target in "${targets[@]}"; do
  mkdir -p "$work/corpus/$target" "$work/found/$target"
  log=$work/$target.log
  FUZZ_TARGET=$target "$program" "$work/corpus/$target" "tests/fuzz/corpus/$target" \
    -max_total_time="$seconds" -max_len=8192 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -dict=tests/fuzz/words.dict -artifact_prefix="$work/found/$target/" >"$log" 2>&1 \
    || failed+=("$target: $log, $work/found/$target")
  echo "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") executions"
done
[ ${#failed[@]} -eq 0 ] || { printf 'falls over: %s\n' "${failed[@]}" >&2; exit 1; }
