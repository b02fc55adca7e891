# Everything runs in .venv, which `make install` builds from hashed requirements.
# System packages that are missing are installed by infra/install.sh (with sudo where it is needed).

VENV := .venv
MINISTACK := .venv-ministack
# Modules stay compiled, whatever the surroundings say: the tests start a thousand processes.
RUN := PYTHONDONTWRITEBYTECODE= PATH="$(CURDIR)/$(VENV)/bin:$$PATH"
VAR := $(CURDIR)/var
# Two processes more than there are cores, because many tests wait: for a lease to end, for another process.
TESTERS := $(shell expr $$(nproc) + 2)
SERVE := SHREDVAULT_HOME=$(VAR)/home SHREDVAULT_OBJECTS_FOLDER=$(VAR)/objects SHREDVAULT_CUSTODIAN=file:$(VAR)/keys

.PHONY: help install test-services demo serve test check format bench seizure lock specimens clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

install: $(VENV)/.installed ## build the virtual environment

$(VENV)/.installed: requirements.txt infra/install.sh pyproject.toml
	@infra/install.sh $(VENV)
	@touch $@

demo: install ## file, read back, destroy, attack: the whole story in one screen
	@$(RUN) shredvault demo

serve: install ## start the service on a vault under var/, which survives restarts
	@$(RUN) $(SERVE) shredvault init
	@$(RUN) $(SERVE) shredvault serve

test-services: $(MINISTACK)/.installed ## install the services that tests run against

$(MINISTACK)/.installed: infra/test-services/ministack.txt infra/install-test-services.sh
	@infra/install-test-services.sh $(MINISTACK)
	@touch $@

test: install test-services ## run all tests
	@$(RUN) pytest --numprocesses=$(TESTERS) --dist=worksteal

check: install ## ruff, mypy --strict, import contracts
	@$(RUN) ruff check --quiet
	@$(RUN) ruff format --check --quiet
	@$(RUN) mypy
	@$(RUN) lint-imports --no-logo

format: install ## format the code
	@$(RUN) ruff check --fix --quiet
	@$(RUN) ruff format

bench: install ## measure; prints ratios side by side
	@$(RUN) python -m tests.bench

seizure: install ## seize vaults of 10,000 destroyed records (as root, it reads memory); RECORDS=n, SEED=n
	@$(RUN) python -m tests.seizure $(if $(RECORDS),--records $(RECORDS)) $(if $(SEED),--seed $(SEED))

lock: install ## renew requirements.txt from pyproject.toml
	@$(VENV)/bin/pip install --quiet uv
	@$(RUN) uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header \
		--all-extras --group dev --python-version 3.11 pyproject.toml -o requirements.txt
	@printf 'ministack\ncryptography\n' | $(RUN) uv pip compile --quiet --universal --generate-hashes \
		--no-emit-index-url --no-header --no-annotate --python-version 3.11 - -o infra/test-services/ministack.txt

specimens: install ## draw the sample scans again
	@$(RUN) python tests/specimens/draw.py

clean: ## remove what was built; a vault under var/ stays
	rm -rf $(VENV) $(MINISTACK) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
