.DEFAULT_GOAL := help
.PHONY: help repro test check deps experiments compare bench clean
PYTHON ?= python3
# The build of torch: empty takes PyPI's, which on Linux brings CUDA; `make repro TORCH=cpu` takes a far smaller one.
TORCH ?=
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
export PATH := $(BIN):$(PATH)

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 13

repro: $(VENV)/installed  ## install, then run the whole pipeline
	dvc repro
	@echo
	@echo 'Done. Open reports/index.html (figures, numbers, parameters), or look at reports/figures/overview.png. To go on:'
	@echo '    source .venv/bin/activate'
	@echo '    iglo export && iglo sample --count 16 --out samples.png'

test: $(VENV)/installed  ## run the tests
	python -m pytest

check: $(VENV)/installed  ## lint, formatting, and whether dvc.yaml is whole
	ruff check .
	ruff format --check .
	python -m tools.deps --check
	python -m tools.draw --check
	for folder in . comparison disentangle disentangle/sweep; do (cd $$folder && dvc dag --dot > /dev/null) || exit 1; done

deps: $(VENV)/installed  ## write the modules that each stage imports into every dvc.yaml, and draw docs/pipeline.svg
	python -m tools.deps
	python -m tools.draw

experiments: $(VENV)/installed  ## a table of the experiments: what each changed, and the numbers that one compares
	@python -m tools.experiments

compare: $(VENV)/installed  ## all ways to learn with several seeds, then comparison/report.md; about three hours
	cd comparison && dvc repro

bench: $(VENV)/installed  ## how fast a training step is, beside a plain one
	python benchmarks/step.py

clean:  ## remove what the pipeline made; your images and DVC's cache stay
	rm -rf models reports .scratch */.scratch */*/.scratch data/raw data/prepared data/features data/clusters data/subsets

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	python -m pip install --quiet --upgrade pip
	$(if $(TORCH),python -m pip install --quiet torch torchvision --index-url https://download.pytorch.org/whl/$(TORCH))
	python -m pip install --quiet --editable '.[dev]'
	touch $@
