.DEFAULT_GOAL := help
.PHONY: help repro test check deps compare bench clean
PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
export PATH := $(BIN):$(PATH)

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

repro: $(VENV)/installed  ## install, then run the whole pipeline
	dvc repro

test: $(VENV)/installed  ## run the tests
	python -m pytest

check: $(VENV)/installed  ## lint, formatting, and whether dvc.yaml is whole
	ruff check .
	ruff format --check .
	python -m tools.deps --check
	for folder in . comparison disentangle disentangle/sweep; do (cd $$folder && dvc dag --dot > /dev/null) || exit 1; done

deps: $(VENV)/installed  ## write the modules that each stage imports into every dvc.yaml
	python -m tools.deps

compare: $(VENV)/installed  ## all ways to learn with several seeds, then comparison/report.md; about three hours
	cd comparison && dvc repro

bench: $(VENV)/installed  ## how fast a training step is, beside a plain one
	python benchmarks/step.py

clean:  ## remove what the pipeline made; your images and DVC's cache stay
	rm -rf models reports .scratch */.scratch */*/.scratch data/raw data/prepared data/features data/clusters data/subsets data/checked

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	python -m pip install --quiet --upgrade pip
	python -m pip install --quiet --editable '.[dev]'
	touch $@
