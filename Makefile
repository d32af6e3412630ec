# Everything runs in a virtual environment in the tree; nothing but Python 3.10+ and make is needed beforehand.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# How many processes run tests: they wait for servers more than they compute.
JOBS ?= 4
# Tests that try more where they have the time (tests/scale.py).
SOAK := $(addprefix tests/,faults fuzz load pooler pg8000/test_interrupts.py tls/test_traffic.py)
# The inner loop: nothing here starts a server or a pooler of its own, or builds the package; SLOW takes over 10 s each.
SLOW := $(addprefix tests/pg8000/,test_beside_psycopg.py test_fork.py test_interrupts.py test_limits.py \
    test_pgbouncer.py test_prepared.py test_session_changes.py test_threads.py) \
    $(addprefix tests/peewee/,test_index_build.py test_iterator.py test_nearest_order.py test_quantize.py test_threads.py)
FAST := $(addprefix tests/,types wire pg8000 peewee test_layers.py test_metrics.py) $(addprefix --ignore=,$(SLOW))

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast test-all test-lowest test-servers test-citus soak lint typecheck check bench bench-scale lambda-zip dist test-wheel clean docs

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# One stamp an extra: the environment is made once and again when setup.cfg changes.
$(VENV)/.installed-%: setup.cfg pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

demo: $(VENV)/.installed-demo  ## create a schema, load 2,000 real embeddings and search them
	@$(BIN)/python -m examples.demo

test: $(VENV)/.installed-test  ## run the test suite against a real server
	$(BIN)/python -m pytest -n $(JOBS) $(TESTS)

test-fast: $(VENV)/.installed-test  ## run the quick tests of types, wire, pg8000 and Peewee, in about a minute
	$(BIN)/python -m pytest -n $(JOBS) $(FAST)

test-all:  ## run the test suite on each Python from 3.10 that is found (TESTS=tests/types: a part of it)
	@$(PYTHON) -m tests.pythons | { \
	    while read -r version python; do \
	        echo "Python $$version: $$python"; \
	        $(MAKE) --no-print-directory test PYTHON="$$python" VENV=.venvs/$$version </dev/null \
	            && passed="$$passed $$version" || failed="$$failed $$version"; \
	    done; \
	    echo "passed:$${passed:- none}; failed:$${failed:- none}"; test -n "$$passed" && test -z "$$failed"; }

# An own environment, on the oldest Python that is found. What is compared with psycopg is compared with its newest.
LOWEST := $(addprefix tests/,types pg8000 peewee drivers sqlalchemy django) $(addprefix --ignore=,$(SLOW))
test-lowest: .venvs/lowest/.installed  ## run the tests of the libraries on the lowest versions that setup.cfg allows
	.venvs/lowest/bin/python -m pytest -n $(JOBS) $(LOWEST)

.venvs/lowest/.installed: setup.cfg tests/lowest.py
	rm -rf $(@D) && mkdir -p $(@D)
	$(PYTHON) -m tests.lowest >$(@D)/constraints.txt
	$$($(PYTHON) -m tests.pythons | head -1 | cut -d' ' -f2) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(@D)/constraints.txt --editable '.[test]'
	@touch $@

# SERVERS: which of them, as pytest's -k.
test-servers: $(VENV)/.installed-servers  ## try what users do first on PostgreSQL 15 to 18, pgvector 0.5 to 0.8, and PGlite
	LIGHTVEC_SERVERS=1 $(BIN)/python -m pytest tests/servers $(if $(SERVERS),-k '$(SERVERS)')

test-citus: $(VENV)/.installed-test  ## run the tests on the Citus cluster that LIGHTVEC_CITUS_URL names
	@test -n "$$LIGHTVEC_CITUS_URL" || { echo "set LIGHTVEC_CITUS_URL to the coordinator of a cluster" >&2; exit 2; }
	$(BIN)/python -m pytest tests/citus

soak: $(VENV)/.installed-test $(VENV)/.installed-fuzz  ## try faults, poolers, load and hostile bytes for hours
	LIGHTVEC_SOAK=1 $(BIN)/python -m pytest -o faulthandler_timeout=0 $(SOAK)
	$(BIN)/python -m tests.fuzz.coverage_guided

lint: $(VENV)/.installed-dev  ## check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

typecheck: $(VENV)/.installed-dev  ## check types, strictly
	$(BIN)/mypy

docs: $(VENV)/.installed-docs  ## build the documentation into build/site; a broken link or a missing public name fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

bench: $(VENV)/.installed-bench  ## measure against psycopg 3 and pg8000
	$(BIN)/python -m tests.benchmarks

bench-scale: $(VENV)/.installed-bench  ## measure what docs/scale.md is computed from, and write it anew
	$(BIN)/python -m tests.benchmarks.scale --write

# Another file: make lambda-zip FILE=/tmp/function.zip
lambda-zip: FILE ?= dist/lambda.zip
lambda-zip: $(VENV)/.installed-demo  ## build the function of examples/aws_lambda, the same bytes each time
	@$(BIN)/python -m examples.aws_lambda.build $(FILE)

dist: $(VENV)/.installed-test  ## build the wheel and the sdist into dist/
	rm -f dist/lightvec-*
	$(BIN)/python -m build --quiet

test-wheel: dist  ## run the test suite on the built wheel, where the sources are not in reach (TESTS: a part of it)
	$(BIN)/python -m tests.wheel dist/lightvec-*.whl $(TESTS)

check: lint typecheck docs test  ## what CI runs

clean:  ## remove the virtual environment, caches and the embedded server's data
	@if [ -x $(BIN)/lightvec ] && [ -d .lightvec ]; then $(BIN)/lightvec server stop || true; fi
	rm -rf $(VENV) .venvs .lightvec .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
