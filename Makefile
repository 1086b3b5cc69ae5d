# Everything runs from .venv, which the first target makes. Needed: make, and Python 3.10 or newer.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
JOB := crm-to-fullstory
UV_VERSION := >=0.8,<1

# The first interpreter that runs and is new enough.
FIND_PYTHON = for python in $(PYTHON) python3 python3.13 python3.12 python3.11 python3.10; do \
	"$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' \
	>/dev/null 2>&1 && { echo "$$python"; break; }; done

# A server's programs, in Debian's place or where pg_config says.
FIND_POSTGRES = ls /usr/lib/postgresql/*/bin/initdb "$$(pg_config --bindir 2>/dev/null)/initdb" 2>/dev/null | grep .

# Without bytecode beside them, hundreds of modules are compiled anew at every start.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test meltano nights lint format soak e2e bench clean install

help:
	@echo 'make demo    load the example CRM into the embedded sandbox, through Meltano'
	@echo 'make test    lint, types, import rules, and the tests: built wheel and Meltano run too'
	@echo 'make meltano the commands through Meltano, in a minute or two'
	@echo 'make nights  sync modes at length: kills, random nights, mirrors, S3; in three minutes or so'
	@echo 'make lint    the part of make test before the tests'
	@echo 'make format  format the code'
	@echo 'make soak    the long tests, in twenty minutes or so, and random ones with all their examples'
	@echo 'make e2e     from a real PostgreSQL through Meltano into the sandbox, in five minutes or so'
	@echo 'make bench   the measurements, in twenty minutes or so'
	@echo 'make clean   remove .venv, .meltano, output and caches'

install: $(STAMP)

$(STAMP): pyproject.toml
	@python=$$($(FIND_PYTHON)); \
	if [ -z "$$python" ]; then \
		echo 'Python 3.10 or newer with venv is needed (Debian, Ubuntu: python3-venv).' >&2; \
		echo 'If it has another name: make PYTHON=/path/to/python3 ...' >&2; \
		exit 1; \
	fi; \
	echo "Installing into $(VENV) with $$("$$python" --version)"; \
	"$$python" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv$(UV_VERSION)'
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[dev]'
	@rm -rf .meltano/loaders # made of the old pyproject.toml; the next run makes it anew
	@touch $@

# Meltano installs the tap and this target into environments of their own, under .meltano.
demo: $(STAMP)
	$(BIN)/meltano run $(JOB)
	@$(BIN)/python scripts/summary.py

lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# Most tests wait for processes: nine at a time take a fraction of the time.
test: lint
	$(BIN)/python -m pytest -n 9

# Apart from the others for their time: each starts Meltano.
meltano: $(STAMP)
	$(BIN)/python -m pytest -m meltano tests/ecosystem

# Apart from the others for their time: what they hold is tried in short by the tests beside them, too.
nights: $(STAMP)
	$(BIN)/python -m pytest -n 6 -m 'nights and not soak'

format: $(STAMP)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# A test that hangs ends all after an hour and a half.
soak: $(STAMP)
	EVERY_EXAMPLE=1 $(BIN)/python -m pytest -m 'soak or hypothesis' \
		-o faulthandler_timeout=5400 -o faulthandler_exit_on_timeout=true

# What docs/warehouse.md describes; the server is one of its own, started for the test.
e2e: $(STAMP)
	@$(FIND_POSTGRES) >/dev/null && command -v jq >/dev/null || \
		{ echo 'PostgreSQL and jq are needed: apt-get install postgresql jq' >&2; exit 1; }
	$(BIN)/python -m pytest -m e2e tests/e2e

bench: $(STAMP)
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) .meltano .mypy_cache .pytest_cache .ruff_cache .hypothesis \
		.import_linter_cache build dist output
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
