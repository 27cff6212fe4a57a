# Two commands do everything on a fresh machine: `make search` and `make test`.
PYTHON ?= python3
VENV ?= .venv
TASK ?= pydoc
TRIALS ?= 32
SEED ?= 0
OUT ?= runs/$(TASK)
ARGS ?= --engine processes --workers 2 --fresh-seeds 10
BIN = $(VENV)/bin
PARTS = a-m n-z # of the tests, one after the other: processes keep what XLA has compiled for them

.PHONY: search test lint docs release clean

search: $(VENV)/installed
	$(BIN)/tf-autodropout search $(TASK) --trials $(TRIALS) --seed $(SEED) --out $(OUT) $(ARGS)

test: $(VENV)/installed-dev lint
	@failed=0; for part in $(PARTS); do $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder tests/test_[$$part]*.py || failed=1; done; exit $$failed

lint: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

docs: $(VENV)/installed-docs # build/site/index.html, warnings are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

# Wheel and sdist in dist/, whose links and badges lead to ADDRESS; notebooks and CITATION.cff here too: commit, then tag.
release: $(VENV)/installed
	@test -n "$(ADDRESS)" || { echo "make release ADDRESS=https://github.com/NAME/REPOSITORY" >&2; exit 2; }
	rm -rf dist
	TF_AUTODROPOUT_ADDRESS=$(ADDRESS) $(BIN)/python -c "from setuptools import build_meta as b; b.build_sdist('dist'); b.build_wheel('dist')"
	tar -xzf dist/*.tar.gz --strip-components=1 --wildcards '*/notebooks/*.ipynb' '*/CITATION.cff'

$(VENV)/installed: setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "Python 3.11, 3.12 or 3.13 is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --quiet --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --quiet --editable '.[dev]'
	touch $@

$(VENV)/installed-docs: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --quiet --editable '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
