#!/usr/bin/env bash
# Builds the npm package's wasm and its glue into pkg/wasm: cargo, wasm-bindgen, wasm-opt. Prints the
# sizes; quick when nothing has changed. Needs what `scripts/need.sh cc wasm-target glue npm` brings;
# with --compile-only, which is the first part, no more than `cc wasm-target`.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
built=$target/wasm32-unknown-unknown/wasm/pilotlight.wasm
out=pkg/wasm
# The most that a page may have to load, glue and wasm together, gzipped.
limit=${WASM_SIZE_LIMIT:-167000}

cargo rustc --quiet --lib --crate-type cdylib --profile wasm --target wasm32-unknown-unknown \
  --no-default-features
[ "${1:-}" != --compile-only ] || exit 0

stamp=$(sha256sum "$built" "$0" scripts/strip-comments.mjs | sha256sum)
if [ ! -f "$out/.stamp" ] || [ "$(cat "$out/.stamp")" != "$stamp" ]; then
  fresh=$(mktemp -d "$target/pkg-wasm.XXXXXX")
  trap 'rm -rf "$fresh"' EXIT
  .tools/bin/glue "$built" "$fresh" pilotlight
  tests/e2e/node_modules/.bin/wasm-opt --flatten --rereloop -Oz -Oz -Oz --strip-producers --strip-target-features \
    "$fresh/pilotlight_bg.wasm" -o "$fresh/pilotlight_bg.wasm"
  node scripts/strip-comments.mjs "$fresh/pilotlight.js"
  { printf 'export default "'; gzip -9nc "$fresh/pilotlight_bg.wasm" | base64 -w0; printf '";\n'; } >"$fresh/bytes.js"
  # The types are written by hand, in pkg/index.d.ts; the glue has none of its own.
  echo "$stamp" >"$fresh/.stamp"
  mkdir -p "$out"
  rm -f "$out"/*
  mv "$fresh"/* "$fresh/.stamp" "$out/"
fi

gzipped() { gzip -9 -c "$@" | wc -c; }
wasm=$(gzipped "$out/pilotlight_bg.wasm") glue=$(gzipped "$out/pilotlight.js") wrapper=$(gzipped pkg/index.js pkg/events.js pkg/media.js pkg/options.js pkg/store.js pkg/system.js pkg/tabs.js)
total=$((wasm + glue + wrapper))
echo "pkg/wasm: $total bytes gzipped (wasm $wasm, glue $glue, wrapper $wrapper); limit $limit"
[ "$total" -le "$limit" ] || { echo "the package has outgrown its limit"; exit 1; }
