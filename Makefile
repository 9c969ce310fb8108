# demo, test, check, bench and benchmark each set themselves up first: a virtual environment in .venv, installed from PyPI.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: demo test check bench benchmark clean install

demo: install
	$(BIN)/ctd run

test: install
	$(BIN)/python -m pytest

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: install
	$(BIN)/python -m pytest -m bench tests/bench -s

# An hour on 2 cores; interrupted or run again, it goes on from what is done. ARGS="--only encoder" and others: --help lists them.
benchmark: install
	$(BIN)/python -m tests.bench.benchmark $(ARGS)

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; ok = (3, 11) <= v <= (3, 13); sys.exit(0 if ok else \
	"Python %d.%d found, 3.11 to 3.13 needed: make PYTHON=python3.11 ..." % v)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -qq --constraint constraints.txt --editable '.[dev]'
	touch $(INSTALLED)

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache
