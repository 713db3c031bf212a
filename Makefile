# One command a job; `make` alone lists them. Needs python3 >= 3.11 and make, nothing else.

PYTHON ?= python3
PIP_FLAGS ?=
MINUTES ?= 6
SEED ?= 0
PROCESSES ?= 2
KILLS ?= 200

BIN := .venv/bin
CORE := .venv/.installed
DEV := .venv/.installed-dev

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help install search test slow kills lint format bench clean

help: ## list what can be made
	@echo "optforge: discover optimizers by searching over programs"
	@echo
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "  e.g. make search MINUTES=3 SEED=1"

install: $(DEV) ## create .venv with optforge and all tools (once; minutes)
	@:

# A search needs optforge alone, tests and checks need the tools as well.
$(CORE): EXTRA :=
$(DEV): EXTRA := [dev]
$(DEV): WITH := and its tools
# The stamp is written last: an interrupted installation is taken up again.
$(CORE) $(DEV): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "optforge needs Python 3.11 or newer, but '$(PYTHON)' is" \
			"$$($(PYTHON) --version 2>&1 | tail -n 1). Name another: make install PYTHON=python3.12" >&2; \
		exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv || { \
		echo "'$(PYTHON) -m venv' failed. On Debian and Ubuntu: apt install python3-venv" >&2; \
		rm -rf .venv; exit 1; }
	@echo "Installing optforge$(if $(WITH), $(WITH)) into .venv (once; PyTorch is large, this takes minutes)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -e '.$(EXTRA)'
	@touch $(CORE) $@
	@echo "Installed. Next: make search"

# A population of 200 instead of the paper's 1000: in minutes it sees more generations.
search: $(CORE) ## discover a rule, from AdamW (MINUTES=6 SEED=0)
	@$(BIN)/optforge search --minutes $(MINUTES) --seed $(SEED) --population 200 --tournament 6

# Tests are many small computations: two processes of one thread each, files whole.
test slow: export OMP_NUM_THREADS ?= 1
test: $(DEV) ## run the tests, doctests included (PROCESSES=2)
	@$(BIN)/python -m pytest -q -n $(PROCESSES) --dist loadfile

slow: $(DEV) ## run the tests that take long, and property tests on new examples
	@HYPOTHESIS_PROFILE=$${HYPOTHESIS_PROFILE:-quick} $(BIN)/python -m pytest -q -m "slow or property"

kills: $(DEV) ## kill every verb at many moments; the same end each time (KILLS=200)
	@$(BIN)/python -m tests.reliability.kill --kills $(KILLS)

lint: $(DEV) ## check style (ruff) and types (pyright)
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check . || { echo "Not formatted; mend with: make format" >&2; exit 1; }
	@$(BIN)/pyright --pythonpath $(BIN)/python

format: $(DEV) ## format the code and mend what ruff can mend
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format .

bench: $(CORE) ## measure the throughput of a search
	@$(BIN)/python benchmarks/search_throughput.py

clean: ## remove .venv and caches; runs/ stays
	@rm -rf .venv .pytest_cache .ruff_cache .hypothesis build dist ./*.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo "Clean. Your runs/ are untouched."
