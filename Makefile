# make demo and make test do everything on a fresh machine; the rest is for those who work on the project.
PYTHON := .venv/bin/python

.PHONY: demo test test-slow lint bench setup clean

demo: setup
	$(PYTHON) tools/demo.py

test: setup
	$(PYTHON) -m pytest

test-slow: setup
	$(PYTHON) -m pytest -m slow

lint: setup
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	.venv/bin/lint-imports --no-logo

# PyTorch is compared with where it can be installed; the rest goes without.
bench: setup
	-@bash benchmarks/setup_peers.sh
	$(PYTHON) benchmarks/bench_backbone.py
	$(PYTHON) benchmarks/bench_step.py
	$(PYTHON) benchmarks/bench_loader.py
	$(PYTHON) benchmarks/bench_head.py
	$(PYTHON) benchmarks/bench_quality.py

setup:
	@bash tools/setup.sh

clean:
	rm -rf .venv .venv-peers demo
