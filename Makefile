# Every target makes the virtual environment when it is missing. torch comes through constraints.txt.
# pip compiles no bytecode: Python compiles the modules that are imported, which takes half the time of an install.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt

.PHONY: demo test test-all lint pages docs bench release-check clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) --editable '.[report,train]'
	touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) --editable '.[dev]'
	touch $@ $(VENV)/.demo

$(VENV)/.all: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) --editable '.[dev,text,starter,milvus-server]'
	touch $@ $(VENV)/.dev $(VENV)/.demo

$(VENV)/.docs: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) --editable '.[docs]'
	touch $@

# The whole chain on generated pictures; ends with demo/report.html and a searchable index.
demo: $(VENV)/.demo
	$(BIN)/limbeck demo --out demo

# The fast tests.
test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -m 'not slow' -n auto

# All tests, with the pretrained sentence encoder, the starter model and a Milvus server.
test-all: $(VENV)/.all
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto

# Style, types and the layer contract.
lint: $(VENV)/.dev
	$(BIN)/ruff check src tests benchmarks results guide
	$(BIN)/ruff format --check src tests benchmarks results guide
	$(BIN)/mypy
	$(BIN)/mypy --package results
	$(BIN)/mypy --package guide
	$(BIN)/lint-imports

# The pages in docs/results from the recorded rows.
pages: $(VENV)/.dev
	$(BIN)/python -m results

# The documentation as a site without links to the network: build/site/index.html.
docs: $(VENV)/.docs
	$(BIN)/python -m mkdocs build --quiet

# Speed, side by side in one run.
bench: $(VENV)/.dev
	$(BIN)/python benchmarks/metrics_and_search.py

# What a release must pass: all tests, lint, and the README's commands in a fresh clone.
release-check:
	scripts/release_check.sh

clean:
	rm -rf $(VENV) demo runs .pytest_cache .mypy_cache .ruff_cache .import_linter_cache build
