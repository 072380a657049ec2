PYTHON ?= python3
VENV := .venv/bin

.PHONY: setup setup-studio demo studio test docs notebooks fresh lint evidence evidence-smoke

setup:  ## install everything into .venv (once; a no-op when nothing changed)
	@$(PYTHON) tools/setup_env.py

setup-studio: setup  ## Label Studio in an environment of its own, .venv-studio
	@$(VENV)/python -m al_rotate.bridge.local_server .venv-studio

demo: setup  ## three rounds of active learning on rendered scenes; leaves demo/report.html
	@$(VENV)/al-rotate demo demo

studio: setup-studio  ## the demo's next query in Label Studio, to be corrected in the browser; Ctrl-C stops it
	@test -f demo/report.html || $(VENV)/al-rotate demo demo --rounds 1
	@$(VENV)/al-rotate studio demo --venv .venv-studio

test: setup-studio  ## the tests, two files at a time; what they see in the browser goes to screenshots/
	@AL_ROTATE_SCREENSHOTS=screenshots OMP_NUM_THREADS=1 $(VENV)/python -m pytest -n 2 --dist loadfile

docs: setup  ## the documentation site, at http://localhost:8000 until Ctrl-C; its files are in build/docs
	@$(VENV)/python -m sphinx -b html -W --keep-going -q docs build/docs
	@echo "http://localhost:8000 (or open build/docs/index.html)"
	@$(VENV)/python -m http.server -d build/docs --bind 127.0.0.1 8000

notebooks: setup-studio  ## execute the notebooks in place; the first one trains a detector for all, some minutes on two cores
	@$(VENV)/python -m experiments.notebooks.execute

fresh:  ## the set-up, the demo and the core's tests in bare Debian roots (needs root and debootstrap)
	@tools/fresh.sh trixie sid

evidence-smoke: setup  ## a comparison of strategies on a planted pool, where it is known what must win
	@$(VENV)/python -m experiments.evidence.smoke

evidence: setup  ## every figure and table of docs/evidence.md, from the tidy files of experiments/results/comparisons/
	@$(VENV)/python -m experiments.evidence.report experiments/results/comparisons/*.parquet
	@$(VENV)/python -m experiments.evidence.page

lint: setup  ## format, lints and types, as CONTRIBUTING.md asks
	@$(VENV)/ruff format --check . && $(VENV)/ruff check . && $(VENV)/mypy
