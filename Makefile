# Everything here works in a fresh clone; `make help` lists it.
PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed

.PHONY: help run tour test test-all bench lint programs clean

help: ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Hardtack needs Python 3.11 or newer; name one: make PYTHON=python3.12" or 0)'
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[dev,plots]'
	@touch $@

programs: ## Compile the guest programs in user/ (needs a C compiler)
	$(MAKE) --no-print-directory -C user

run: $(STAMP) ## Boot a kernel with NGINX and Redis in it, and try them from here; Ctrl-C ends it
	$(PY) -m boot serve --install

tour: $(STAMP) ## Boot the kernel and take a short tour of real programs
	$(PY) -m boot tour

test: $(STAMP) programs ## The tests that CI runs
	$(PY) -m pytest -n auto

test-all: $(STAMP) programs ## All tests, the slow ones too
	$(PY) -m pytest -n auto -m "slow or not slow"

bench: $(STAMP) programs ## Native, Hardtack and gVisor side by side, in one run
	$(PY) -m boot bench micro
	$(PY) -m boot bench net

lint: $(STAMP) ## ruff, mypy, import-linter
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy boot bus services bench
	$(VENV)/bin/lint-imports

clean: ## Remove what was built
	rm -rf $(VENV) user/build .pytest_cache .mypy_cache .ruff_cache .hypothesis
