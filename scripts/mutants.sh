#!/usr/bin/env bash
# Changes the core in each way that cargo-mutants knows, and names the changes that no test of the core notices:
#
#   scripts/mutants.sh [FILE OR FOLDER...]
#
# Some thousand builds of the core alone. The simulations are left out, which would take most of the time: try what is
# missed again with them, `MUTANTS_SKIP=none`. What was found is in target/mutants.
set -euo pipefail
cd "$(dirname "$0")/.."
places=("$@")
[ $# -gt 0 ] || places=(src/core/{presence,list,federation,action} src/core/{visibility,policy}.rs)
scripts/need.sh cc cargo-mutants

files=()
for place in "${places[@]}"; do
  if [ -d "$place" ]; then files+=(--file "$place/**/*.rs"); else files+=(--file "$place"); fi
done
work=${CARGO_TARGET_DIR:-$PWD/target}/mutants
mkdir -p "$work"
# What is shown to people is not a rule, and hangs are noticed soon. A build of a mutant is small: incremental, and
# without line tables.
export CARGO_INCREMENTAL=1 CARGO_PROFILE_DEV_DEBUG=0 PROPTEST_CASES=${PROPTEST_CASES:-32}
unset CARGO_TARGET_DIR
.tools/bin/cargo-mutants mutants --no-default-features "${files[@]}" --exclude '**/tests.rs' --exclude '**/tests/**' \
  --exclude-re 'impl fmt::(Display|Debug)' --timeout 60 --output "$work" -- \
  --lib -- --skip "${MUTANTS_SKIP:-fleet::}"
