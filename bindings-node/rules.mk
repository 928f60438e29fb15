# Node: included by the top Makefile.

NODE_PACKAGES := nodejs npm
NODE_TARBALL = dist/skep-$(shell sed -n 's/^  "version": "\(.*\)",/\1/p' bindings-node/package.json).tgz

.PHONY: node-deps node-build node-test node-check node-dist

# Another Node.js than Debian's will do, from version 20 on.
node-deps: deps-build
	@command -v node >/dev/null && command -v npm >/dev/null || \
	    { apt-get update -q && DEBIAN_FRONTEND=noninteractive \
	      apt-get install -y -q --no-install-recommends $(NODE_PACKAGES); }
	@node -e 'if (parseInt(process.versions.node) < 20) throw new Error("Node.js 20 or newer is needed")'

# As a user does it: npm runs the package's own build.
node-build: node-deps
	cd bindings-node && npm ci --no-audit --no-fund
	cd examples/node && npm install --no-audit --no-fund

node-test: node-build deps-test images $(SKEP_CACHE)/rootfs.tar
	cd bindings-node && $(TEST_ENVIRONMENT) $(BESIDE_REGISTRIES) npm test
	tests/examples/run node $(SKEP_CACHE)/images/app.tar node examples/node/NAME.mjs
	$(TEST_ENVIRONMENT) tests/docs/run js README.md docs/node.md bindings-node/README.md -- $(CURDIR)/bindings-node/testing/run-page

node-check: node-deps
	cd bindings-node && npm ci --no-audit --no-fund --ignore-scripts && npm run check

# Tested where there is nothing but the package: no source, no Rust.
node-dist: node-build deps-test images $(SKEP_CACHE)/rootfs.tar
	mkdir -p dist
	cd bindings-node && npm pack --pack-destination ../dist
	$(TEST_ENVIRONMENT) $(BESIDE_REGISTRIES) bindings-node/testing/clean $(NODE_TARBALL)

# For the table of languages of `make bench`.
bench: node-build
bench: export SKEP_BENCH_NODE = SKEP_NODE_MODULE=$(CURDIR)/bindings-node node $(CURDIR)/benches/languages/run.mjs
