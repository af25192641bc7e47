# Two commands matter: `make demo` and `make test`. Both make .venv first if it is missing.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: demo test test-all readers lint format clean

demo: $(READY)
	$(BIN)/reelmill demo

test: $(READY)
	$(BIN)/python -m pytest -m "not slow and not gpu"

test-all: $(READY) readers
	$(BIN)/python -m pytest -m "not gpu"

# Readers of others that want other versions of packages than we do, each in an environment of its own.
readers: .readers/datasets/.ready .readers/energon/.ready

.readers/datasets/.ready: $(READY)
	$(PYTHON) -m venv .readers/datasets
	.readers/datasets/bin/python -m pip install --quiet datasets
	touch $@

.readers/energon/.ready: $(READY)
	$(PYTHON) -m venv .readers/energon
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > .readers/shared.pth
	mv .readers/shared.pth .readers/energon/lib/python3*/site-packages/  # torch is large: taken from ours
	.readers/energon/bin/python -m pip install --quiet megatron-energon
	touch $@

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[models,train,dev]'
	touch $@

clean:
	rm -rf $(VENV) .readers demo build *.egg-info
