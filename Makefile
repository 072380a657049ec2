PYTHON ?= python3
VENV := .venv/bin

.PHONY: setup demo test lint

setup:  ## install everything into .venv (once; a no-op when nothing changed)
	@$(PYTHON) tools/setup_env.py

demo: setup  ## three rounds of active learning on rendered scenes; leaves demo/report.html
	@$(VENV)/al-rotate demo demo

test: setup  ## the tests
	@$(VENV)/python -m pytest

lint: setup  ## format, lints and types, as CONTRIBUTING.md asks
	@$(VENV)/ruff format --check . && $(VENV)/ruff check . && $(VENV)/mypy
