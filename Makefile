# `make` lists the commands. Needs Python 3.11+ and a network to install from; nothing else.
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev

.PHONY: help run test bench chaos setup format clean doctor

help:  ## list the commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: $(STAMP)  ## everything running on this machine, with a demo clinic: http://127.0.0.1:8000
	@$(VENV)/bin/python -m crm.dev.launch

test: $(DEV_STAMP)  ## every check and every test
	@CRM_TESTING=1 $(VENV)/bin/python -m tests.run

bench: $(DEV_STAMP)  ## measure speed against yardsticks; tables here, lines in .local/bench
	@$(VENV)/bin/python -m tests.bench

chaos: $(DEV_STAMP)  ## kill, cut and fill up everything; nothing may be lost or sent twice
	@$(VENV)/bin/python -m tests.chaos

setup: $(DEV_STAMP)  ## install everything into .venv

format: $(DEV_STAMP)  ## put code into its usual form
	@$(VENV)/bin/ruff check --fix -q . ; $(VENV)/bin/ruff format -q .

doctor: $(STAMP)  ## say in words what is wrong, if anything
	@$(VENV)/bin/flask --app wsgi doctor

clean:  ## remove what was installed and all data of this machine's demo
	rm -rf $(VENV) .local .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; this is " + sys.version.split()[0])'
	@$(PYTHON) -m venv $(VENV) || { echo "Cannot make a virtual environment: the venv module of Python is missing."; exit 1; }

$(STAMP): requirements.txt | $(VENV)/bin/python
	@echo "Installing what the service needs ..."
	@$(VENV)/bin/pip install -q --disable-pip-version-check -r requirements.txt
	@touch $@

$(DEV_STAMP): requirements-dev.txt $(STAMP)
	@echo "Installing what the checks need ..."
	@$(VENV)/bin/pip install -q --disable-pip-version-check -r requirements-dev.txt
	@touch $@
