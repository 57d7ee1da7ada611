# make demo: the shipped recording, recognised live. make test: the whole test suite. Both set everything up first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.saccade-ready
PEERS := .venv-peers
PEERS_STAMP := $(PEERS)/.peers-ready
FUZZ := .fuzz
MINUTES ?= 10

.PHONY: demo test setup lint qt-libraries recordings checkpoint bench bench-peers oracles fuzz bench-gpu clean

demo: setup
	$(BIN)/saccade demo

# As many tests at once as there are processors, up to four: each runner holds torch and compiled loops of its own in memory.
# One thread for each of them, and those of compiled loops sleep while they wait: waiting for a busy processor costs more than
# threads bring.
test: setup
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist worksteal

setup: $(STAMP) qt-libraries

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Saccade needs Python 3.11 or newer; this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[gui,hdf5,video,train,dev]'
	@touch $@

qt-libraries: $(STAMP)
	@$(BIN)/python -m app.qt_libraries

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The shipped recordings and the shipped recognisers, from their seeds.
recordings: setup
	$(BIN)/python -m training.make_recordings

checkpoint: setup
	$(BIN)/saccade train 'synthetic:gestures?clips=2200&seed=0&nothing=280' \
	  --test 'synthetic:gestures?clips=440&seed=500000&nothing=56' \
	  --network tim --set dim=96 --set n_heads=6 --set pools=1110 --set 'lif={"detach_membrane": false, "alpha": 2}' \
	  --delta-t 50ms --bins 12 --size 32x32 --batch 16 --recipe people --loss mean --seed 0 --rate 1.5e-3 --epochs 65 \
	  --log training/runs/default.jsonl --out models/weights/default.safetensors
	$(BIN)/saccade train 'synthetic:gestures?clips=2200&seed=0&nothing=280' \
	  --test 'synthetic:gestures?clips=440&seed=500000&nothing=56' \
	  --network tim --set dim=64 --set n_heads=4 --set pools=1110 --set 'lif={"detach_membrane": false, "alpha": 2}' \
	  --delta-t 50ms --bins 12 --size 32x32 --batch 16 --recipe people --loss mean --seed 0 --rate 1.5e-3 --epochs 30 \
	  --log training/runs/small.jsonl --out models/weights/small.safetensors
	$(BIN)/saccade teach --own 'synthetic:gestures?clips=88&seed=300000&nothing=14' --network default
	$(BIN)/saccade teach --own 'synthetic:gestures?clips=88&seed=300000&nothing=14' --network small
	$(BIN)/python -m training.model_cards

# Decoding and binning against those programs, and memory on large files; half an hour.
bench: setup bench-peers
	$(BIN)/python benchmarks/decode.py --out benchmarks/results/decode.json
	$(BIN)/python benchmarks/memory.py --out benchmarks/results/memory.json

# The tests and measurements that need an NVIDIA GPU; with the extra gpu-cu12 or gpu-cu13 and torch for CUDA installed.
bench-gpu: setup
	$(BIN)/python benchmarks/gpu.py --out benchmarks/results

# Programs that Saccade is compared with, in an environment of their own: their licences and weight stay out of ours.
bench-peers: $(PEERS_STAMP)

$(PEERS_STAMP): benchmarks/peers-constraints.txt
	@test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $< torch
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $< \
	  aedat dv-processing event_stream evlib expelliarmus faery tonic requests loguru rosbags
# SpikingJelly asks for a torchaudio of torch's own release, which does not exist for every release; its networks need none
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $< --no-deps spikingjelly
	@touch $@

# Every real recording, and what our writers write, event by event against those programs.
oracles: setup bench-peers
	$(BIN)/python -m pytest tests/oracles/compare_decoders.py

# Damaged recordings, guided by what code they reach; findings are left in .fuzz/findings.
fuzz: setup
	@test -d $(FUZZ)/atheris || $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(FUZZ)/atheris atheris==3.0.0
	PYTHONPATH=$(FUZZ)/atheris NUMBA_DISABLE_JIT=1 $(BIN)/python tests/fuzz/fuzz_recordings.py $(FUZZ) \
	  -max_total_time=$$(( $(MINUTES) * 60 ))
	PYTHONPATH=$(FUZZ)/atheris NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=$(FUZZ)/compiled $(BIN)/python \
	  tests/fuzz/fuzz_recordings.py $(FUZZ) -runs=0 -timeout=300 -report_slow_units=300

clean:
	rm -rf $(VENV) $(PEERS) $(FUZZ) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
