# Every target does the set-up it needs; `make help` lists them.
PYTHON ?= python3
BIN := .venv/bin
TESTS ?= tests
PROJECTS ?= tests/projects
# Side by side; two more than two processors, as many tests wait for other processes.
WORKERS ?= 4
SIDE_BY_SIDE = -n $(WORKERS) --dist loadfile --no-loadscope-reorder
# Errors only: a warning about a folder or a cache of pip's is nothing that a reader could act on.
PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq --no-deps

.PHONY: help setup setup-dev demo test check bench test-containers test-interop test-projects lock clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

.venv/runtime: requirements.lock pyproject.toml
	@sh testnet/preflight.sh $(PYTHON)
	@echo "setting up .venv (once, about a minute)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) -e .
	@touch $@

.venv/dev: requirements-dev.lock .venv/runtime
	@echo "setting up the tools for tests and checks"
	@$(PIP) --require-hashes -r requirements-dev.lock
	@# trio-typing's stubs are older than trio's own types and would hide them from mypy
	@rm -rf .venv/lib/python*/site-packages/trio-stubs
	@touch $@

setup: .venv/runtime ## make .venv with the locked dependencies
setup-dev: .venv/dev

demo: .venv/runtime ## nine measured steps on seven nodes of this machine
	@$(BIN)/swarmnode demo

test: .venv/dev ## all tests but those of containers and of js-libp2p (TESTS=path: some)
	@# A short place for their files: the path of a socket may have 107 bytes.
	@# Once, not by each worker and each program that a test starts.
	@$(BIN)/python -m compileall -q p2p storage swarmnode testnet
	place=$$(mktemp -d) && chmod 755 $$place && \
	$(BIN)/python -m pytest $(TESTS) -q -m "not containers and not slow and not interop" $(SIDE_BY_SIDE) --basetemp $$place/t && \
	rm -rf $$place

check: .venv/dev ## ruff, mypy --strict, import arrows, tidy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/tidy -q

bench: .venv/dev ## the core figures
	$(BIN)/python -m bench core

test-containers: .venv/dev ## seven containers, the nine steps from outside
	@sh testnet/engine/up.sh
	@sh testnet/engine/build.sh
	. testnet/.run/env && $(BIN)/python -m pytest tests/containers -q -m containers

test-projects: .venv/dev ## real projects, each by one command from its folder (PROJECTS=path: some)
	@# With an engine where testnet/engine/up.sh has started or found one: images of docker's.
	place=$$(mktemp -d) && chmod 755 $$place && \
	{ test ! -f testnet/.run/env || . testnet/.run/env; } && \
	$(BIN)/python -m pytest $(PROJECTS) -q -rP --basetemp $$place/t && \
	rm -rf $$place

test-interop: .venv/dev ## js-libp2p of npm meets a node
	$(BIN)/python -m pytest tests/interop -q -m interop

lock: ## renew the hashed locks (needs uv)
	$(BIN)/uv pip compile -q pyproject.toml --override overrides.txt --generate-hashes --no-emit-index-url --no-emit-find-links --universal --python-version 3.11 -o requirements.lock
	$(BIN)/uv pip compile -q pyproject.toml --extra dev --override overrides.txt --generate-hashes --no-emit-index-url --no-emit-find-links --universal --python-version 3.11 -o requirements-dev.lock

clean: ## remove .venv and caches
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
