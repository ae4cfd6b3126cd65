# `make` lists the targets. On a fresh machine start with `make demo` or `make test`.
PYTHON ?= python3
BIN := .venv/bin
# Each stage, command and worker of the tests is a process of its own. Without bytecode all would compile everything.
unexport PYTHONDONTWRITEBYTECODE
COMPILE = $(BIN)/python -m compileall -q functions

.DEFAULT_GOAL := help
.PHONY: help demo demo-review demo-tes test coverage lint docs check faults bench sbom release clean

help:  ## list the targets
	@sed -nE 's/^([a-z-]+):.*  ## (.*)/  make \1\t\2/p' Makefile | expand -t 20

demo: .venv/.run  ## run a real workflow on real data through all its stages
	@$(BIN)/sluice run examples/penguins/workflow.json --out out

demo-review: .venv/.run  ## hold a workflow's results, look at them, and release two files of three
	@PATH="$(CURDIR)/$(BIN):$$PATH" examples/review/demo

demo-tes: .venv/.run  ## run a GA4GH TES task of two executors
	@$(BIN)/sluice tes run examples/tes/task.json

test: .venv/.test  ## run the whole test suite
	@$(COMPILE)
	@$(BIN)/python -m pytest -n auto --dist loadgroup -q

coverage: .venv/.test  ## run the whole test suite and list the lines and branches that no test reaches
	@$(COMPILE)
	@$(BIN)/python -m pytest -n auto --dist loadgroup -q --cov --cov-report=term-missing

lint: .venv/.test  ## check style, types and import directions
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

docs: .venv/.test  ## build the documentation's site into build/docs; a broken link is an error
	@$(BIN)/python -m sphinx -W --keep-going -q -b html -c docs . build/docs && echo "built: build/docs/index.html"

check: lint docs .venv-crates/.ready test  ## run everything that CI runs

faults: .venv/.test  ## run the fault tests with their long profile
	SLUICE_LONG=1 $(BIN)/python -m pytest tests/faults tests/cluster/test_kubernetes_schedules.py -q -s

bench: .venv/.test  ## measure every figure that the documents claim; the table is in build/bench.md then
	$(BIN)/python -m benchmarks --markdown build/bench.md

sbom: .venv/.test  ## list what the image contains, as CycloneDX JSON in build/sbom.cdx.json
	@rm -rf build/image && mkdir -p build && $(BIN)/python -m venv --without-pip build/image
	@$(BIN)/python tools/image_requirements.py functions > build/image-requirements.txt
	@$(BIN)/python -m pip --python build/image/bin/python install -q -r build/image-requirements.txt -c constraints.txt
	@$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible -o build/sbom.cdx.json build/image
	@echo "written: build/sbom.cdx.json"

release: .venv/.test  ## bump to PART=major|minor|patch or VERSION=1.2.3, date the changelog, build, commit, tag
	@PATH="$(CURDIR)/$(BIN):$$PATH" tools/release "$(or $(VERSION),$(PART))"

clean:  ## remove everything that is built or installed here
	rm -rf .venv .venv-crates out build dist

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Sluice needs Python 3.11 or newer; call: make PYTHON=python3.12 …")'
	@$(PYTHON) -m venv .venv

.venv/.run: .venv/bin/python pyproject.toml constraints.txt
	@echo "installing into .venv …"
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e .
	@$(COMPILE)
	@touch $@

# roc-validator checks the crates in tests/trust/test_crates.py; its dependencies need other versions than ours.
.venv-crates/.ready:
	@echo "installing roc-validator into .venv-crates …"
	@$(PYTHON) -m venv .venv-crates
	@.venv-crates/bin/python -m pip install -q --disable-pip-version-check 'roc-validator>=0.13,<0.14'
	@touch $@

.venv/.test: .venv/bin/python pyproject.toml constraints.txt
	@echo "installing into .venv, with what tests, documentation and releases need …"
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[test,otel,docs,release]"
	@touch .venv/.run $@
