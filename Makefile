# Every target makes the virtual environment it needs when there is none.
#   make demo    the main job, on a simulated scene, a minute or two with the set-up
#   make test    the test suite
#   make check   format, lint, types, tests
#   make docs    reference of the Python interface, from its docstrings, in build/docs
#   make slow    what takes minutes: the chaos test and the like
#   make fuzz    coverage-guided fuzzing of every reader; SECONDS=120 for each, TARGETS= for all
#   make gpu     tests and benchmark of the GPU runtimes; needs a GPU, docs/gpu.md
#   make bench   speed of the engine and of the whole node on this machine

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check

SECONDS ?= 120
TARGETS ?=

.PHONY: demo gpu test check format format-check lint types docs slow fuzz bench clean

demo: $(VENV)/node
	$(BIN)/dscsnet demo

test: $(VENV)/dev
	$(BIN)/python -m pytest

check: format-check lint types test

format: $(VENV)/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

format-check: $(VENV)/dev
	$(BIN)/ruff format --check .

lint: $(VENV)/dev
	$(BIN)/ruff check .

# What programs of others see is held to the strictest rules, and so is a program that uses it.
types: $(VENV)/dev
	$(BIN)/mypy
	$(BIN)/mypy --strict --follow-imports silent docs/examples/*.py tests/typed_program.py

docs: $(VENV)/dev
	$(BIN)/python docs/reference.py build/docs

gpu: $(VENV)/dev
	$(BIN)/python -m dscsnet.tools.bench.gpu gpu-report

slow: $(VENV)/dev
	$(BIN)/python -m pytest -m slow

fuzz: $(VENV)/fuzz
	$(BIN)/python -m tests.fuzz.run --seconds $(SECONDS) $(TARGETS)

bench: $(VENV)/node
	$(BIN)/dscsnet bench

# The files are marks: what is installed is up to date while they are newer than setup.cfg.
$(VENV)/node: setup.cfg pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	touch $@

$(VENV)/dev: setup.cfg pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[train,plot,dev]'
	touch $@ $(VENV)/node

$(VENV)/fuzz: $(VENV)/dev
	$(PIP) --editable '.[fuzz]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info demo-output
