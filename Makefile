# The tasks of this repository; `make` lists them. Needs Python 3.11 or newer, make and git; everything else goes into
# .venv from requirements.lock, once. After that nothing here needs a network, except `make lock`.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PYTHON  ?= python3
VENV    ?= .venv
INPUT   ?= src
CATALOG ?= examples/code_review/catalog.toml
ADDRESS ?= 127.0.0.1:50061

BIN     := $(VENV)/bin
READY   := $(VENV)/.ready
CHECKS  := check-format check-lint check-async check-types check-imports check-contract check-lock
PROJECT_FILES := pyproject.toml proto/python/pyproject.toml clients/python/pyproject.toml

# Every recipe sees the environment's programs first, as an activated shell would.
export PATH := $(abspath $(BIN)):$(PATH)
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV

.PHONY: help demo test test-clients conformance check $(CHECKS) fmt proto proto-check proto-baseline serve bench bench-peers drill lock clean

help: ## List the tasks
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | while IFS='|' read -r name text; do printf '  %-16s %s\n' "$$name" "$$text"; done
	@printf '\n  demo takes INPUT=path; serve takes CATALOG=file and ADDRESS=host:port; the environment takes PYTHON=program\n'

demo: $(READY) ## Review a source tree with four analysers, live (INPUT=path, default: src)
	@python examples/code_review/demo.py '$(INPUT)'

serve: $(READY) ## Serve a catalog over gRPC (CATALOG=file ADDRESS=host:port)
	@motet serve '$(CATALOG)' --address '$(ADDRESS)'

test: $(READY) ## Run the whole test suite, in every language that the machine has the toolchain of
	@python clients/conformance/run_all.py --fetch
	@python -m pytest

test-clients: $(READY) ## Run the own tests of the clients in Go, TypeScript and Java, where their toolchains are here
	@if command -v go >/dev/null; then cd clients/go && go vet ./... && go test ./...; else echo 'go is not here'; fi
	@if command -v npm >/dev/null; then cd clients/typescript && npm ci --silent && npm test; else echo 'npm is not here'; fi
	@if command -v mvn >/dev/null; then cd clients/java && mvn --batch-mode --quiet verify; else echo 'mvn is not here'; fi

conformance: $(READY) ## Play every scenario in every language that is here, and print language by scenario
	@python clients/conformance/run_all.py

check: $(READY) ## Everything that judges without running: format, lint, types, layers, contract, lock
	@$(MAKE) --no-print-directory --keep-going $(CHECKS)
	@echo 'check: all passed'

fmt: $(READY) ## Format the code and fix what can be fixed safely
	@ruff check --fix-only --quiet .
	@ruff format .

proto: $(READY) ## Generate the code of proto/ again, in every language that is here
	@python tools/gen_proto.py
	@python tools/gen_clients.py

proto-check: $(READY) ## Fail when generated code is not what proto/ says
	@python tools/gen_proto.py --check
	@python tools/gen_clients.py --check

proto-baseline: $(READY) ## Accept the present contract as the released one (see docs/decisions)
	@python tools/check_contract.py --accept

bench: $(READY) ## Measure everything and write benches/RESULTS.md (under ten minutes; BENCH=name runs only that, and writes nothing)
	@python benches/run_all.py $(BENCH)

bench-peers: $(READY) ## Measure against JAF, OxyGent and LangGraph, each in an environment of its own (network, once; 1 GB)
	@cd benches && python -m peers

drill: $(READY) ## Kill servers again and again and prove that no run is lost or run twice (about a minute)
	@python tools/drill.py

lock: $(READY) ## Resolve requirements.lock again (network; UPGRADE=1 takes newer versions)
	@python -m pip install --quiet 'uv>=0.13,<0.14'
	@python tools/lock.py $(if $(UPGRADE),--upgrade)

clean: ## Remove the environment and every cache
	rm -rf $(VENV) .venv-peers .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .grimp_cache .coverage* build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

check-format: $(READY)
	@ruff format --check --quiet --diff .

check-lint: $(READY)
	@ruff check --quiet .

check-async: $(READY)
	@python tools/check_async.py

check-types: $(READY)
	@mypy --no-error-summary

check-imports: $(READY)
	@lint-imports --no-logo > $(VENV)/imports.txt || { cat $(VENV)/imports.txt; exit 1; }

check-contract: $(READY)
	@python tools/check_contract.py

check-lock: $(READY)
	@python tools/lock.py --check

# The environment: the locked packages first, then the three distributions of this repository as editable installs.
# A changed lock starts from an empty environment, so that nothing unlocked stays behind.
$(VENV)/.locked: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Motet needs Python 3.11 or newer, this is " + sys.version.split()[0] + ": run make PYTHON=python3.11")'
	@echo 'creating $(VENV) (once; about a minute)'
	@$(PYTHON) -m venv --clear $(VENV)
	@python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@touch $@

$(READY): $(VENV)/.locked $(PROJECT_FILES)
	@python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e proto/python -e clients/python -e .
	@touch $@
