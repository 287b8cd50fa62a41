# Two commands: `make demo` and `make test`. Everything else is for those who change the code.

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
PLUGINS := $(sort $(wildcard plugins/*))
READY := $(VENV)/.ready
JOBS ?= auto

.PHONY: demo test check format bench soak reliability record clean

demo: $(READY)
	$(BIN)/syncline demo

test: check
	$(BIN)/pytest -n $(JOBS)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)
	$(BIN)/python benchmarks/throughput.py
	$(BIN)/python benchmarks/webhooks.py

soak: $(READY)
	$(BIN)/pytest -n $(JOBS) -m soak --kills=$(or $(KILLS),50)

reliability: $(READY)
	$(BIN)/python -m reliability --size $(or $(SIZE),full) $(if $(SEED),--seed $(SEED)) \
		--store $(or $(STORE),both) --sink $(or $(SINK),all) $(if $(ONLY),--only $(ONLY)) --jobs $(or $(AT_ONCE),2)

record: $(READY)
	$(BIN)/python -m syncline.testing.record $(VENDOR) $(OPTIONS)

clean:
	rm -rf $(VENV) .syncline .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(READY): constraints.txt pyproject.toml $(wildcard plugins/*/pyproject.toml)
	$(PYTHON) -c 'import sys; sys.exit("syncline needs Python 3.11 or newer; this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,simulate]' $(addprefix -e ,$(PLUGINS))
	touch $(READY)
