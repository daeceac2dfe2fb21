# Every target makes the virtual environment it needs when there is none.
#   make demo    the main job, on a simulated scene, a minute or two with the set-up
#   make test    the test suite
#   make check   format, lint, types, tests
#   make slow    what takes minutes: the chaos test and the like
#   make fuzz    coverage-guided fuzzing of every reader; SECONDS=120 for each, TARGETS= for all
#   make mutants  are faults noticed? changes of the code, one by one; PACKAGE= SEED= NUMBER=
#   make gpu     tests and benchmark of the GPU runtimes; needs a GPU, docs/gpu.md
#   make bench   speed of the engine and of the whole node on this machine

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check

SECONDS ?= 120
TARGETS ?=
PACKAGE ?= pipeline
SEED    ?= 1
NUMBER  ?= 40

.PHONY: demo gpu test check format format-check lint types slow fuzz mutants bench clean

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

types: $(VENV)/dev
	$(BIN)/mypy

gpu: $(VENV)/dev
	$(BIN)/python -m dscsnet.tools.bench.gpu gpu-report

slow: $(VENV)/dev
	$(BIN)/python -m pytest -m slow

fuzz: $(VENV)/fuzz
	$(BIN)/python -m tests.fuzz.run --seconds $(SECONDS) $(TARGETS)

mutants: $(VENV)/dev
	$(BIN)/python -m tests.mutants --package $(PACKAGE) --seed $(SEED) --number $(NUMBER)

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
