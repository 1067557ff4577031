# `make demo` and `make test` do all set-up themselves, as root or as a plain user, on a fresh Debian machine.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MADE := $(VENV)/.made
INSTALLED := $(VENV)/.installed
DEVELOPED := $(VENV)/.developed
EXAMPLE := examples/cifar10
DEMO := .demo
ENVBUILD_HOME ?= $(CURDIR)/$(DEMO)/home
ENV ?= $(EXAMPLE)/pytorch-env.yml
SOURCE ?= $(EXAMPLE)/src
SCRIPT ?= train.py
JOBS ?= 2

.PHONY: demo test check format-check unit bench bench-capture bench-layers bench-load bench-runs bench-studio bench-versions screenshots lint format types imports clean register run help

help:
	@echo "make demo              set up, build a local channel, register the example, train, print the metrics"
	@echo "make test              set up and run every test"
	@echo "make check             format, lint, types, import rules, unit tests (under a minute)"
	@echo "make bench             measure against a peer and a physical floor, in one run"
	@echo "make bench-runs        how long 10,000 runs take to be listed"
	@echo "make bench-versions    how long 1,000 registered versions take to be listed"
	@echo "make bench-layers      how much of an image moves when one package is added"
	@echo "make bench-load        loading into Docker Engine: everything, one changed layer, nothing"
	@echo "make bench-capture     measure what run.log costs in a job, against a bare write"
	@echo "make bench-studio      measure the web page's server    make screenshots   the pictures of docs/studio.md"
	@echo "make register ENV=FILE register an environment     make run SOURCE=DIR SCRIPT=FILE [OPTIONS=...] [ARGS=...]   run a script"

$(MADE):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "envbuild needs Python 3.10 or later: make PYTHON=python3.11 ..."; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' || { echo "this Python has no venv; on Debian: apt-get install python3-venv"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(INSTALLED): pyproject.toml | $(MADE)
	$(BIN)/python -m pip install --quiet --editable '.[channel,studio]'
	@touch $@

$(DEVELOPED): pyproject.toml | $(MADE)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(INSTALLED)

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

# /var/tmp is on a disk, where the gigabytes of a whole run have room; /tmp may be memory
test: export TMPDIR := $(or $(TMPDIR),/var/tmp)
test: $(DEVELOPED)
	.ci/debian-packages
	$(BIN)/pytest -n $(JOBS) --dist loadfile

check: format-check lint types imports unit

format-check: $(DEVELOPED)
	$(BIN)/ruff format --check --quiet .

lint: $(DEVELOPED)
	$(BIN)/ruff check --quiet .
	$(BIN)/vermin --quiet --no-tips --violations --target=3.6- trainer/job

types: $(DEVELOPED)
	$(BIN)/mypy

imports: $(DEVELOPED)
	$(BIN)/lint-imports --no-cache

unit: $(DEVELOPED)
	$(BIN)/pytest -q -n $(JOBS) tests/unit

format: $(DEVELOPED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(DEVELOPED)
	$(BIN)/python tests/bench/bench.py

bench-studio: $(DEVELOPED)
	$(BIN)/python tests/bench/studio.py

screenshots: export ENVBUILD_HOME := $(ENVBUILD_HOME)
screenshots: $(DEVELOPED)
	$(BIN)/python docs/make_screenshots.py

bench-load: export ENVBUILD_HOME := $(ENVBUILD_HOME)
bench-load: $(DEVELOPED)
	$(BIN)/python tests/bench/load.py

bench-layers: $(DEVELOPED)
	$(BIN)/python tests/bench/layers.py

bench-runs: $(DEVELOPED)
	$(BIN)/python tests/bench/runs.py

bench-versions: export ENVBUILD_HOME := $(ENVBUILD_HOME)
bench-versions: $(DEVELOPED)
	$(BIN)/python tests/bench/versions.py

bench-capture: $(DEVELOPED)
	$(BIN)/python tests/bench/capture.py

# in the folder of the project: its envbuild.toml counts, and what was registered there
register: $(INSTALLED)
	cd "$$(dirname "$(ENV)")" && "$(CURDIR)/$(BIN)/envbuild" register "$$(basename "$(ENV)")"

run: $(INSTALLED)
	cd "$$(dirname "$(SOURCE)")" && "$(CURDIR)/$(BIN)/envbuild" run $(OPTIONS) "$$(basename "$(SOURCE)")" $(SCRIPT) $(ARGS)

clean:
	rm -rf $(VENV) $(DEMO) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
