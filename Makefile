# `make demo` and `make test` need Python 3.11 or newer and make, nothing else. Everything is made below this folder.
SHELL := /bin/sh
.DEFAULT_GOAL := help
# Temporary files of tools and tests stay inside the clone, too.
export TMPDIR := $(CURDIR)/var/tmp

BIN := .venv/bin
PORT ?= 8000
NODES ?= development=3,qa=5,staging=10,production=20
RUNTIME := .venv/.runtime
DEVELOPMENT := .venv/.development
TEST_PROCESSES ?= 2
TESTS ?= tests/unit tests/integration tests/e2e
PACKAGES := agent app config deploy examples tasks tests workers

.PHONY: help demo up test check coverage bench openapi observing trace lock clean

help:  ## what can be made
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' Makefile | expand -t 18

$(RUNTIME): requirements.txt setup.cfg pyproject.toml .ci/make-venv
	@mkdir -p $(TMPDIR)
	@echo "Installing into .venv (the first time this downloads about 90 MB) ..."
	@.ci/make-venv requirements.txt
	@touch $@

$(DEVELOPMENT): $(RUNTIME) requirements-dev.txt
	@.ci/make-venv requirements.txt requirements-dev.txt
	@touch $@

demo: $(RUNTIME)  ## the whole story on this machine; STORY=pipeline tells another one; KEEP=1 leaves the stack up, STOP=1 stops that one
	@mkdir -p $(TMPDIR)
	@$(BIN)/python -m examples.demo $(if $(STORY),--story $(STORY)) $(if $(KEEP),--keep) $(if $(STOP),--stop)

up: $(RUNTIME)  ## the stack in the foreground (PORT=8000, NODES=qa=5,...); Ctrl-C stops it
	@mkdir -p $(TMPDIR)
	@exec $(BIN)/hotswap up --port $(PORT) --nodes $(NODES)

test: $(DEVELOPMENT)  ## unit, integration and end-to-end tests (TESTS=tests/unit for a part)
	@mkdir -p $(TMPDIR)
	@$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadscope --no-loadscope-reorder $(TESTS)

check: $(DEVELOPMENT)  ## ruff, mypy --strict, import-linter
	@mkdir -p $(TMPDIR)
	@failed=; \
	$(BIN)/ruff check $(wildcard $(PACKAGES)) || failed="$$failed ruff"; \
	$(BIN)/mypy || failed="$$failed mypy"; \
	$(BIN)/lint-imports --config setup.cfg || failed="$$failed lint-imports"; \
	if [ -n "$$failed" ]; then echo "not clean:$$failed" >&2; exit 1; fi

coverage: $(DEVELOPMENT)  ## lines and branches reached by the tests; domain 95 %, everything 85 %
	@mkdir -p $(TMPDIR) var/coverage
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest $(TESTS)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report --include='app/domain/*' --fail-under=95
	@$(BIN)/coverage report --fail-under=85

bench: $(DEVELOPMENT)  ## figures against their yardsticks, into docs/benchmarks.md
	@mkdir -p $(TMPDIR)
	@$(BIN)/python -m tests.benchmarks

openapi: $(RUNTIME)  ## the specification of the API, into docs/openapi.json
	@$(BIN)/python -m app.api.openapi docs/openapi.json

observing: $(RUNTIME)  ## fields and metrics, into docs/guides/observing.md
	@$(BIN)/python -m app.observing_reference docs/guides/observing.md

trace: $(RUNTIME)  ## one rollout on a small stack, and its trace as a tree
	@mkdir -p $(TMPDIR)
	@$(BIN)/python -m examples.trace_tree rollout --page docs/guides/observing.md

lock: $(DEVELOPMENT)  ## requirements*.txt anew from requirements*.in, with hashes
	@.ci/lock

clean:  ## everything that was made, .venv and var included
	rm -rf .venv var .hypothesis .mypy_cache .ruff_cache .pytest_cache .import_linter_cache htmlcov *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
