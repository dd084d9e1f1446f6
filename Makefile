# Everything happens in .venv, which is made when it is missing. A step that is done is not done again.

SETUP := tools/misc/setup_env.sh
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help quickstart transfer-demo install install-all test lint types unit clean distclean

help:
	@echo 'make quickstart [DATA=folder]   pretrain a small model and look at it, on your images if DATA is given'
	@echo 'make transfer-demo              a detector and a segmentor over the quickstart, on shapes'
	@echo 'make install                    the package and what it needs, in .venv'
	@echo 'make install-all                also the checks, and mmcv with compiled operators, mmdet and mmseg'
	@echo 'make test                       install-all, then lint, types and unit'
	@echo 'make lint                       ruff check, ruff format --check, codespell'
	@echo 'make types                      mypy'
	@echo 'make unit [ARGS="-k name"]      pytest, on up to four cores'
	@echo 'make clean                      remove caches and build folders'
	@echo 'make distclean                  also remove .venv'
	@echo
	@echo 'PYTHON=python3.12               which Python makes .venv (3.10 or newer)'
	@echo 'TORCH_INDEX_URL=address         another index for torch, such as'
	@echo '                                https://download.pytorch.org/whl/cpu: 0.2 GB in place of several'

quickstart:
	@$(SETUP) core
	@$(BIN)/python tools/quickstart.py $(if $(DATA),--data "$(DATA)")

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

lint:
	@$(SETUP) dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

types:
	@$(SETUP) dev
	$(BIN)/mypy mmssl

unit:
	@$(SETUP) all
	$(BIN)/python -m pytest tests --numprocesses auto --maxprocesses 4 --dist loadfile $(ARGS)

clean:
	rm -rf build dist .ruff_cache .mypy_cache .pytest_cache .hypothesis
	find mmssl configs tools tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf .venv mmssl.egg-info mmssl/.mim
