# Everything a person or CI does with this repository. Each target creates what it needs and can run twice in a row.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
UV     := $(BIN)/uv

.DEFAULT_GOAL := help
.PHONY: help demo test test-all check format generate bench clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 16

$(UV):
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade uv

$(VENV)/.installed: pyproject.toml | $(UV)
	$(UV) pip install --quiet --python $(BIN)/python -e '.[demo,zero-code]' \
		--group lint --group generate --group test --group sdks --group file-config
	@touch $@

demo: $(VENV)/.installed ## Run a small company of agents offline and show what its session cost
	$(BIN)/agentcost demo

test: $(VENV)/.installed ## All tests: default Python, oldest one found, other instrumentations beside us
	$(BIN)/python -m pytest
	$(BIN)/python tools/test_matrix.py --oldest
	$(BIN)/python tools/test_matrix.py --beside

test-all: $(VENV)/.installed ## All tests on every Python found, with the oldest and the newest OpenTelemetry
	$(BIN)/python tools/test_matrix.py --all

check: $(VENV)/.installed ## Format, lint, types, architecture contracts, generated files without diff
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/generate.py --check

format: $(VENV)/.installed ## Format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

generate: $(VENV)/.installed ## Rebuild constants, tables, price book and docs from semconv/ and prices/
	$(BIN)/python tools/generate.py

bench: $(VENV)/.installed ## Measure the overhead against peers, side by side
	$(BIN)/python -m tests.bench

clean: ## Remove what the targets created
	rm -rf $(VENV) .venv-* build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
