# Two commands for a fresh machine with only Python and make: `make quickstart` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
TEST_READY := $(VENV)/.installed-for-tests
DOCS_READY := $(VENV)/.installed-for-docs
# Test files run side by side: most of the time of those that start Ray is waiting.
TEST_PROCESSES ?= 2

INSTALL = (test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)) \
	&& $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable

PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile

.PHONY: quickstart test test-all lint docs dist clean

quickstart: $(READY)
	$(BIN)/taskct quickstart

# What needs no Ray, real kills, hosts or browsers, and takes seconds.
test: $(TEST_READY)
	$(PYTEST) -m "not slow" $(ARGS)

test-all: $(TEST_READY)
	$(PYTEST) $(ARGS)

lint: $(TEST_READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The documentation site, in build/site: without a network, and a warning is an error.
docs: $(DOCS_READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

# A wheel for every machine, and an sdist that compiles the projector where it is installed.
dist: $(TEST_READY)
	TASKCT_PURE=1 $(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	$(BIN)/python setup.py --quiet sdist

$(READY): pyproject.toml constraints.txt
	$(INSTALL) .
	touch $@

# Tests need more than users do: linters, a browser's driver, an S3 server, other tools' oracles.
$(TEST_READY): pyproject.toml constraints.txt
	$(INSTALL) '.[test]'
	touch $(READY) $@

$(DOCS_READY): pyproject.toml constraints.txt
	$(INSTALL) '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
