# `make demo` and `make test` set up a fresh machine; the other targets are for developers.
PYTHON := .venv/bin/python

.PHONY: demo test test-slow campaign lint bench setup clean

demo: setup
	$(PYTHON) tools/demo.py

# A process for each core, up to four; the tests of a file stay together.
# Threads without work sleep at once, because all cores are busy.
test: setup
	GOMP_SPINCOUNT=0 $(PYTHON) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

test-slow: setup
	$(PYTHON) -m pytest -m slow

# Damaged files, killed commands, full disks, broken networks, a long run; about an hour on two cores.
campaign: setup
	$(PYTHON) -m tests.campaigns

lint: setup
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	.venv/bin/lint-imports --no-logo

# Compares with PyTorch if it can be installed.
bench: setup
	-@bash benchmarks/setup_peers.sh
	$(PYTHON) benchmarks/bench_backbone.py
	$(PYTHON) benchmarks/bench_memory.py
	$(PYTHON) benchmarks/bench_estimate.py
	$(PYTHON) benchmarks/bench_step.py
	$(PYTHON) benchmarks/bench_start.py
	$(PYTHON) benchmarks/bench_loader.py
	$(PYTHON) benchmarks/bench_convert.py
	$(PYTHON) benchmarks/bench_check.py
	$(PYTHON) benchmarks/bench_head.py
	$(PYTHON) benchmarks/bench_evaluation.py
	$(PYTHON) benchmarks/bench_quality.py --ratios 1,0.1 --ranks 1,2 --seeds 1

setup:
	@bash tools/setup.sh

clean:
	rm -rf .venv .venv-peers .venv-deploy .venv-tflite .venv-opencv4 .venv-opencv5 .node-deploy demo
