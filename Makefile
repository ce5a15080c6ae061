# `make demo` and `make test` need Linux, Python 3.11 or newer and nothing else.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
MODELS := minilm rampart smollm2

export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help demo serve test lint bench soak chart protos models clean

help: ## This list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-8s %s\n", $$1, $$2 }'

demo: models ## Set everything up, serve the real models, send one request per task, and stop
	$(BIN)/python examples/demo.py

serve: models ## Serve the real models until Ctrl-C
	$(BIN)/loquor serve --repository models

test: models ## Run the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q

lint: $(VENV)/ready $(VENV)/protos ## Check style, types, layers, protos and generated code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint protos
	$(BIN)/python protos/check.py

bench: models ## Run the benchmarks (an hour)
	$(BIN)/python -m benchmarks

soak: models ## Run the long tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q tests/soak

chart: ## Check the image and the Helm chart
	$(PYTHON) deploy/check.py --slow

protos: $(VENV)/protos ## Generate the stubs from the protos
	$(VENV)-protos/bin/python protos/generate.py

models: $(VENV)/ready ## Fetch the real models into models/
	@for name in $(MODELS); do test -d models/$$name || $(BIN)/loquor models pull $$name --repository models || exit 1; done

clean: ## Remove all that the other targets made
	rm -rf $(VENV) $(VENV)-protos models .cache .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache

# PyTorch first and pinned: what follows takes the one that is there.
$(VENV)/ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# The generator needs an older protobuf than the rest, so it lives apart (docs/decisions/0002).
$(VENV)/protos: protos/requirements.txt
	test -x $(VENV)-protos/bin/python || $(PYTHON) -m venv $(VENV)-protos
	$(VENV)-protos/bin/python -m pip install --quiet --requirement protos/requirements.txt
	mkdir -p $(VENV)
	touch $@
