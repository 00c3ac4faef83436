# Every target sets up what it needs; nothing has to be installed, started or activated before.
PYTHON ?= python3
BIN := .venv/bin
SETUP := .venv/.installed

# Modules that other work of this shell needs are not for this.
unexport PYTHONPATH PYTHONHOME

.PHONY: setup requirements run redeploy dev test lint unit models integration drain database e2e api deployments property contract migration package check deploy lint-template bench clean

setup: $(SETUP)

$(SETUP): requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Decanter needs Python 3.11 or newer; try: make $(MAKECMDGOALS) PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing into .venv …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

# Pins and hashes of requirements.in and requirements-dev.in, for all platforms; versions stay as
# they are unless a line asks for another, or upgrade=1 for the newest.
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command "make requirements" $(if $(upgrade),--upgrade)

requirements: $(SETUP)
	$(COMPILE) requirements.in --output-file requirements.txt
	$(COMPILE) requirements-dev.in --output-file requirements-dev.txt --no-emit-package pip
	@$(MAKE) --no-print-directory setup

run: $(SETUP)
	@exec $(BIN)/python -m decanter run

# Onto the make run that serves, in another terminal.
redeploy: $(SETUP)
	@$(BIN)/python -m decanter redeploy

dev: $(SETUP)
	@exec $(BIN)/python -m decanter dev

# Side by side: most of them wait more than they compute.
test: $(SETUP)
	@$(MAKE) --no-print-directory -j 5 $(if $(filter output-sync,$(.FEATURES)),--output-sync=target) deployments database lint api drain unit models

lint: $(SETUP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit e2e: $(SETUP)
	$(BIN)/python -m pytest tests/$@

# chalicelib/models.py, its contract and its revisions; all other tests have models of their own.
models: export DECANTER_TESTED := models
models: $(SETUP)
	$(BIN)/python -m pytest tests/models

# Both halves of it, each on a Postgres of its own.
integration: drain database

drain: $(SETUP)
	$(BIN)/python -m pytest tests/integration/drain

database: $(SETUP)
	$(BIN)/python -m pytest tests/integration --ignore=tests/integration/drain

# Both halves of e2e, each on a cloud of its own.
deployments: $(SETUP)
	$(BIN)/python -m pytest tests/e2e/deployment

api: $(SETUP)
	$(BIN)/python -m pytest tests/e2e --ignore=tests/e2e/deployment

# Random tables, requests and deliveries, and random models and changes of them, for ten minutes and
# more; others each time.
property: export DECANTER_EXAMPLES ?= 2000
property: $(SETUP)
	$(BIN)/python -m pytest tests/integration/drain/test_drain_model.py tests/integration/migration/test_catalogs_property.py -x

.PHONY: fuzz
fuzz: $(SETUP)
	DECANTER_FUZZ=long $(BIN)/python -m pytest -s tests/e2e/api/test_schemathesis.py

# What takes minutes on the local cloud: 2,000 retries of 200 keys; upgrade and rollback under load;
# chalice deploy, stopped after each step.
.PHONY: long
long: export DECANTER_KEYS ?= 200
long: $(SETUP)
	$(BIN)/python -m pytest tests/e2e/api/test_rest_writes.py -k retries
	$(BIN)/python -m pytest tests/e2e -m long

contract: $(SETUP)
	@$(BIN)/python -m decanter contract

migration: $(SETUP)
	@$(BIN)/python -m decanter migration $(if $(m),"$(m)") $(if $(drop),--drop "$(drop)")

package: $(SETUP)
	@test -n "$(STAGE)" || { echo "name the stage: make $@ STAGE=dev" >&2; exit 2; }
	@$(BIN)/python -m decanter package --stage $(STAGE)

# ARGS: more of the command, such as ARGS="--parameter AlarmTopic=ARN".
check deploy: $(SETUP)
	@test -n "$(STAGE)" || { echo "name the stage: make $@ STAGE=dev" >&2; exit 2; }
	@$(BIN)/python -m decanter $@ --stage $(STAGE) $(ARGS)

lint-template: package
	$(BIN)/cfn-lint --regions ALL_REGIONS -- build/$(STAGE)/sam.json

bench: $(SETUP)
	@$(BIN)/python -m benchmarks drain

clean:
	rm -rf .venv .decanter build .chalice/deployments
