#!/usr/bin/env bash
# `make run`: builds everything and serves it, and says what it does and how long that takes. Arguments go to
# `pilotlight serve`. The server is compiled with little optimisation (`[profile.quick]`): `cargo build --release`
# takes three times as long, and what it makes is for serving many.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
say() { echo "make run [$SECONDS s]: $*" >&2; }

say "1 of 3: the browser's side, and the tools it needs; the first time a minute or two"
scripts/need.sh cc wasm-target
scripts/need.sh glue &
glue=$!
scripts/need.sh npm &
npm=$!
scripts/build-wasm.sh --compile-only
wait "$glue"
wait "$npm"
scripts/build-wasm.sh

say "2 of 3: the homeserver, of some 300 libraries; the first time two to four minutes"
cargo build --profile quick

say "3 of 3: serving; Ctrl-C ends it, and the data stays in ./data"
exec "$target/quick/pilotlight" serve "$@"
