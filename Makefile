# Commands for developers. They run on Debian 12 with only a Rust toolchain: `packages` installs the rest.

CARGO ?= cargo
# Seconds for each fuzz target.
FUZZ_SECONDS ?= 60
# Seconds for which a player has to play in the end-to-end tests; the full run is `make test WEIR_E2E_SECONDS=60`.
export WEIR_E2E_SECONDS ?= 15
# The advisories check of `cargo deny` needs a database on the network, so it is not among these.
DENY_CHECKS ?= licenses bans sources

.DEFAULT_GOAL := help
.PHONY: help build demo test check fmt clippy doc tidy deny fuzz-check advisories fuzz bench latency packages packages-bench

help:
	@echo 'make demo      start a server, push a programme into it, print the address of its watch page'
	@echo 'make build     the release binary: target/release/weir'
	@echo 'make test      all tests, end to end with real encoders and players'
	@echo 'make check     format, tidy, clippy, rustdoc, licences'
	@echo 'make fuzz      each fuzz target for FUZZ_SECONDS ($(FUZZ_SECONDS))'
	@echo 'make bench     list the benchmarks, and how to run each'
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

# The few doc tests run first, so that the last lines of a run are those of the tests that matter.
test: packages
	$(CARGO) test --workspace --locked --doc
	$(CARGO) test --workspace --locked --lib --bins --tests

check: packages fmt tidy clippy doc deny fuzz-check

fmt:
	$(CARGO) fmt --all --check

tidy:
	$(CARGO) test --locked -p tidy

clippy:
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

doc:
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps --locked

# The fuzz targets are a separate workspace, so no target above compiles them.
fuzz-check:
	cd fuzz && $(CARGO) clippy --locked --all-targets -- -D warnings

deny:
	@.ci/deny $(DENY_CHECKS)

# Not part of `check`, because it needs the advisory database, and `check` has to give the same result without a network.
advisories:
	@.ci/deny advisories

# The pinned toolchain is stable. RUSTC_BOOTSTRAP makes it accept the sanitizer flags of cargo-fuzz.
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
	@echo 'Each prints its result beside that of another program in the same run (docs/performance.md):'
	@$(CARGO) metadata --no-deps --format-version 1 --locked | jq -r \
		'.packages[] | select(.name == "benches") | .targets[] | select(.kind[0] == "bin" or .kind[0] == "bench") | \
		"  cargo " + (if .kind[0] == "bin" then "run --release -p benches --bin " else "bench -p benches --bench " end) + .name'
	@echo '  make latency'

latency: packages
	$(CARGO) build --release --locked -p weir
	cd weir/tests/players && npm ci --no-audit --no-fund --silent && for player in watch hls; do \
		node latency.mjs "$(CURDIR)/target/release/weir" 20 $$player; done
