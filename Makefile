.DEFAULT_GOAL := help
.PHONY: help repro test bits check deps docs screenshots digits-page lock experiments compare off-codes lines bench clean
PYTHON ?= python3
# The build of torch. Empty: PyPI's, which on Linux includes CUDA. `make repro TORCH=cpu` installs a far smaller one.
TORCH ?=
SITE := NO_MKDOCS_2_WARNING=1 mkdocs build
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
export PATH := $(BIN):$(PATH)

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 13

repro: $(VENV)/installed  ## install, then run the whole pipeline
	dvc repro
	@echo
	@echo 'Done. Open reports/index.html (figures, numbers, parameters), or look at reports/figures/overview.png. To go on:'
	@echo '    source .venv/bin/activate'
	@echo '    iglo export && iglo sample --count 16 --out samples.png'

test: $(VENV)/installed  ## run the tests, on all cores
	python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

KERNELS ?= Haswell
bits: $(VENV)/installed  ## run the tests that compare results bit by bit, with other kernels of BLAS
	for kernel in $(KERNELS); do OPENBLAS_CORETYPE=$$kernel python -m pytest -m bits || exit; done

check: $(VENV)/installed  ## check lint, formatting, every dvc.yaml, the drawings, and the links of the site
	ruff check .
	ruff format --check .
	python -m tools.deps --check
	python -m tools.draw --check
	python -m tools.packages --check
	for folder in . comparison disentangle disentangle/sweep; do (cd $$folder && dvc dag --dot > /dev/null) || exit 1; done
	$(SITE)

deps: $(VENV)/installed  ## write the list of modules into every dvc.yaml, and the drawings in docs/
	python -m tools.deps
	python -m tools.draw
	python -m tools.packages

docs: $(VENV)/installed  ## build the documentation in site/; a broken link is an error
	$(SITE)

screenshots: $(VENV)/installed  ## take the pictures of `iglo explore` in docs/explore; needs Chromium and `dvc repro`
	python -m tests.explore.page.screenshots

digits-page: $(VENV)/installed  ## record the page of the digits in docs/explore/digits; needs `dvc repro`
	iglo explore --static docs/explore/digits --force
	cd docs/explore/digits && rm index.html page.js style.css icon.svg  # the site has these from the package

lock: $(VENV)/installed  ## write constraints.txt: the newest versions that pyproject.toml allows
	python -m pip install --quiet --dry-run --ignore-installed --report $(VENV)/report.json --editable '.[dev]'
	python -m tools.lock $(VENV)/report.json > $(VENV)/constraints.txt
	mv $(VENV)/constraints.txt constraints.txt

experiments: $(VENV)/installed  ## print a table of the experiments: what each changed, and its numbers
	@python -m tools.experiments

compare: $(VENV)/installed  ## train all methods with several seeds, and write comparison/report.md; about three hours
	cd comparison && dvc repro

IMAGES ?= data/frogs
LOSS_WEIGHTS ?= data/weights/vgg16_imagenet.safetensors
JUDGE_WEIGHTS ?= data/weights/tf_efficientnet_lite0_imagenet.safetensors
off-codes: $(VENV)/installed  ## train variants of GLO, and measure images off the codes; four minutes each
	python -m benchmarks.off_codes --images $(IMAGES) --loss-weights $(LOSS_WEIGHTS) --judge-weights $(JUDGE_WEIGHTS)

lines: $(VENV)/installed  ## measure paths between drawn lines, with and without noise; two to five minutes
	python benchmarks/lines.py

bench: $(VENV)/installed  ## compare the speed of a training step with that of a plain step
	python benchmarks/step.py

clean:  ## remove what the pipeline made; your images and DVC's cache stay
	rm -rf site models reports .scratch */.scratch */*/.scratch data/raw data/prepared data/features data/clusters data/subsets data/checked data/modules

$(VENV)/installed: pyproject.toml constraints.txt
	@echo 'Installing into $(VENV). This takes some minutes.'
	$(PYTHON) -m venv $(VENV)
	python -m pip install --quiet --upgrade pip
	grep -E '^torch(vision)?==' constraints.txt > $(VENV)/torch.txt
	$(if $(TORCH),python -m pip install --quiet -c $(VENV)/torch.txt torch torchvision --index-url https://download.pytorch.org/whl/$(TORCH))
	python -m pip install --quiet -c constraints.txt --editable '.[dev]'
	touch $@
