# Every target makes the virtual environment it needs when there is none.
#   make demo    the main job, on a simulated scene, a minute or two with the set-up
#   make test    the test suite; COVERAGE=1 measures what it covers
#   make check   format, lint, types, tests
#   make lock    renews the exact versions in requirements/, which demo and test install
#   make test-newest   the test suite with the newest versions that setup.cfg allows
#   make docs    reference of the Python interface, from its docstrings, in build/docs
#   make slow    what takes minutes: the chaos test and the like
#   make fuzz    coverage-guided fuzzing of every reader; SECONDS=120 for each, TARGETS= for all
#   make mutants  are faults noticed? changes of the code, one by one; PACKAGE= SEED= NUMBER=
#   make gpu     proof, figures and training on a GPU; needs one, docs/gpu.md
#   make gpu-kit what a GPU machine without internet lacks, in .gpu-kit; PYCUDA= a wheel of it
#   make bench   speed of the engine and of the whole node on this machine

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check
NEWEST ?= .venv-newest
LOCK   := $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --upgrade \
          --no-annotate --custom-compile-command 'make lock'

SECONDS ?= 120
TARGETS ?=
PACKAGE ?= pipeline
SEED    ?= 1
NUMBER  ?= 40
COVERAGE ?=

.PHONY: demo gpu gpu-kit test test-newest check format format-check lint types docs lock slow fuzz \
	mutants bench clean

demo: $(VENV)/node
	$(BIN)/dscsnet demo

test: $(VENV)/dev
	$(BIN)/python $(if $(COVERAGE),-m coverage run) -m pytest
	$(if $(COVERAGE),$(BIN)/python -m coverage report)

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
	$(BIN)/python -m dscsnet.tools.gpu prove gpu-report
	$(BIN)/python -m dscsnet.tools.gpu train runs configs/train/gpu/*.yaml

gpu-kit: $(VENV)/dev
	$(BIN)/python -m dscsnet.tools.gpu.kit .gpu-kit $(if $(PYCUDA),--pycuda $(PYCUDA))

slow: $(VENV)/dev
	$(BIN)/python -m pytest -m slow

fuzz: $(VENV)/fuzz
	$(BIN)/python -m tests.fuzz.run --seconds $(SECONDS) $(TARGETS)

mutants: $(VENV)/dev
	$(BIN)/python -m tests.mutants --package $(PACKAGE) --seed $(SEED) --number $(NUMBER)

bench: $(VENV)/node
	$(BIN)/dscsnet bench

# torch lies apart, without hashes: they differ between its builds for CPU and CUDA, and which one pip
# takes is the machine's matter. What only the CUDA build needs is exact in torch.txt, too.
lock: $(VENV)/lock
	grep '^ *torch==' setup.cfg | $(LOCK) - --output-file requirements/torch.txt
	sed -n 's/^requires = \["\(.*\)"\]/\1/p' pyproject.toml | $(LOCK) --generate-hashes \
	    - setup.cfg --extra train --extra plot --extra dev --constraints requirements/torch.txt \
	    $$(sed -n "s/^\(torch\)==.*/--no-emit-package \1/p; s/^\([^=]*\)==.*'linux'.*/--no-emit-package \1/p" \
	        requirements/torch.txt) --output-file requirements/dev.txt
	sed -n 's/^requires = \["\(.*\)"\]/\1/p' pyproject.toml | $(LOCK) --generate-hashes \
	    - setup.cfg --constraints requirements/dev.txt --output-file requirements/node.txt

test-newest:
	test -x $(NEWEST)/bin/python || $(PYTHON) -m venv $(NEWEST)
	$(NEWEST)/bin/python -m pip install --quiet --upgrade --upgrade-strategy eager pip \
	    --editable '.[train,plot,dev]'
	$(NEWEST)/bin/python -m pip list --disable-pip-version-check
	$(NEWEST)/bin/python -m pytest

# The files are marks: what is installed is up to date while they are newer than what they depend on.
$(VENV)/node: setup.cfg pyproject.toml requirements/node.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes --requirement requirements/node.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/dev: setup.cfg pyproject.toml requirements/dev.txt requirements/torch.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes --requirement requirements/dev.txt
	$(PIP) --constraint requirements/torch.txt torch
	$(PIP) --no-deps --no-build-isolation --editable .
	touch $@ $(VENV)/node

$(VENV)/lock:
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) 'uv>=0.9'
	touch $@

$(VENV)/fuzz: $(VENV)/dev
	$(PIP) --editable '.[fuzz]'
	touch $@

clean:
	rm -rf $(VENV) $(NEWEST) build dist *.egg-info .coverage demo-output gpu-report
