# Everything a newcomer needs: `make quickstart` and `make test`. Both set up .venv on their own.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: quickstart test test-slow check lint types bench clean help

help:            ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*##/\t/'

quickstart: $(STAMP)   ## train the embedded model on BFCL: base -> cold start -> Fission-GRPO (about 15 minutes)
	$(BIN)/fissile train recipes/quickstart.toml --resume

test: $(STAMP)   ## lint, types, import contracts and the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/pytest

test-slow: $(STAMP)   ## the tests that take minutes
	$(BIN)/pytest -m slow

bench: $(STAMP)   ## seconds and memory of a step, ours and vanilla TRL's
	$(BIN)/python benchmarks/step.py

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Fissile needs Python 3.11 or newer; set PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

clean:           ## remove the virtual environment and caches, never runs/
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
