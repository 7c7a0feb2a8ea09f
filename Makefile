.DEFAULT_GOAL := help
.PHONY: help repro test bits check compare bench clean
PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
export PATH := $(BIN):$(PATH)

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

repro: $(VENV)/installed  ## install, then run the whole pipeline
	dvc repro

test: $(VENV)/installed  ## run the tests, on all cores
	python -m pytest --numprocesses auto --dist loadfile

KERNELS ?= Haswell
bits: $(VENV)/installed  ## the tests of equal bits, with other kernels of BLAS
	for kernel in $(KERNELS); do OPENBLAS_CORETYPE=$$kernel python -m pytest -m bits || exit; done

check: $(VENV)/installed  ## lint, formatting, and whether dvc.yaml is whole
	ruff check .
	ruff format --check .
	dvc dag > /dev/null

compare: $(VENV)/installed  ## all ways to learn with several seeds, then comparison/report.md; about three hours
	dvc repro comparison/dvc.yaml

bench: $(VENV)/installed  ## how fast a training step is, beside a plain one
	python benchmarks/step.py

clean:  ## remove what the pipeline made; your images and DVC's cache stay
	rm -rf models reports .scratch data/raw data/prepared data/features data/clusters data/subsets

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	python -m pip install --quiet --upgrade pip
	python -m pip install --quiet --editable '.[dev]'
	touch $@
