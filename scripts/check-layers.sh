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
src/server!src/server/store|\brusqlite\b|SQL stays in src/server/store
R
}

# code FILE: the file without `//` comments, and without the wasm test alias that the brief tests need.
code() { sed -E -e 's#(^|[[:space:]])//.*$##' -e '/use wasm_bindgen_test::wasm_bindgen_test as test;/d' "$1"; }

check() { # check ROOT: prints every violation, fails when there is one
  local root=$1 bad=0 where what why file
  # The pattern itself holds '|', so the fields are the first, the last, and all between.
  while IFS= read -r rule; do
    where=${rule%%|*}
    why=${rule##*|}
    what=${rule#*|}
    what=${what%|*}
    local dir=${where%%!*} except=${where#*!}
    [ "$except" = "$where" ] && except=/none
    while IFS= read -r file; do
      if code "$file" | grep -nE "$what" | sed "s#^#${file#"$root"/}:#" | grep .; then
        echo "    ^ $why"
        bad=1
      fi
    done < <(find "$root/$dir" -name '*.rs' -not -path "$root/$except/*" -not -path "$root/$except.rs" 2>/dev/null | sort)
  done < <(rules)
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
}

[ "${1:-}" = --self-test ] && { self_test; exit; }
check .
# The compiler's part: natively without the server there is no web_sys, in wasm there is no tokio; what
# compiles both ways has nothing but serde at hand.
cargo check --quiet --lib --no-default-features
cargo check --quiet --lib --no-default-features --target wasm32-unknown-unknown
