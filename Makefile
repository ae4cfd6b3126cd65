# Two commands set everything up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint check faults bench clean

demo: .venv/.run  ## a real workflow on real data, through all its stages
	@$(BIN)/sluice run examples/penguins/workflow.json --out out

test: .venv/.test  ## the whole suite
	@$(BIN)/python -m pytest -n auto --dist loadgroup -q

lint: .venv/.test  ## style, types, directions
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

check: lint test  ## what CI runs

faults: .venv/.test  ## the long profile of the fault tests
	SLUICE_LONG=1 $(BIN)/python -m pytest tests/faults -q -s

bench: .venv/.test  ## every figure that the documents claim
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv out build dist

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Sluice needs Python 3.11 or newer; call: make PYTHON=python3.12 …")'
	@$(PYTHON) -m venv .venv

.venv/.run: .venv/bin/python pyproject.toml constraints.txt
	@echo "installing into .venv …"
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e .
	@touch $@

.venv/.test: .venv/bin/python pyproject.toml constraints.txt
	@echo "installing into .venv, with what the tests need …"
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[test]"
	@touch .venv/.run $@
