# `make demo` and `make test` do all set-up themselves, as root or as a plain user, on a fresh Debian machine.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
EXAMPLE := examples/cifar10
DEMO := .demo
ENVBUILD_HOME ?= $(CURDIR)/$(DEMO)/home
ENV ?= $(EXAMPLE)/pytorch-env.yml
SOURCE ?= src
SCRIPT ?= train.py
JOBS ?= 2

.PHONY: demo test check format-check unit bench lint format types imports clean register run help

help:
	@echo "make demo              set up, build a local channel, register the example, train, print the metrics"
	@echo "make test              set up and run every test"
	@echo "make check             format, lint, types, import rules, unit tests (under a minute)"
	@echo "make bench             measure against a peer and a physical floor, in one run"
	@echo "make register ENV=FILE register an environment     make run SOURCE=src SCRIPT=train.py   run a script"

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "envbuild needs Python 3.10 or later: make PYTHON=python3.11 ..."; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' || { echo "this Python has no venv; on Debian: apt-get install python3-venv"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

demo: export ENVBUILD_HOME := $(ENVBUILD_HOME)
demo: $(INSTALLED)
	@echo "== a local conda channel out of PyPI wheels and this CPython"
	@$(BIN)/envbuild channel build $(EXAMPLE)/channel.toml $(DEMO)/channel
	@echo "== the base image (pinned again, aloud, when the mirror has dropped a version)"
	@$(BIN)/envbuild base update debian12-minimal --if-dropped
	@echo "== register the environment"
	@cd $(EXAMPLE) && ../../$(BIN)/envbuild register pytorch-env.yml
	@echo "== data in CIFAR-10's layout"
	@$(BIN)/python $(EXAMPLE)/make_data.py
	@echo "== train inside the image"
	@cd $(EXAMPLE) && ../../$(BIN)/envbuild run --mount data=data src train.py --data '{data}'
	@echo "== the metrics that the run logged"
	@cd $(EXAMPLE) && ../../$(BIN)/envbuild runs metrics last

test: $(INSTALLED)
	.ci/debian-packages
	$(BIN)/pytest -n $(JOBS) --dist loadfile

check: format-check lint types imports unit

format-check: $(INSTALLED)
	$(BIN)/ruff format --check --quiet .

lint: $(INSTALLED)
	$(BIN)/ruff check --quiet .
	$(BIN)/vermin --quiet --no-tips --violations --target=3.6- trainer/job

types: $(INSTALLED)
	$(BIN)/mypy

imports: $(INSTALLED)
	$(BIN)/lint-imports --no-cache

unit: $(INSTALLED)
	$(BIN)/pytest -q -n $(JOBS) tests/unit

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(INSTALLED)
	$(BIN)/python tests/bench/bench.py

register: $(INSTALLED)
	$(BIN)/envbuild register $(ENV)

run: $(INSTALLED)
	$(BIN)/envbuild run $(SOURCE) $(SCRIPT)

clean:
	rm -rf $(VENV) $(DEMO) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
