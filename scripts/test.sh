#!/usr/bin/env bash
# Everything the project claims, from a fresh clone: `make test`.
# `scripts/test.sh NAME...` runs only the steps named; `scripts/test.sh --list` names them.
# `scripts/test.sh --long` is `make test-long`: the programs that take chances, TEST_TIMES (20) times as long.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/steps.sh

all=(format features layers clippy clippy-wasm native wasm-node wasm-chromium wasm-build types e2e nio)
case ${1:-} in
  --long) wanted=(native e2e simulate) && export TEST_TIMES=${TEST_TIMES:-20} FUZZ_SEED=${FUZZ_SEED:-$(date +%s)} ;;
  --list) printf '%s\n' "${all[@]}" && exit ;;
  '') wanted=("${all[@]}") ;;
  *) wanted=("$@") ;;
esac

export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER=$PWD/.tools/bin/wasm-bindgen-test-runner
export WASM_BINDGEN_TEST_WEBDRIVER_JSON=$PWD/tests/webdriver.json
export WASM_BINDGEN_TEST_TIMEOUT=${WASM_BINDGEN_TEST_TIMEOUT:-300}
export PILOTLIGHT_BIN=$target/debug/pilotlight
# From nothing a build is a sixth cheaper without what makes the next one quicker; who has that keeps it.
[ -d "$target/debug/incremental" ] || export CARGO_INCREMENTAL=${CARGO_INCREMENTAL:-0}
wasm=(--target wasm32-unknown-unknown)

layers() {
  scripts/check-layers.sh --self-test && scripts/check-layers.sh &&
    node scripts/check-imports.mjs --self-test && node scripts/check-imports.mjs &&
    node scripts/check-floors.mjs --self-test && node scripts/check-floors.mjs
}

# Most integration tests wait most of the time: more of them at once than there are processors. How often a
# property is tried, proptest reads by itself, and the simulations read of proptest.
native() {
  [ -z "${TEST_TIMES:-}" ] || local -x PROPTEST_CASES=$((256 * TEST_TIMES))
  cargo test --no-fail-fast --tests -- --test-threads=$(($(nproc) * 2)) ${TEST_TIMES:+--show-output}
}

# The same unit tests a second time, in a browser, and those of the browser side, which need a page.
wasm_in_chromium() { WASM_BINDGEN_USE_BROWSER=1 cargo test "${wasm[@]}" --lib --features dom; }

types() { tests/e2e/node_modules/.bin/tsc --project tests/e2e/tsconfig.www.json; }

# The binary that the integration tests use. `cargo build` would make another, without the features that
# the tests' own dependencies ask of ours.
server() { cargo test --no-run --test integration; }

e2e() { server && node --test --test-force-exit --test-concurrency=$(($(nproc) + 1)) tests/e2e/*.test.mjs; }

nio() { server && .tools/python/bin/python -m unittest discover --start-directory tests/nio --verbose; }

# A day of a thousand servers with a hundred users each; `make test` has dozens, in core::fleet.
simulate() { cargo build --release --bin pilotlight && "$target/release/pilotlight" simulate; }

rm -rf "$logs"
mkdir -p "$logs"
scripts/need.sh cc wasm-target
for name in "${wanted[@]}"; do
  case $name in
    wasm-node) fetch_tools wasm-bindgen ;;
    wasm-chromium) fetch_tools wasm-bindgen chromium ;;
    wasm-build) fetch_tools glue npm ;;
    types) fetch_tools npm ;;
    e2e) fetch_tools npm chromium synapse openssl coturn ;;
    nio) fetch_tools python ;;
  esac
done

for name in "${wanted[@]}"; do
  case $name in
    format) step format - cargo fmt --check ;;
    features) step features - node scripts/check-features.mjs --self-test ;;
    layers) step layers - layers ;;
    clippy) step clippy - cargo clippy --all-targets -- -D warnings ;;
    clippy-wasm) step clippy-wasm - cargo clippy "${wasm[@]}" --lib -- -D warnings ;;
    native) step native - native ;;
    wasm-node) step wasm-node wasm-bindgen cargo test "${wasm[@]}" --lib ;;
    wasm-chromium) step wasm-chromium wasm-bindgen,chromium wasm_in_chromium ;;
    wasm-build) step wasm-build glue,npm scripts/build-wasm.sh ;;
    types) step types npm types ;;
    e2e) step e2e npm,chromium,synapse,openssl,coturn e2e ;;
    nio) step nio python nio ;;
    simulate) step simulate - simulate ;;
    *) echo "unknown step: $name" && exit 2 ;;
  esac
done
figures
close_steps
