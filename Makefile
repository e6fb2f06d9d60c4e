# Two commands do everything on a bare Debian 12 machine: `make demo` and `make test`.
.DEFAULT_GOAL := help
SHELL := /bin/bash
# The tests wait for servers a third of the time, so two cores do the work of three workers.
PYTEST_WORKERS ?= 3

.PHONY: help setup demo down test test-clock test-deep test-databases screenshots lint lock

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: ## install everything: .venv, servers for MySQL, S3, Redis, PostgreSQL, Chromium (nothing outside this folder but missing apt packages)
	@bash include/bootstrap.sh
	@.venv/bin/relight lab install

demo: setup ## lose a shard and bring it back, on real servers, through Airflow
	@.venv/bin/relight lab demo

down: ## stop everything that the demo left running
	@[ ! -x .venv/bin/relight ] || .venv/bin/relight lab down

test: setup ## the whole test suite
	@.venv/bin/python -m pytest -n $(PYTEST_WORKERS) tests

test-deep: setup ## thousands of random histories and hundreds of kills; takes hours
	@RELIGHT_DEEP=1 .venv/bin/python -m pytest -n $(PYTEST_WORKERS) \
		tests/lane/test_histories.py tests/lane/test_exactly_once.py \
		tests/binlog/test_kernels.py tests/binlog/test_malformed.py tests/fencing/test_rivals.py

test-databases: setup ## everything that a real Airflow takes part in, once on SQLite and once on PostgreSQL
	@for database in sqlite postgresql; do \
		RELIGHT_TEST_DATABASE=$$database .venv/bin/python -m pytest -n $(PYTEST_WORKERS) tests/airflow || exit 1; done

test-clock: setup ## what deals with dates, as at four other times of day, ends of months and days when clocks change
	@.venv/bin/python -m tests.support.shifted -n $(PYTEST_WORKERS)

screenshots: setup ## pictures of the pages for docs/, from a rehearsal in the lab that `make demo` has left running
	@.venv/bin/relight lab screenshots

lint: ## ruff and mypy
	@bash include/bootstrap.sh
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy

lock: ## compute requirements.txt and tests/requirements.txt anew from pyproject.toml
	@bash include/bootstrap.sh
	.lab/tools/bin/uv pip compile -q --generate-hashes --python-version 3.11 --no-header --no-strip-extras \
		--extra airflow pyproject.toml -o requirements.txt
	.lab/tools/bin/uv pip compile -q --generate-hashes --python-version 3.11 --no-header --no-strip-extras \
		--extra airflow --extra lab --extra dev -c requirements.txt pyproject.toml -o tests/requirements.txt
