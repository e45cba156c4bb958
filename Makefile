# Two commands do all the set-up: `make demo` and `make test`. Nothing but Python >= 3.11, make and pip is needed.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
export RAY_USAGE_STATS_ENABLED = 0

.PHONY: chaos demo dialogue docs all-tasks test test-llm lint bench learn proactive ablations page clean

# Bytecode is compiled once after an install: with PYTHONDONTWRITEBYTECODE set, every Ray worker would compile it again.
$(VENV)/.demo: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("SoundFlow needs Python 3.11 or newer; try make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[models]'
	-$(BIN)/python -m compileall -q $(VENV)/lib > /dev/null
	touch $@

$(VENV)/.dev: $(VENV)/.demo
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	-$(BIN)/python -m compileall -q $(VENV)/lib > /dev/null
	-$(BIN)/soundflow assets fetch whisper-tiny-en  # 78 MB; tests of the real gate are skipped by name without it
	touch $@

$(VENV)/.mandarin: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[mandarin]'
	touch $@

$(VENV)/.docs: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

$(VENV)/.bench: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	-$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[scaper]'  # needs libsox-dev and sox
	touch $@

demo: $(VENV)/.demo  ## build a small corpus from real recordings, verify it and write its report
	$(BIN)/python -m soundflow.pipeline.start.demo_data demo/recordings
	$(BIN)/soundflow clips index demo/recordings -o demo/clips
	rm -rf demo/corpus
	$(BIN)/soundflow build examples/demo.yaml -o demo/corpus
	$(BIN)/soundflow verify demo/corpus --sample 2
	$(BIN)/soundflow report demo/corpus -o demo/report.html

# The recogniser of the gate is an asset (78 MB).
dialogue: $(VENV)/.dev  ## spoken dialogues made of text, and recorded speech: voice chat, streaming ASR, interpretation
	$(BIN)/soundflow assets fetch whisper-tiny-en
	$(BIN)/python -m soundflow.pipeline.start.demo_data demo/recordings
	$(BIN)/soundflow speak examples/dialogues.jsonl --out demo/dialogue/spoken
	$(BIN)/soundflow clips index demo/recordings demo/dialogue/spoken -o demo/dialogue/clips
	$(BIN)/soundflow clips align demo/dialogue/clips
	rm -rf demo/dialogue/corpus
	$(BIN)/soundflow build examples/dialogue.yaml -o demo/dialogue/corpus
	$(BIN)/soundflow verify demo/dialogue/corpus --sample 2
	$(BIN)/soundflow report demo/dialogue/corpus -o demo/dialogue/report.html

# Recognisers, speech models and voices are assets (0.35 GB); Mandarin is read with the extra `mandarin`.
all-tasks: $(VENV)/.mandarin  ## streams of each of the 28 sub-tasks from recordings and embedded voices
	$(BIN)/soundflow assets fetch whisper-tiny-en whisper-base kokoro-82m kokoro-voices
	$(BIN)/python -m soundflow.pipeline.start.demo_data demo/recordings
	$(BIN)/python -m soundflow.pipeline.start.demo_data demo/all-tasks/recordings all_tasks_data.yaml
	$(BIN)/soundflow speak examples/all-tasks.jsonl --out demo/all-tasks/spoken --config examples/all-tasks-speech.yaml
	$(BIN)/soundflow clips index demo/recordings demo/all-tasks/recordings demo/all-tasks/spoken -o demo/all-tasks/clips
	$(BIN)/soundflow clips align demo/all-tasks/clips
	rm -rf demo/all-tasks/corpus
	$(BIN)/soundflow build examples/all-tasks.yaml -o demo/all-tasks/corpus
	$(BIN)/soundflow verify demo/all-tasks/corpus --sample 3
	$(BIN)/soundflow report demo/all-tasks/corpus --samples 28 -o demo/all-tasks/report.html

test: $(VENV)/.dev  ## the whole suite
	$(BIN)/python -m pytest -n 2 --dist loadfile

# Needs 0.5 GB of weights (soundflow assets fetch) and some minutes.
test-llm: $(VENV)/.dev  ## curation against a real OpenAI-compatible server with a small model on this CPU
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[llm-server]'
	$(BIN)/soundflow assets fetch qwen2.5-coder-0.5b
	$(BIN)/python -m pytest tests/llm_server -m llm_server

lint: $(VENV)/.dev  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.docs  ## rewrite what docs/generate.py generates, and build the documentation strictly; build/site/index.html
	$(BIN)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# A peer that cannot be installed is named in the output and its ratio not measured.
bench: $(VENV)/.bench  ## speed and quality as ratios against peers and limits; JSON in build/bench
	mkdir -p build/bench
	$(BIN)/python -m soundflow.bench.speed.tfjp --json build/bench/tfjp.json
	$(BIN)/python -m soundflow.bench.speed.mixing --json build/bench/mixing.json
	$(BIN)/python -m soundflow.bench.speed.shards --json build/bench/shards.json
	$(BIN)/python -m soundflow.bench.speed.virtual --json build/bench/virtual.json
	$(BIN)/python -m soundflow.bench.speed.ledger --json build/bench/ledger.json
	$(BIN)/python -m soundflow.bench.speed.pipeline --json build/bench/pipeline.json
	$(BIN)/python -m soundflow.bench.experiments.coherence --json build/bench/coherence.json
	$(BIN)/python -m soundflow.bench.speed.curation --json build/bench/curation.json
	$(BIN)/python -m soundflow.bench.experiments.alignment --json build/bench/alignment.json
	-$(BIN)/python -m soundflow.bench.experiments.verifier --json build/bench/verifier.json  # needs demo/clips: make demo
	$(BIN)/soundflow assets fetch whisper-tiny-en
	$(BIN)/python -m soundflow.bench.experiments.asr_gate --json build/bench/asr_gate.json  # kokoro and espeak-ng are measured where they are installed
	$(BIN)/python -m soundflow.bench.speed.training --json build/bench/training.json
	$(BIN)/python -m soundflow.bench.speed.fifo --json build/bench/fifo.json
	$(BIN)/python -m soundflow.bench.speed.endless --json build/bench/endless.json
	$(BIN)/python -m soundflow.bench.speed.flood --json build/bench/flood.json
	-$(BIN)/python -m soundflow.bench.experiments.drains --json build/bench/drains.json  # needs runs/learn: make learn

chaos: $(VENV)/.dev  ## 20 builds on two nodes while nodes, workers, drivers, disks, clocks, caches and the clip index break; in parts: CHAOS_FIRST=7 CHAOS_ROUNDS=7
	$(BIN)/python -m tests.chaos

learn: $(VENV)/.dev  ## the learning proof: corpora, four stages from three seeds, evaluation on unseen clips; runs/learn
	$(BIN)/python -m soundflow.bench.experiments.learning -o runs/learn

proactive: $(VENV)/.dev  ## the learning proof's model on a proactive set of clips not used in training, compared with trivial detectors; runs/proactive
	$(BIN)/python -m soundflow.bench.experiments.proactive_proof -o runs/proactive --learn runs/learn

ablations: $(VENV)/.dev  ## the paper's tables 3 to 6, small: 27 trainings, about an hour of CPU; resumes; runs/ablations
	$(BIN)/python -m soundflow.bench.experiments.ablations -o runs/ablations

page: $(VENV)/.dev  ## pictures of the live page, taken in a real Chromium with a recording for a microphone
	SOUNDFLOW_PAGE_PICTURES=build/page $(BIN)/python -m pytest tests/streaming/test_page.py
	@echo build/page

clean:
	rm -rf $(VENV) build *.egg-info
