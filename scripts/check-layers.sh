#!/usr/bin/env bash
# The layers, `main → server → core ← browser`, kept by the compiler where it can and by text where it
# cannot. `scripts/check-layers.sh --self-test` plants each forbidden line and expects to be stopped.
set -euo pipefail
cd "$(dirname "$0")/.."

# where | what must not stand there | why. Comments do not count.
rules() {
  cat <<'R'
src/core|crate::(server|browser)|core names no shell
src/core|\b(tokio|rusqlite|axum|hyper|ruma|reqwest|web_sys|js_sys|wasm_bindgen|getrandom|rand)::|core does no IO and takes randomness from a seed
src/core|std::time(::\{[^}]*\b(Instant|SystemTime)|::(Instant|SystemTime|self|\*)|;)|SystemTime|Instant::now|time is an argument in core
src/core|std::(net|fs|thread|process|env)\b|core does no IO
src/server|crate::browser|the shells do not name each other
src/browser|crate::server|the shells do not name each other
src/main.rs|pilotlight::browser|the binary is the server's
src/server!src/server/store|\brusqlite\b|SQLite stays in src/server/store
R
}

# found ROOT DIR EXCEPT PATTERN: the lines of code below ROOT/DIR which match, each with its file and number;
# without `//` comments, and without the wasm test alias that the brief tests need.
found() {
  (cd "$1" && find "$2" -name '*.rs' -not -path "$3/*" -not -path "$3.rs" 2>/dev/null | sort | xargs -r grep -nHE "$4") \
    | sed -E -e 's#(^[^:]*:[0-9]+:|[[:space:]])//.*$#\1#' -e '/use wasm_bindgen_test::wasm_bindgen_test as test;/d' \
    | grep -E "$4"
}

check() { # check ROOT: prints every violation, fails when there is one
  local root=$1 bad=0 rule where what why
  # The pattern itself holds '|', so the fields are the first, the last, and all between.
  while IFS= read -r rule; do
    where=${rule%%|*}
    why=${rule##*|}
    what=${rule#*|}
    what=${what%|*}
    local dir=${where%%!*} except=${where#*!}
    [ "$except" = "$where" ] && except=none
    if found "$root" "$dir" "$except" "$what"; then
      echo "    ^ $why"
      bad=1
    fi
  done < <(rules)
  return $bad
}

# What the core alone is built from, dependencies of dependencies and macros included. A crate is added here
# when it knows no IO, no clock and no randomness.
core_may_use="itoa memchr proc-macro2 quote serde serde_core serde_derive serde_json syn unicode-ident zmij"

core_alone() { # core_alone MANIFEST: names every other crate in the tree, fails when there is one
  local tree crate bad=0
  tree=$(cargo tree --quiet --manifest-path "$1" --no-default-features --edges normal,build --prefix none) || return
  for crate in $(cut -d' ' -f1 <<<"$tree" | sort -u); do
    [[ " pilotlight $core_may_use " == *" $crate "* ]] && continue
    echo "the core alone is built with $crate: it belongs to the server's feature, or to core_may_use in $0"
    bad=1
  done
  return $bad
}

self_test() {
  local copy
  copy=$(mktemp -d)
  trap 'rm -rf "$copy"' RETURN
  plant() { # plant FILE LINE
    rm -rf "${copy:?}/src"
    cp -r src "$copy/src"
    mkdir -p "$(dirname "$copy/$1")"
    echo "$2" >>"$copy/$1"
    if check "$copy" >/dev/null; then
      echo "the layers lint does not see \`$2\` in $1"
      exit 1
    fi
  }
  plant src/core/mod.rs 'use crate::server::Config;'
  plant src/core/mod.rs 'use crate::browser::Client;'
  plant src/core/planted.rs 'async fn f() { tokio::time::sleep(d).await }'
  plant src/core/planted.rs 'let t = std::time::Instant::now();'
  plant src/core/planted.rs 'let t = SystemTime::now(); // a comment'
  plant src/core/planted.rs 'use std::time::{Duration, Instant};'
  plant src/core/planted.rs 'use std::time;'
  plant src/core/planted.rs 'use web_sys::Window;'
  plant src/core/planted.rs 'let n: u64 = rand::random();'
  plant src/core/planted.rs 'std::fs::read("x")'
  plant src/server/planted.rs 'use crate::browser::Client;'
  plant src/server/planted.rs 'use rusqlite::Connection;'
  plant src/browser/planted.rs 'use crate::server::Config;'
  plant src/main.rs 'use pilotlight::browser::Client;'
  rm -rf "${copy:?}/src"
  cp -r src "$copy/src"
  mkdir -p "$copy/src/server/store"
  echo 'use rusqlite::Connection;' >"$copy/src/server/store/planted.rs"
  cat >"$copy/src/core/planted.rs" <<'P'
//! Never names rusqlite:: nor crate::server.
use std::time::Duration;
use super::time::Instant;
P
  check "$copy"

  cp Cargo.lock "$copy/"
  sed '/^\[dependencies\]$/a libc = "0.2"' Cargo.toml >"$copy/Cargo.toml"
  if core_alone "$copy/Cargo.toml" >"$copy/named" || ! grep -q 'with libc:' "$copy/named"; then
    echo "the layers lint does not see that the core is built with libc"
    exit 1
  fi
}

[ "${1:-}" = --self-test ] && { self_test; exit; }
check .
# The compiler's part: natively without the server there is nothing but serde at hand, in wasm no tokio.
core_alone Cargo.toml
cargo check --quiet --lib --no-default-features
cargo check --quiet --lib --no-default-features --target wasm32-unknown-unknown
