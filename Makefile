# make demo    runs the main job: an image is made, loaded, and a command runs in it
# make test    passes the tests, on this kernel and in a virtual machine with cgroup v2
# make check   fmt, clippy, docs, the keeper for aarch64: what runs nothing
# make fuzz    runs the fuzz targets for longer, and keeps what they find
# make bench   measures skep beside its peers, as ratios
# make dist    builds a wheel, an npm package and a C prefix into dist/, each tested in a clean place
#
# Each language's targets (NAME-build, -test, -check, -dist) are in bindings-NAME/rules.mk.
#
# On Debian 12 with Rust; everything else is installed from Debian's packages by name. Needs root,
# as containers do.

SKEP_CACHE ?= $(CURDIR)/.cache
export SKEP_CACHE
CARGO ?= cargo
GUEST := x86_64-unknown-linux-gnu

BUILD_PACKAGES := gcc libc6-dev make git ca-certificates
IMAGE_PACKAGES := mmdebstrap umoci skopeo python3
TEST_PACKAGES := busybox-static iproute2 strace podman conmon crun docker-registry openssl g++
BENCH_PACKAGES := runc crun bubblewrap busybox-static podman docker-registry
VM_PACKAGES = $(shell tests/vm/run --packages)

# What every language's tests get: the image app.tar, a small root file system, skips forbidden.
TEST_ENVIRONMENT = SKEP_TEST_IMAGES=$(SKEP_CACHE)/images \
    SKEP_TEST_ROOTFS=$(SKEP_CACHE)/rootfs.tar SKEP_FORBID_SKIPS=1
# Two registries on loopback, for as long as the command behind it runs.
BESIDE_REGISTRIES = $(CURDIR)/tests/registry/run
LANGUAGES := python node c

.PHONY: all demo test test-native test-vm test-languages check fmt clippy doc aarch64 bench images dist clean
.PHONY: fuzz test-fuzz deps-build deps-images deps-test deps-bench rust-test

all:
	$(CARGO) build --release --workspace

# $(call install,PACKAGES): installs what dpkg does not have yet.
define install
	@missing=$$(for p in $(1); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if [ -n "$$missing" ]; then \
	    apt-get update -q && \
	    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $$missing; \
	fi
endef

deps-build:
	$(call install,$(BUILD_PACKAGES))

deps-images: deps-build
	$(call install,$(IMAGE_PACKAGES))

deps-test: deps-images
	$(call install,$(TEST_PACKAGES) $(VM_PACKAGES))

deps-bench: deps-images
	$(call install,$(BENCH_PACKAGES))

images: deps-images
	tests/images/make.sh $(SKEP_CACHE)/images

demo: images
	$(CARGO) run --release --example limits -- $(SKEP_CACHE)/images/app.tar

test: check test-native test-fuzz test-languages dist test-vm

test-native: deps-test images $(SKEP_CACHE)/rootfs.tar
	$(TEST_ENVIRONMENT) $(BESIDE_REGISTRIES) $(CARGO) test --workspace --no-fail-fast

# How often each fuzz target runs in `make test`, some seconds each, and in `make fuzz`.
FUZZ_RUNS_SHORT := 5000
FUZZ_RUNS := 2000000
FUZZ_ENVIRONMENT = SKEP_FUZZ_TARGET=$(CURDIR)/target/fuzz CARGO=$(CARGO)

test-fuzz: deps-test
	$(FUZZ_ENVIRONMENT) fuzz/run $(FUZZ_RUNS_SHORT)

fuzz: deps-test
	$(FUZZ_ENVIRONMENT) SKEP_FUZZ_CORPUS=$(SKEP_CACHE)/fuzz fuzz/run $(FUZZ_RUNS)

# The root file system of the behaviours, for all languages.
$(SKEP_CACHE)/rootfs.tar: tests/behaviours/rootfs.sh | deps-test
	mkdir -p $(SKEP_CACHE)
	tests/behaviours/rootfs.sh $@

test-languages: rust-test $(LANGUAGES:%=%-test)

# The examples and all that the documentation shows.
rust-test: deps-test images
	$(CARGO) build -p skep --examples
	tests/examples/run rust $(SKEP_CACHE)/images/app.tar target/debug/examples/NAME
	$(TEST_ENVIRONMENT) tests/docs/run rust README.md docs/rust.md -- $(CURDIR)/tests/docs/rust

dist: $(LANGUAGES:%=%-dist)

# The same test programs, linked statically, on Debian's 6.1 kernel with cgroup v2 alone.
test-vm: deps-test
	tests/vm/suite

check: fmt clippy doc aarch64 $(LANGUAGES:%=%-check)

fmt:
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check

clippy: deps-build
	$(CARGO) clippy --workspace --all-targets -- -D warnings

doc: deps-build
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

aarch64: deps-build
	tests/aarch64/check core/keeper/main.rs -C codegen-units=1 \
	    -C "link-args=-z noseparate-code -z norelro --build-id=none --no-eh-frame-hdr"

bench: deps-bench images
	tests/images/big.sh $(SKEP_CACHE)/images
	SKEP_TEST_IMAGES=$(SKEP_CACHE)/images $(CARGO) run --release -p skep-bench

clean:
	$(CARGO) clean
	rm -rf $(SKEP_CACHE) dist

include $(LANGUAGES:%=bindings-%/rules.mk)
