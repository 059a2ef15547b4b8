# Everything a newcomer runs. `make` alone explains.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
# The lock file decides what is built; a build never changes it.
LOCKED := --locked

# The order below is an order; and two builds at once would only wait for each other.
.NOTPARALLEL:
.PHONY: help demo check test bench bench-radio bench-settlement fuzz deps man release reproducible clean build fmt lint unit deny lab-test evm-test settlement-test package-for-tests systemd-test vm-test package cross-test openwrt-test

help: ## what there is to make
	@echo "make TARGET, with TARGET one of"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 12

demo: ## the main job, live: five routers, two gateways, a phone (installs what is missing)
	@tests/deps.sh demo
	@$(CARGO) build $(LOCKED) -p meshd -p meshctl -p redeemd -p mesh-tests --bins
	@$(CARGO) run --quiet $(LOCKED) -p mesh-tests --bin mesh-lab -- demo

check: fmt lint unit openwrt-test ## formatting, lints, unit, property and simulator tests; minutes

test: deps check deny lab-test evm-test settlement-test vm-test ## everything: check, licences, namespaces, end to end, contracts, settlement, radios
	@echo "make test: everything passed"

# For example CROSS_TARGETS="mips mipsel armv7 aarch64 x86_64".
CROSS_TARGETS ?= mips

# For example BENCH="--quick", or BENCH="--only cut,cold --topologies grid:3x3"; --help explains.
BENCH ?=

bench: ## beside babeld and batmand: outages, starts, costs; into docs/bench (more than an hour, installs both)
	@tests/deps.sh bench
	@$(CARGO) build $(LOCKED) --release -p meshd -p meshctl -p mesh-tests --bins
	@$(CARGO) run --quiet $(LOCKED) --release -p mesh-tests --bin mesh-bench -- --out docs/bench $(BENCH)

bench-radio: ## the same on simulated 802.11 radios, batman-adv included (three quarters of an hour)
	@tests/deps.sh test
	@tests/deps.sh bench
	@$(CARGO) build $(LOCKED) --release -p meshd -p meshctl -p mesh-tests --bins
	@$(CARGO) run --quiet $(LOCKED) --release -p mesh-tests --bin mesh-bench -- --radios \
		--out $(CURDIR)/tests/out/bench-radio $(BENCH)
	@cp tests/out/bench-radio/radio.json docs/bench/

# For example SETTLEMENT_BENCH="--receipts 100000".
SETTLEMENT_BENCH ?=

bench-settlement: ## receipts verified, claims settled, a million receipts; into docs/bench (half an hour)
	@tests/deps.sh test
	@tests/deps.sh bench
	@$(CARGO) build $(LOCKED) --release -p redeemd
	@REDEEMD=$(CURDIR)/target/release/redeemd $(CARGO) test --quiet $(LOCKED) -p mesh-tests \
		--test settlement_bench -- --files $(CURDIR)/tests/out/bench-settlement \
		--out $(CURDIR)/docs/bench/settlement.json $(SETTLEMENT_BENCH)

# cargo-fuzz builds with flags of the nightly compiler, which the stable one takes when told so.
FUZZ_SECONDS ?= 180
fuzz: ## new inputs for every decoder, FUZZ_SECONDS=180 each; needs `cargo install cargo-fuzz`
	@for target in $$(ls tests/fuzz/corpus); do \
		mkdir -p tests/out/fuzz/$$target; \
		RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run --fuzz-dir tests/fuzz $$target \
			tests/out/fuzz/$$target tests/fuzz/corpus/$$target -- \
			-max_total_time=$(FUZZ_SECONDS) -timeout=20 -print_final_stats=1; \
	done

package: ## the program of routers for mips, mipsel, armv7, aarch64, x86_64, and how large it is (long)
	@tests/deps.sh cross
	@openwrt/cross/package.sh

cross-test: ## it on an emulated mips, which is 32-bit and big-endian; CROSS_TARGETS="mipsel armv7" for others
	@tests/deps.sh cross
	@tests/cross/run.sh $(CROSS_TARGETS)

deps: ## install what the tests need and this machine lacks
	@tests/deps.sh test

man: ## manual pages of meshctl and meshd, into target/man
	$(CARGO) run --quiet $(LOCKED) -p meshctl --example man -- target/man

RELEASE := $(TARGET)/release/out

release: ## programs, Debian packages, bills of materials and checksums, into target/release/out
	@tests/deps.sh package
	CARGO=$(CARGO) systemd/packages/build-release.sh
	rm -rf $(RELEASE)
	CARGO=$(CARGO) systemd/packages/debian/build.sh $(TARGET)/release $(RELEASE)
	for program in meshd meshctl redeemd; do \
		cp $(TARGET)/release/$$program $(RELEASE)/; \
		CARGO=$(CARGO) systemd/packages/sbom.sh $$program >$(RELEASE)/$$program.cdx.json; \
	done
	cd $(RELEASE) && sha256sum -- * >SHA256SUMS && cat SHA256SUMS

reproducible: ## prove that the last commit makes the same bytes in two directories (two builds from nothing)
	@tests/deps.sh package
	CARGO=$(CARGO) systemd/packages/reproducible.sh

clean: ## remove what was built
	$(CARGO) clean
	rm -rf tests/out

# The rest is parts of the above.

build:
	$(CARGO) build $(LOCKED) --workspace --bins

fmt:
	$(CARGO) fmt --all -- --check

lint:
	$(CARGO) clippy $(LOCKED) --workspace --all-targets -- -D warnings
	$(CARGO) clippy $(LOCKED) --no-default-features -p meshctl -p meshd -- -D warnings

# What needs namespaces and nft is in lab-test.
unit:
	$(CARGO) test $(LOCKED) --workspace --exclude meshd --exclude mesh-tests
	$(CARGO) test $(LOCKED) -p meshd -p mesh-tests --lib --bins
	$(CARGO) test $(LOCKED) -p mesh-tests --test fuzz_corpus

# The scripts of OpenWrt, in its shell.
openwrt-test:
	@tests/deps.sh openwrt
	shellcheck openwrt/ipk.sh openwrt/meshd/files/*.sh openwrt/meshd/files/meshd.{init,hotplug,defaults} openwrt/meshd/test.sh \
		tests/openwrt/stubs/*
	$(CARGO) test $(LOCKED) -p meshd --test openwrt

deny:
	$(CARGO) fetch --quiet $(LOCKED)
	shellcheck tests/deps.sh tests/src/vm/*.sh tests/src/container/*.sh .ci/run systemd/packages/*.sh systemd/packages/debian/*.sh \
		systemd/packages/debian/*/post* openwrt/cross/*.sh tests/cross/run.sh
	CARGO=tests/cargo-for-deny "$$(tests/deps.sh deny-path)" --offline check licenses bans sources

# The programs under test are built first: a test never builds what it tests.
lab-test: build
	$(CARGO) test $(LOCKED) -p meshd --test kernel
	$(CARGO) test $(LOCKED) -p mesh-tests --test netns
	$(CARGO) test $(LOCKED) -p mesh-tests --test e2e
	$(CARGO) test $(LOCKED) -p mesh-tests --test packaging

# The contracts and the wallet, on an Ethereum node without peers.
evm-test: build
	$(CARGO) test $(LOCKED) -p mesh-tests --test evm

# The settlement service, with the contracts, SQLite and PostgreSQL.
settlement-test: build
	$(CARGO) test $(LOCKED) -p mesh-tests --test settlement

# Packages of the programs that the tests build, for the machine that installs them.
package-for-tests: build
	FAST=1 CARGO=$(CARGO) systemd/packages/debian/build.sh $(TARGET)/debug $(TARGET)/debug/debian

# The Debian packages in a container whose first process is systemd. Only root may have one with other users in it.
# Not yet part of `make test`.
systemd-test: package-for-tests
	$(CARGO) test $(LOCKED) -p mesh-tests --test systemd

# In virtual machines, whose kernel has 802.11 radios and WireGuard: two at a time, of one processor each. That is
# emulated, and keeps up with the programs as they are shipped, not with those that every other test runs.
# The job is a process group of its own, so that it ends as a whole with whoever waits for it.
VM_TEST := $(CARGO) test $(LOCKED) -p mesh-tests --test vm

vm-test:
	$(CARGO) build $(LOCKED) --release -p meshd -p meshctl --bins
	$(VM_TEST) --no-run
	@said=$$(mktemp); job=; trap '[ -z "$$job" ] || kill -- -$$job 2>/dev/null || true; rm -f $$said' EXIT; \
	set -m; $(VM_TEST) -- village >$$said 2>&1 & job=$$!; set +m; \
	others=0; $(VM_TEST) -- --skip village || others=$$?; \
	village=0; wait $$job || village=$$?; \
	cat $$said; exit $$((others | village))
	@echo "a test that fails in the virtual machine has to fail here:"
	@if said=$$($(VM_TEST) -- --ignored on_purpose 2>&1) || \
		! grep -q "machine_fails_on_purpose .* FAILED" <<<"$$said"; \
	then printf '%s\n' "$$said"; exit 1; fi
