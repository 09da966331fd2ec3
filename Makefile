# Each target installs what it lacks, once; all of them run on a machine with rustup's cargo, Node and root.

TARGET := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help run federation-demo wasm test test-long fuzz mutants lint fmt bench

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## build everything and serve the homeserver with its web client
	@scripts/run.sh $(ARGS)

federation-demo: wasm ## two homeservers that speak with each other, each with a user, to open in two windows
	@scripts/need.sh openssl
	cargo build --profile quick
	@scripts/federation-demo.sh

wasm: ## build the npm package's wasm and glue into pkg/wasm
	@scripts/need.sh cc wasm-target glue npm
	scripts/build-wasm.sh

test: ## format, lints, unit tests natively, in Node and in Chromium, and everything end to end
	@scripts/test.sh

test-long: ## the tests that take chances, 20 times as long (TEST_TIMES), and a simulated day; by hand
	@scripts/test.sh --long

fuzz: ## libFuzzer over every parser, SECONDS (300) each: `make fuzz TARGETS="token filter"`; by hand
	@scripts/fuzz.sh $(or $(SECONDS),300) $(TARGETS)

mutants: ## change the rules of the core and see which tests notice: `make mutants FILES=src/core/list`; by hand
	@scripts/mutants.sh $(FILES)

lint: ## formatting, clippy, the layers and the feature table: the quick part of `make test`
	@scripts/test.sh format features layers clippy clippy-wasm

fmt: ## format the Rust sources
	cargo fmt

bench: wasm ## measure the package, then this server and Synapse in one run
	@scripts/need.sh synapse
	cargo build --release --bin pilotlight --examples
	node --expose-gc tests/bench/js/client.mjs
	PILOTLIGHT_BIN=$(abspath $(TARGET)/release/pilotlight) node tests/bench/run.mjs $(ARGS)
