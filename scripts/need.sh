#!/usr/bin/env bash
# Makes the named tools available, each once: quick and silent when it is there already.
#
#   scripts/need.sh TOOL...      cc  openssl  wasm-target  glue  wasm-bindgen  npm  chromium  python  synapse
#                                coturn  cargo-fuzz  cargo-mutants
#
# Everything lands in .tools/, tests/e2e/node_modules or (chromium, coturn, a missing venv module) the system.
# What took minutes to build is also kept in ~/.cache/pilotlight-tools, so that another clone on the
# same machine starts quickly; nothing depends on that folder.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
cache=${XDG_CACHE_HOME:-$HOME/.cache}/pilotlight-tools
mkdir -p .tools

say() { echo "need: $*" >&2; }
die() { say "$*"; exit 1; }

# apt_install WHAT PACKAGE...: as root, else says exactly what to type.
apt_install() {
  local what=$1
  shift
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    die "$what is missing. Install it with: sudo apt-get install -y --no-install-recommends $*"
  fi
  say "installing $* with apt-get"
  exec 8>"/tmp/.pilotlight-apt.lock"
  flock 8
  export DEBIAN_FRONTEND=noninteractive
  apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1 && return
  apt-get update -qq >/dev/null
  apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

c_compiler() {
  command -v cc >/dev/null || apt_install "A C compiler and linker" gcc libc6-dev
}

openssl_program() {
  command -v openssl >/dev/null || apt_install "openssl" openssl
}

# The toolchain that rust-toolchain.toml pins. rustup fetches it by itself, unless it was told not to.
rust() {
  local version
  cargo --version >/dev/null 2>&1 && return
  command -v rustup >/dev/null || die "cargo is missing: see https://rustup.rs"
  version=$(sed -n 's/^channel = "\(.*\)"$/\1/p' rust-toolchain.toml)
  say "installing Rust $version"
  rustup toolchain install "$version" --profile minimal --component clippy,rustfmt --target wasm32-unknown-unknown
}

wasm_target() {
  local lib
  rust
  lib=$(rustc --print target-libdir --target wasm32-unknown-unknown 2>/dev/null || true)
  compgen -G "$lib/libcore-*.rlib" >/dev/null && return
  command -v rustup >/dev/null || die "Rust's wasm32-unknown-unknown target is missing, and rustup to add it"
  say "adding the wasm32-unknown-unknown target"
  rustup target add wasm32-unknown-unknown
}

wasm_bindgen_version() {
  local version
  version=$(sed -n 's/^wasm-bindgen = "=\(.*\)"$/\1/p' Cargo.toml)
  [ -n "$version" ] || die "Cargo.toml pins no wasm-bindgen version"
  echo "$version"
}

# The CLI must equal the crate's version. Not `--locked`: its lock names crate versions that registries
# do not serve everywhere.
wasm_bindgen() {
  local version kept
  version=$(wasm_bindgen_version)
  has_version() { [ "$("$1/wasm-bindgen" --version 2>/dev/null)" = "wasm-bindgen $version" ] && [ -x "$1/wasm-bindgen-test-runner" ]; }
  has_version .tools/bin && return
  kept=$cache/wasm-bindgen-$version
  mkdir -p .tools/bin
  if ! has_version "$kept"; then
    say "building wasm-bindgen-cli $version (once, a minute or two)"
    # Unoptimised: what it makes is the same, and a test run of 27 MB takes it 4 s longer, against the 160 CPU
    # seconds that optimising costs. Without TLS: it speaks with the driver of a browser on loopback.
    CARGO_TARGET_DIR=$root/.tools/build CARGO_PROFILE_RELEASE_OPT_LEVEL=0 \
      cargo install wasm-bindgen-cli --version "$version" --root .tools --force --quiet --no-track \
      --no-default-features --bin wasm-bindgen --bin wasm-bindgen-test-runner
    rm -rf .tools/build
    mkdir -p "$kept.$$"
    cp .tools/bin/wasm-bindgen .tools/bin/wasm-bindgen-test-runner "$kept.$$/"
    mv -T "$kept.$$" "$kept" 2>/dev/null || rm -rf "$kept.$$"
  else
    cp "$kept/wasm-bindgen" "$kept/wasm-bindgen-test-runner" .tools/bin/
  fi
  has_version .tools/bin || die "wasm-bindgen-cli $version did not install"
}

# cargo_tool NAME: a subcommand of cargo that is run by hand.
cargo_tool() {
  [ -x ".tools/bin/$1" ] && return
  say "building $1 (once, some minutes)"
  CARGO_TARGET_DIR=$root/.tools/build cargo install --locked "$1" --root .tools --quiet --no-track
  rm -rf .tools/build
}

# libFuzzer's hooks are the nightly compiler's.
cargo_fuzz() {
  cargo_tool cargo-fuzz
  cargo +nightly --version >/dev/null 2>&1 && return
  command -v rustup >/dev/null || die "a nightly compiler is missing, and rustup to add it"
  say "installing a nightly compiler"
  rustup toolchain install nightly --profile minimal
}

# What `make wasm` needs of wasm-bindgen: its library, in half of the time that its command line takes to compile.
glue() {
  local version stamp kept
  version=$(wasm_bindgen_version)
  grep -q "^wasm-bindgen-cli-support = \"=$version\"$" scripts/glue/Cargo.toml || die "scripts/glue has another wasm-bindgen than Cargo.toml"
  stamp=$(cat scripts/glue/Cargo.toml scripts/glue/src/main.rs | sha256sum | cut -c 1-16)
  kept=$cache/glue-$stamp
  mkdir -p .tools/bin
  [ -x ".tools/bin/glue" ] && [ "$(cat .tools/glue-stamp 2>/dev/null)" = "$stamp" ] && return
  if [ ! -x "$kept/glue" ]; then
    say "building the wasm's glue with wasm-bindgen $version (once, half a minute)"
    CARGO_TARGET_DIR=$root/.tools/build-glue cargo build --quiet --manifest-path scripts/glue/Cargo.toml
    mkdir -p "$kept.$$"
    cp .tools/build-glue/debug/glue "$kept.$$/"
    rm -rf .tools/build-glue
    mv -T "$kept.$$" "$kept" 2>/dev/null || rm -rf "$kept.$$"
  fi
  cp "$kept/glue" .tools/bin/glue.new
  mv .tools/bin/glue.new .tools/bin/glue
  echo "$stamp" >.tools/glue-stamp
}

npm_packages() {
  command -v node >/dev/null || die "node is missing: Node.js 20 or newer is needed"
  cmp -s tests/e2e/package-lock.json .tools/npm-installed.json && [ -d tests/e2e/node_modules ] && return
  say "installing the test tools from npm"
  (cd tests/e2e && npm ci --omit=optional --no-audit --no-fund --loglevel=error)
  cp tests/e2e/package-lock.json .tools/npm-installed.json
}

chromium() {
  command -v chromium >/dev/null && command -v chromedriver >/dev/null && return
  apt_install "headless Chromium" chromium chromium-driver
}

# The TURN server of Debian, which tests start by themselves.
coturn() {
  command -v turnserver >/dev/null && return
  apt_install "coturn" coturn
}

# python_venv NAME: a virtual environment with tests/nio/NAME.txt in it, at .tools/NAME.
python_venv() {
  local name=$1 list=tests/nio/$1.txt venv=.tools/$1
  cmp -s "$list" "$venv/installed.txt" && return
  command -v python3 >/dev/null || apt_install "Python 3" python3 python3-venv
  rm -rf "$venv"
  if ! python3 -m venv "$venv" >/dev/null 2>&1; then
    apt_install "Python's venv module" python3-venv
    python3 -m venv --clear "$venv"
  fi
  say "installing $(tr '\n' ' ' <"$list")from PyPI"
  "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$list"
  cp "$list" "$venv/installed.txt"
}

for tool in "$@"; do
  exec 9>".tools/.lock.$tool"
  flock 9 # two runs at once must not install the same tool twice
  case $tool in
    cc) c_compiler ;;
    openssl) openssl_program ;;
    wasm-target) wasm_target ;;
    glue) glue ;;
    wasm-bindgen) wasm_bindgen ;;
    npm) npm_packages ;;
    chromium) chromium ;;
    coturn) coturn ;;
    python) python_venv python ;;
    synapse) python_venv synapse ;;
    cargo-fuzz) cargo_fuzz ;;
    cargo-mutants) cargo_tool cargo-mutants ;;
    *) die "unknown tool: $tool" ;;
  esac
done
