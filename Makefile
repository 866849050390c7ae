# The commands of this project. `make train` and `make test` need git, make and Python 3.10 or newer, and nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROJECT := setup.cfg pyproject.toml scratchnet/version.py

.PHONY: help train test test-oldest mutants bench docs notebooks lint coverage clean

help:
	@echo "make train     train the three networks on 8,000 real digits (a minute or two)"
	@echo "make test      run all tests: every gradient against PyTorch autograd, and the rest"
	@echo "make test-oldest  tests without PyTorch, with the oldest releases that setup.cfg allows (OLDEST=python3.10)"
	@echo "make mutants   plant 300 errors in the sources, one at a time, and print those that no test notices (an hour)"
	@echo "make bench     time it beside PyTorch, TensorFlow and JAX (20 minutes or more; $(BIN)/python -m benchmarks --help)"
	@echo "make docs      build the course and the reference as pages, in build/docs (some minutes)"
	@echo "make notebooks make a Jupyter notebook of each lesson, in lessons/notebooks"
	@echo "make lint      check style and types"
	@echo "make coverage  branch coverage of the package"
	@echo "make clean     remove the environment and everything that was built; runs/ and lessons/notebooks/ stay"

train: $(VENV)/installed
	$(BIN)/scratchnet reproduce --overwrite

# Each process takes the tests of one file after the other. The site is built by the first, while others test on.
SPREAD := --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test: $(VENV)/installed-test
	$(BIN)/python -m pytest $(SPREAD)

# What is declared must run: the engines, the layers, files, runs and commands with the oldest release of every package,
# on the oldest Python. Newer releases of what those packages need themselves may warn that an old one is out of date.
OLDEST ?= python3.10
OLD := build/oldest
OLD_TESTS := $(addprefix tests/test_,layers.py network.py fast.py train.py checkpoint.py resume.py gradcheck.py \
  data.py own_data.py augment.py plots.py cli.py step.py platforms.py compiled.py ahead.py)

test-oldest: $(OLD)/installed
	$(OLD)/bin/python -m pytest $(SPREAD) -m "not slow" -W ignore::DeprecationWarning -p no:cacheprovider $(OLD_TESTS)

$(OLD)/installed: setup.cfg scripts/oldest.py
	rm -rf $(OLD)
	$(OLDEST) -m venv $(OLD)
	$(OLD)/bin/python scripts/oldest.py > $(OLD)/oldest.txt
	$(OLD)/bin/pip install --disable-pip-version-check --quiet --requirement $(OLD)/oldest.txt --editable .
	touch $@

mutants: $(VENV)/installed-test
	$(BIN)/python scripts/mutants.py

bench: $(VENV)/installed-bench
	$(BIN)/python -m benchmarks

# Warnings are errors. Lessons run only if they have changed since the last build; `make clean` makes all run again.
docs: $(VENV)/installed-docs
	$(BIN)/python -m sphinx -W --keep-going -q docs build/docs
	@echo "the pages are in $(CURDIR)/build/docs/index.html"

# Those that are there already may hold their reader's work; they stay as they are.
notebooks: $(VENV)/installed-docs
	$(BIN)/python scripts/notebooks.py

lint: $(VENV)/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

coverage: $(VENV)/installed-test
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage combine -q
	$(BIN)/coverage report

clean:
	rm -rf $(VENV) build dist docs/lessons docs/reference *.egg-info .coverage* .pytest_cache .hypothesis .mypy_cache .ruff_cache

# An environment for each extra, made once and again whenever what it is made of changes.
$(VENV)/created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "scratchnet needs Python 3.10 or newer; name one with: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/installed: $(VENV)/created $(PROJECT)
	$(BIN)/pip install --disable-pip-version-check --quiet --editable .
	touch $@

$(VENV)/installed-%: $(VENV)/created $(PROJECT)
	$(BIN)/pip install --disable-pip-version-check --quiet --editable '.[$*]'
	touch $@ $(VENV)/installed
