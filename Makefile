# make check runs everything that CI runs, in an environment with the development extras installed.
PYTHON ?= python

.PHONY: check format lint types imports test docs

check: lint types imports test docs

format:
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

lint:
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .

types:
	$(PYTHON) -m mypy

imports:
	lint-imports --no-cache

test:
	$(PYTHON) -m pytest

docs:
	$(PYTHON) -m sphinx -q -W -b html docs docs/_build/html
