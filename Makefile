# make demo   sets everything up and shows the cluster at work on real data
# make test   the tests            make check   lint and types            make bench   speed, see loadtests/README.md
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -ec
.DEFAULT_GOAL := help

.PHONY: help setup demo test check format proto bench bench-ratio fuzz soak interop lock clean

help: ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(STAMP): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3"; exit 1; }
	@echo "setting up .venv: a minute or two the first time, a dot is a package"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --disable-pip-version-check --require-hashes -r requirements/dev.txt \
		2>.venv/install-errors | awk '/^Collecting|^Requirement/ {printf "."; fflush()} /^Installing/ {print " installing"; fflush()}' \
		|| { cat .venv/install-errors; exit 1; }
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --editable .
	@touch $(STAMP)

setup: $(STAMP) ## the virtual environment in .venv

demo: $(STAMP) ## train, pack, serve and call three real models
	@$(BIN)/python -m examples.demo

test: $(STAMP) ## all tests
	@$(BIN)/python -m pytest

check: $(STAMP) ## lint, format and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(STAMP) ## put the code into its form
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format --quiet .

proto: $(STAMP) ## generate the message modules from protos/*.proto
	@$(BIN)/python -m protos.generate

bench: $(STAMP) ## speed beside the rivals that are installed (needs h2load); PEERS="triton mlserver", all or none
	@$(BIN)/python -m loadtests.bench $(if $(PEERS),--peers $(PEERS)) $(ARGS)

bench-ratio: $(STAMP) ## CPU per request beside a fixed yardstick, against what is recorded
	@$(BIN)/python -m loadtests.ratio

interop: $(STAMP) ## foreign gRPC clients, and Envoy, against our fronts (installs them)
	@$(BIN)/python -m tests.interop.install
	@$(BIN)/python -m pytest -o python_files='interop_*.py' tests/interop

EXAMPLES ?= 100000
fuzz: $(STAMP) ## EXAMPLES=1000000 random frame sequences against python-hyper's h2, and as many damaged messages
	@$(BIN)/python -m tests.router.http2.fuzz --examples $(EXAMPLES)
	@$(BIN)/python -m tests.fuzz_messages --examples $(EXAMPLES)

REQUESTS ?= 500000
soak: $(STAMP) ## REQUESTS=10000000 checked answers in bad company, memory watched
	@$(BIN)/python -m loadtests.soak --requests $(REQUESTS)

lock: $(STAMP) ## pin the newest versions that pyproject.toml allows
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-emit-index-url --no-annotate \
		--python-version 3.11 --extra dev pyproject.toml --output-file requirements/dev.txt --upgrade

clean: ## forget everything that was made
	@rm -rf .venv .cache .dodona build models *.egg-info .mypy_cache .ruff_cache .hypothesis
