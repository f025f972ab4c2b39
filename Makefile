# What a person types. Everything runs on Debian 12 with nothing but a Rust toolchain: `packages` adds the rest.

CARGO ?= cargo
# Seconds for each fuzz target.
FUZZ_SECONDS ?= 60
# Seconds that a player has to play in the end-to-end tests; the full run is `make test WEIR_E2E_SECONDS=60`.
export WEIR_E2E_SECONDS ?= 15
# `cargo deny` looks advisories up in a database on the network; without it the rest is still checked.
DENY_CHECKS ?= licenses bans sources

.DEFAULT_GOAL := help
.PHONY: help build demo test check fmt clippy doc tidy deny fuzz-check advisories fuzz bench latency packages packages-bench

help:
	@echo 'make demo      start a server, push a programme into it, print the page to watch it on'
	@echo 'make build     the release binary: target/release/weir'
	@echo 'make test      all tests, end to end with real encoders and players'
	@echo 'make check     format, tidy, clippy, rustdoc, licences'
	@echo 'make fuzz      each fuzz target for FUZZ_SECONDS ($(FUZZ_SECONDS))'
	@echo 'make bench     the benchmarks there are, and how to run each'
	@echo 'make latency   glass-to-glass delay in Chromium: the watch page, and hls.js with its defaults'

packages:
	@deploy/packages build test

packages-bench: packages
	@deploy/packages bench

build:
	@deploy/packages build
	$(CARGO) build --release --locked -p weir

demo: packages
	@deploy/demo.sh

# Examples in the documentation first: there are few, and the last lines of a run should be those that matter.
test: packages
	$(CARGO) test --workspace --locked --doc
	$(CARGO) test --workspace --locked --lib --bins --tests

check: packages fmt tidy clippy doc deny fuzz-check

fmt:
	$(CARGO) fmt --all --check

tidy:
	$(CARGO) test --locked -p weir --test tidy

clippy:
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

doc:
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps --locked

# The fuzz targets are a workspace of their own, so nothing above notices when they no longer compile.
fuzz-check:
	cd fuzz && $(CARGO) clippy --locked --all-targets -- -D warnings

deny:
	@.ci/deny $(DENY_CHECKS)

# Needs the advisory database, so it is no part of `check`: that has to say the same thing with and without a network.
advisories:
	@.ci/deny advisories

# The pinned toolchain is a stable one: the sanitizer flags of cargo-fuzz are let through by RUSTC_BOOTSTRAP.
fuzz: packages
	@command -v cargo-fuzz >/dev/null || $(CARGO) install --locked cargo-fuzz
	@set -e; cd fuzz; for target in $$(RUSTC_BOOTSTRAP=1 $(CARGO) fuzz list); do \
		echo "fuzz $$target: $(FUZZ_SECONDS) s"; \
		seeds=; [ ! -d "seeds/$$target" ] || seeds="seeds/$$target"; \
		mkdir -p "corpus/$$target"; \
		RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run "$$target" "corpus/$$target" $$seeds -- \
			-max_total_time=$(FUZZ_SECONDS) -max_len=1024 -rss_limit_mb=2048; \
	done

bench: packages-bench
	@echo 'Each prints its result next to that of its peer in the same run (docs/performance.md):'
	@$(CARGO) metadata --no-deps --format-version 1 --locked | jq -r \
		'.packages[] | select(.name == "benches") | .targets[] | select(.kind[0] == "bin" or .kind[0] == "bench") | \
		"  cargo " + (if .kind[0] == "bin" then "run --release -p benches --bin " else "bench -p benches --bench " end) + .name'
	@echo '  make latency'

latency: packages
	$(CARGO) build --release --locked -p weir
	cd weir/tests/players && npm ci --no-audit --no-fund --silent && for player in watch hls; do \
		node latency.mjs "$(CURDIR)/target/release/weir" 20 $$player; done
