# Both commands set everything up by themselves; all they need is Python 3.11 or newer, make and pip.
#   make demo    play runs/quickstart.yaml and write its degradation report
#   make test    lint, types, and all tests with branch coverage

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo smoke test lint types clean

demo: $(VENV)/core
	$(BIN)/driftloop run runs/quickstart.yaml

smoke: $(VENV)/core
	rm -rf build/smoke
	$(BIN)/driftloop run runs/smoke.yaml --out build/smoke

test: lint types
	$(BIN)/pytest --cov --cov-report=term:skip-covered --cov-fail-under=85

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The links let static tools see the four root folders under the name that they are imported by.
types: $(VENV)/dev
	mkdir -p build/ns/driftloop
	for room in loop generators selectors evals; do ln -sfn ../../../$$room build/ns/driftloop/$$room; done
	$(BIN)/mypy

$(VENV)/core: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/dev: $(VENV)/core
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build .mypy_cache .pytest_cache .ruff_cache .coverage
