# Python: make python-test, python-check, python-dist, python-docs.
#
# The interpreter that PYTHON names, 3.10 or newer. What pip installs goes to a virtual environment in
# SKEP_CACHE, with the package built for debugging and installed from this tree.

PYTHON ?= python3
PYTHON_VENV := $(SKEP_CACHE)/python-venv
PYTHON_BIN := $(PYTHON_VENV)/bin
PYTHON_RUN = cd bindings-python && PATH="$(PYTHON_BIN):$$PATH" VIRTUAL_ENV=$(PYTHON_VENV)
PYTHON_TOOLS := maturin mypy 'pyright[nodejs]' ruff pytest pytest-xdist

.PHONY: python-deps python-build python-test python-check python-dist python-docs python-bench

python-deps: deps-build $(PYTHON_VENV)/ready
	$(call install,busybox-static)

$(PYTHON_VENV)/ready: bindings-python/rules.mk
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	    { apt-get update -q && apt-get install -y -q --no-install-recommends python3-venv; }
	rm -rf $(PYTHON_VENV)
	$(PYTHON) -m venv $(PYTHON_VENV)
	$(PYTHON_BIN)/pip install -q --disable-pip-version-check $(PYTHON_TOOLS)
	touch $@

python-build: python-deps
	$(PYTHON_RUN) maturin develop -q

python-test: python-build deps-test images $(SKEP_CACHE)/rootfs.tar
	$(PYTHON_RUN) env $(TEST_ENVIRONMENT) $(BESIDE_REGISTRIES) pytest -q -p no:cacheprovider
	tests/examples/run python $(SKEP_CACHE)/images/app.tar $(PYTHON_BIN)/python examples/python/NAME.py
	$(TEST_ENVIRONMENT) tests/docs/run python README.md bindings-python/README.md docs/python.md \
	    -- $(PYTHON_BIN)/python -W error

# Types twice: mypy and pyright do not agree on everything. stubtest compares the stubs of the native
# module with what it has.
python-check: python-build
	$(PYTHON_RUN) ruff check -q .
	$(PYTHON_RUN) ruff check -q --extend-ignore D103 ../examples/python
	$(PYTHON_RUN) ruff format -q --check . ../examples/python
	$(PYTHON_RUN) mypy
	$(PYTHON_RUN) python -m mypy.stubtest skep --allowlist tests/stubtest-allowlist.txt
	$(PYTHON_RUN) pyright
	$(PYTHON_RUN) pyright --verifytypes skep --ignoreexternal

# A wheel for every Python from 3.10, which is then installed where there is nothing else and tested
# there: an example and the behaviours.
python-dist: python-deps images $(SKEP_CACHE)/rootfs.tar
	rm -f dist/skep-*.whl
	$(PYTHON_RUN) maturin build -q --release --out ../dist --interpreter python
	$(TEST_ENVIRONMENT) PYTHON=$(PYTHON) $(BESIDE_REGISTRIES) bindings-python/tests/wheel.sh dist/skep-*.whl \
	    $(SKEP_CACHE)/images/app.tar

python-docs: python-build
	$(PYTHON_BIN)/pip install -q --disable-pip-version-check pdoc
	$(PYTHON_RUN) pdoc -o ../target/doc/python skep skep.aio

# For the table of languages of `make bench`: the package as it is released.
PYTHON_BENCH := $(CURDIR)/target/python-bench
bench: python-bench
bench: export SKEP_BENCH_PYTHON = $(PYTHON_BENCH)/bin/python $(CURDIR)/benches/languages/run.py

python-bench: python-deps
	rm -rf $(PYTHON_BENCH)
	$(PYTHON) -m venv $(PYTHON_BENCH)
	$(PYTHON_RUN) maturin build -q --release --out $(PYTHON_BENCH)/wheel --interpreter python
	$(PYTHON_BENCH)/bin/pip install -q --disable-pip-version-check $(PYTHON_BENCH)/wheel/skep-*.whl
