# skep for C. Included by the Makefile at the top.
#
#   make install PREFIX=/usr/local DESTDIR=    header, libskep.so, libskep.a, skep.pc
#   make c-build    the library, and a prefix of it in target/c/prefix
#   make c-test     its tests, with sanitizers and valgrind; the examples; what docs/c.md shows
#   make c-check    whether include/skep.h is what the sources say
#   make c-dist     dist/skep-VERSION-x86_64-linux.tar.gz, tested from a clean prefix

PREFIX ?= /usr/local
C_PACKAGES := gcc g++ libc6-dev binutils pkg-config libcjson-dev valgrind python3 busybox-static
C_VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
C_PREFIX := $(CURDIR)/target/c/prefix
C_DIST := skep-$(C_VERSION)-$(shell uname -m)-linux

.PHONY: install c-deps c-build c-test c-check c-dist c-bench

install: deps-build
	$(CARGO) build --release -p skep-c
	bindings-c/install.sh target/release $(C_VERSION) "$(PREFIX)" "$(DESTDIR)"

c-deps:
	$(call install,$(C_PACKAGES))

c-build: c-deps
	$(CARGO) build -p skep-c
	bindings-c/install.sh target/debug $(C_VERSION) $(C_PREFIX)

c-test: c-build images $(SKEP_CACHE)/rootfs.tar
	$(CARGO) test -p skep-c
	$(TEST_ENVIRONMENT) $(BESIDE_REGISTRIES) bindings-c/tests/run $(C_PREFIX)
	$(TEST_ENVIRONMENT) PKG_CONFIG_PATH=$(C_PREFIX)/lib/pkgconfig LD_LIBRARY_PATH=$(C_PREFIX)/lib \
	    tests/docs/run c README.md docs/c.md -- $(CURDIR)/bindings-c/tests/shown

c-check: deps-build
	$(CARGO) test -q -p skep-c --test header

# A prefix that can stand anywhere: skep.pc finds its files beside it.
c-dist: c-deps images
	$(CARGO) build --release -p skep-c
	rm -rf target/c/$(C_DIST) && mkdir -p dist target/c/$(C_DIST)
	bindings-c/install.sh target/release $(C_VERSION) '$${pcfiledir}/../..' target/c/$(C_DIST)
	install -m 644 -D -t target/c/$(C_DIST)/share/doc/skep LICENSE-APACHE LICENSE-MIT docs/c.md
	tar -czf dist/$(C_DIST).tar.gz -C target/c $(C_DIST)
	bindings-c/tests/dist dist/$(C_DIST).tar.gz $(SKEP_CACHE)/images/app.tar

# For the table of languages of `make bench`.
bench: c-bench
bench: export SKEP_BENCH_C = $(CURDIR)/target/c/bench

c-bench: c-deps
	$(CARGO) build --release -p skep-c
	bindings-c/install.sh target/release $(C_VERSION) $(CURDIR)/target/c/release
	gcc -O2 benches/languages/run.c -o target/c/bench -Itarget/c/release/include \
	    target/c/release/lib/libskep.a -lgcc_s -lm
