# Every target does its own set-up in .venv; nothing global is touched.
SHELL := /bin/sh
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
FILES := pyproject.toml setup.py
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test clients soak faults bench lint types docs clean

demo: $(VENV)/.core  ## rehearse the deformation experiment; results under data/
	$(BIN)/megabar run deformation --simulate --seed 1

test: $(VENV)/.test  ## all tests but soak and clients
	$(BIN)/pytest -m "not soak and not clients and not alone" -n 3 --durations=15
	$(BIN)/pytest -m "alone and not soak" --durations=15

clients: $(VENV)/.clients  ## drivers that nobody here wrote, against our simulators
	$(BIN)/pytest -m clients tests/clients

soak: $(VENV)/.test  ## many seeds, simulated days: an hour or so
	$(BIN)/pytest -m soak -s

bench: $(VENV)/.test  ## what the journal costs, the load it holds, a Planck fit beside scipy: two minutes
	$(BIN)/python -P tests/benchmarks/journal.py
	$(BIN)/python -P tests/benchmarks/load.py
	$(BIN)/python -P tests/benchmarks/pyrometry.py

faults: $(VENV)/.test  ## break things, print what was measured beside what is promised, write its page; COUNT=full: often
	MEGABAR_SLACK=1 $(BIN)/pytest tests -q -m "$(if $(COUNT),not clients,not soak and not clients)" \
		--matrix=docs/explanations/fault-matrix.md

lint: $(VENV)/.lint  ## style, formatting, spelling, import contracts, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell .
	$(BIN)/lint-imports
	$(MAKE) types

types: $(VENV)/.lint  ## type checkers see an ordinary install of the wheel
	rm -rf build
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation -w build/wheel .
	rm -rf build/lib build/bdist*
	$(INSTALL) --no-deps --target build/check build/wheel/*.whl
	cd build/check && MYPYPATH=. ../../$(BIN)/mypy --config-file ../../pyproject.toml

docs: $(VENV)/.docs  ## the documentation site, in docs/_build/html
	$(BIN)/python docs/picture.py
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

clean:
	rm -rf $(VENV) build dist docs/_build docs/_generated *.egg-info

$(VENV)/.venv: $(FILES)
	@test -n "$(PYTHON)" || { echo "megabar needs Python 3.11 or newer; none was found (set PYTHON=...)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --upgrade pip
	touch $@

$(VENV)/.core: $(VENV)/.venv
	$(INSTALL) -e .
	touch $@

$(VENV)/.test: $(VENV)/.venv
	$(INSTALL) -e '.[test]'
	touch $@ $(VENV)/.core

$(VENV)/.clients: $(VENV)/.test
	$(INSTALL) -e '.[clients]'
	touch $@

$(VENV)/.lint: $(VENV)/.test
	$(INSTALL) -e '.[lint]'
	touch $@

$(VENV)/.docs: $(VENV)/.core
	$(INSTALL) -e '.[docs]'
	touch $@
