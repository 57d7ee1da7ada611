# make demo: the shipped recording, recognised live. make test: the whole test suite. Both set everything up first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.saccade-ready

.PHONY: demo test setup lint qt-libraries clean

demo: setup
	$(BIN)/saccade demo

test: setup
	$(BIN)/python -m pytest

setup: $(STAMP) qt-libraries

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Saccade needs Python 3.11 or newer; this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[gui,dev]'
	@touch $@

qt-libraries: $(STAMP)
	@$(BIN)/python -m app.qt_libraries

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
