# `make` lists the commands. Needs Python 3.11+ and a network to install from; nothing else.
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev

FLASK := $(VENV)/bin/flask --app wsgi

.PHONY: help run dev demo-reset shell sql migration check t test image-test bench chaos screenshots format requirements doctor setup clean

help:  ## list the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: $(STAMP)  ## everything running on this machine, with a demo clinic: http://localhost:8000
	@$(VENV)/bin/python -m crm.dev.launch

dev: $(STAMP)  ## the same, reloading when code or templates change
	@$(VENV)/bin/python -m crm.dev.launch --reload

demo-reset: $(STAMP)  ## empty the database of this machine and make a new demo clinic
	@$(FLASK) demo reset

shell: $(STAMP)  ## a Python prompt inside the app
	@$(FLASK) shell

sql: $(STAMP)  ## a psql prompt on the database of this machine
	@$(VENV)/bin/python -m crm.dev.sql

migration: $(STAMP)  ## write a migration from the models: make migration M="add a column"
	@test -n "$(M)" || { echo 'Say what it does: make migration M="add a column"'; exit 2; }
	@$(FLASK) db upgrade && $(FLASK) db migrate -m "$(M)"

check: $(DEV_STAMP)  ## style, types, import contracts, words and packages, in seconds
	@$(VENV)/bin/python -m tests.check

t: $(DEV_STAMP)  ## one test file or test: make t T=tests/leads/test_rules.py
	@CRM_TESTING=1 $(VENV)/bin/pytest -q $(T)

test: $(DEV_STAMP)  ## every check and every test
	@CRM_TESTING=1 $(VENV)/bin/python -m tests.run

image-test: $(DEV_STAMP)  ## build the image with Docker or Podman and look inside
	@$(VENV)/bin/python -m tests.production.image

bench: $(DEV_STAMP)  ## measure speed against yardsticks; tables here, lines in .local/bench
	@$(VENV)/bin/python -m tests.bench

chaos: $(DEV_STAMP)  ## kill, cut and fill up everything; nothing may be lost or sent twice
	@$(VENV)/bin/python -m tests.chaos

screenshots: $(DEV_STAMP)  ## pictures of the demo clinic's pages, in .local/screenshots
	@$(VENV)/bin/python -m tests.screenshots --docs $(PAGES)

format: $(DEV_STAMP)  ## format the code
	@$(VENV)/bin/ruff check --fix -q . ; $(VENV)/bin/ruff format -q .

requirements: $(DEV_STAMP)  ## pin all packages behind requirements*.in, with hashes
	@for name in requirements requirements-local requirements-s3 requirements-dev; do \
		$(VENV)/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --annotation-style line -o $$name.txt $$name.in || exit 1; \
	done

doctor: $(STAMP)  ## run diagnostics
	@$(FLASK) doctor

setup: $(DEV_STAMP)  ## install everything into .venv

clean:  ## remove what was installed and all data of this machine's demo
	rm -rf $(VENV) .local .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; this is " + sys.version.split()[0])'
	@$(PYTHON) -m venv $(VENV) || { echo "Cannot make a virtual environment: the venv module of Python is missing."; exit 1; }

$(STAMP): requirements.txt requirements-local.txt | $(VENV)/bin/python
	@echo "Installing what the service needs ..."
	@$(VENV)/bin/pip install -q --disable-pip-version-check -r requirements.txt -r requirements-local.txt
	@touch $@

$(DEV_STAMP): requirements-dev.txt $(STAMP)
	@echo "Installing what the checks need ..."
	@$(VENV)/bin/pip install -q --disable-pip-version-check -r requirements-dev.txt
	@touch $@
