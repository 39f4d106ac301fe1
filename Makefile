# make demo and make test do everything on a fresh machine; the rest is for those who work on the project.
PYTHON := .venv/bin/python

.PHONY: demo test test-slow lint setup clean

demo: setup
	$(PYTHON) tools/demo.py

test: setup
	$(PYTHON) -m pytest

test-slow: setup
	$(PYTHON) -m pytest -m slow

lint: setup
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

setup:
	@bash tools/setup.sh

clean:
	rm -rf .venv demo
