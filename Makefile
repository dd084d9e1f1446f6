# Everything happens in .venv, which is made when it is missing. A step that is done is not done again.

SETUP := tools/dev/setup_env.sh
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help quickstart transfer-demo install install-all test fast nightly gpu lint types unit clean distclean workflows

PYTEST := $(BIN)/python -m pytest tests
PARALLEL := --numprocesses auto --maxprocesses 4 --dist loadfile
# not in `make fast`: whole commands, new processes, other libraries
SLOW_ROOMS := test_cli test_tools test_transfer

help:
	@echo 'make quickstart [DATA=folder]   pretrain a small network and look at it, on your images if DATA is given'
	@echo 'make transfer-demo              a detector and a segmentor over the quickstart, on shapes'
	@echo 'make install                    the package and what it needs, in .venv'
	@echo 'make install-all                also the checks, and mmcv with compiled operators, mmdet and mmseg'
	@echo 'make fast                       lint, types and the quick tests, without mmcv: a few minutes'
	@echo 'make test                       install-all, then lint, types and unit'
	@echo 'make lint                       ruff, codespell, shellcheck, hadolint; workflows by their schemas'
	@echo 'make types                      mypy'
	@echo 'make unit [ARGS="-k name"]      pytest without the nightly tests, on up to four cores'
	@echo 'make nightly                    install-all, then every test'
	@echo 'make gpu [DATA=folder]          does mmssl work on this GPU: checks, speed, a short training'
	@echo '  PYTHON=python3 WHEELS=folder  with this Python, nothing installed and no network'
	@echo '  BUDGET=360                    seconds for all'
	@echo 'make clean                      remove caches and build folders'
	@echo 'make distclean                  also remove .venv'
	@echo
	@echo 'PYTHON=python3.12               which Python makes .venv (3.10 or newer)'
	@echo 'TORCH_INDEX_URL=address         another index for torch, such as'
	@echo '                                https://download.pytorch.org/whl/cpu: 0.2 GB in place of several'

quickstart:
	@$(SETUP) core
	@$(BIN)/python $(if $(DATA),tools/pretrain.py "$(DATA)",tools/quickstart.py)

transfer-demo:
	@$(SETUP) all
	@$(BIN)/python tools/transfer_demo.py

install:
	@$(SETUP) core

install-all:
	@$(SETUP) all

test: install-all
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory types
	@$(MAKE) --no-print-directory unit

fast: lint types
	$(PYTEST) --numprocesses 2 --dist loadfile $(SLOW_ROOMS:%=--ignore=tests/%) \
		-m "not slow and not nightly and not transfer" $(ARGS)

nightly:
	@$(SETUP) all
	$(PYTEST) $(PARALLEL) $(ARGS)

GPU_ARGS = $(if $(BUDGET),--budget $(BUDGET)) $(if $(DATA),--data "$(DATA)") $(ARGS)

# with PYTHON nothing is installed
gpu:
ifdef PYTHON
	@PYTHON="$(PYTHON)" WHEELS="$(WHEELS)" tools/dev/gpu.sh $(GPU_ARGS)
else
	@$(SETUP) core
	@$(BIN)/python tools/gpu.py $(GPU_ARGS)
endif

lint:
	@$(SETUP) dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/shellcheck $$(git ls-files '*.sh' .ci/run)
	$(if $(wildcard $(BIN)/hadolint),$(BIN)/hadolint -c .hadolint.yaml Dockerfile)
	@$(MAKE) --no-print-directory workflows

SCHEMA := $(BIN)/check-jsonschema --builtin-schema

workflows:
	$(SCHEMA) vendor.github-workflows .github/workflows/*.yml
	$(SCHEMA) vendor.github-issue-forms .github/ISSUE_TEMPLATE/*.yml
	$(SCHEMA) vendor.dependabot .github/dependabot.yml
	$(SCHEMA) vendor.citation-file-format CITATION.cff

types:
	@$(SETUP) dev
	$(BIN)/mypy mmssl tests/helpers

unit:
	@$(SETUP) all
	$(PYTEST) $(PARALLEL) -m "not nightly" $(ARGS)

clean:
	rm -rf build dist .ruff_cache .mypy_cache .pytest_cache .hypothesis
	find mmssl configs tools tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf .venv mmssl.egg-info mmssl/.mim
