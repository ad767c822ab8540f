# Everything here needs python3 (3.11 or later) and makes its own environment in .venv.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
DEV := .venv/.dev

help:
	@echo "make run     start the collector with a pretend agent; says where to look"
	@echo "             (ARGS='--web.listen-address 127.0.0.1:9465' if a port is taken, and other flags of serve)"
	@echo "make test    run the tests against real servers (ARGS='-k name' narrows)"
	@echo "make check   lint, format and types, changing nothing"
	@echo "make format  let ruff mend what it can"
	@echo "make bench   measure"
	@echo "make docs    write the generated pages again"
	@echo "make pictures  draw the boards (docs/pictures); needs Chromium"
	@echo "make clean   remove the environment and all caches"

run: $(READY)
	@exec $(BIN)/agent-exporter serve --demo $(ARGS)

test: $(DEV)
	@.ci/servers
	@$(BIN)/python -m pytest $(ARGS)

check: $(DEV)
	@echo "ruff check";  $(BIN)/ruff check --quiet
	@echo "ruff format"; $(BIN)/ruff format --check --quiet || { echo "not formatted; mend with: make format"; exit 1; }
	@echo "mypy";        $(BIN)/mypy --no-error-summary

format: $(DEV)
	@$(BIN)/ruff check --fix --quiet; $(BIN)/ruff format

bench: $(DEV)
	@set -e; for file in benchmarks/[!_]*.py; do echo "== $$file"; $(BIN)/python "$$file"; done

docs: $(DEV)
	@for file in docs/*.py alerts/generate.py $(wildcard dashboards/generate.py); do $(BIN)/python "$$file"; done

pictures: $(DEV)
	@.ci/servers
	@$(BIN)/python tests/dashboards/pictures.py

clean:
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis dist

# Made again when pyproject.toml changes, and when the python it was made with is gone.
$(READY): pyproject.toml .ci/environment $(if $(wildcard $(BIN)/python),,lost)
	@.ci/environment "$(PYTHON)" && touch $@

# With what tests and tools need besides.
$(DEV): $(READY)
	@.ci/environment "$(PYTHON)" dev && touch $@

.PHONY: help run test check format bench docs pictures clean lost
