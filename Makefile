# make demo: the shipped recording, recognised live. make test: the whole test suite. Both set everything up first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.saccade-ready

.PHONY: demo test setup lint qt-libraries recordings checkpoint clean

demo: setup
	$(BIN)/saccade demo

test: setup
	$(BIN)/python -m pytest

setup: $(STAMP) qt-libraries

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Saccade needs Python 3.11 or newer; this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[gui,hdf5,dev]'
	@touch $@

qt-libraries: $(STAMP)
	@$(BIN)/python -m app.qt_libraries

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The shipped recordings and the shipped recogniser, from their seeds.
recordings: setup
	$(BIN)/python -m training.make_recordings

checkpoint: setup
	$(BIN)/saccade train 'synthetic:gestures?clips=1200&seed=0' --test 'synthetic:gestures?clips=600&seed=500000' \
	  --network tim --set dim=96 --set n_heads=6 --set 'lif={"detach_membrane": false}' \
	  --delta-t 25ms --bins 16 --size 64x64 --epochs 10 --batch 16 --rate 1e-3 --seed 0 \
	  --log training/runs/default.jsonl --out models/weights/default.safetensors

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
