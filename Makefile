# `make` lists what there is.
.DEFAULT_GOAL := help
.PHONY: help run test lint types contracts check requirements platforms fuzz faults money bench browser pictures postman compose-test pin-images clean

PYTHON ?= $(firstword $(foreach p,python3.13 python3.12 python3.11 python3,$(shell \
	command -v $(p) >/dev/null 2>&1 && $(p) -c 'import sys; sys.exit(not (3,11) <= sys.version_info < (3,14))' 2>/dev/null && echo $(p))))
VENV := .venv
BIN := $(VENV)/bin
COMPILE := -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links
PLATFORMS := x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu aarch64-apple-darwin

# A line for each ten packages, on a terminal or not; what pip says besides is shown, but for its routine.
define install
	@echo "Installing $(1): about $$(grep -c '==' $(1)) packages (once)"
	@{ PYTHONUNBUFFERED=1 $(BIN)/python -m pip install --disable-pip-version-check --no-input --progress-bar off \
		--require-hashes -r $(1) 2>&1; echo "pip ended: $$?"; } | { n=0; while IFS= read -r line; do case "$$line" in \
		"pip ended: 0") exit 0;; \
		"pip ended: "*) exit 1;; \
		"Collecting "*) n=$$((n + 1)); [ $$((n % 10)) -gt 0 ] || echo "  $$n fetched";; \
		"Installing collected packages"*) echo "  $$n fetched, unpacking";; \
		"Ignoring "*|"Processing "*|"Looking in "*|"Requirement already "*|"Success"*|"Building wheels "*) ;; \
		"  "*"Downloading "*|"  Using cached "*|"  Preparing "*|"  Getting "*|"  Installing build "*|"  Building wheel "*) ;; \
		"  Created wheel "*|"  Stored in "*) ;; \
		*) echo "$$line";; \
		esac; done; }
endef

help: ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

run: $(VENV)/.run ## install what is missing, migrate, and serve everything in one process
	@exec $(BIN)/python standalone.py

test: $(VENV)/.dev ## run the tests; those that need a Redis or a PostgreSQL start their own
	@$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

lint: $(VENV)/.dev ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev ## mypy, strict
	$(BIN)/mypy

contracts: $(VENV)/.dev ## import-linter: which package may import which
	$(BIN)/lint-imports

check: lint types contracts test ## what CI runs

fuzz: $(VENV)/.dev ## ten thousand random requests built from the schema
	PARLEY_FUZZ_REQUESTS=10000 $(BIN)/python -m pytest tests/api/test_schema_fuzz.py --timeout=3600 $(ARGS)

faults: $(VENV)/.dev ## kill, stall, stop and starve every part, each case twenty times; CI once, the databases by turns
	PARLEY_FAULT_SEEDS=20 $(BIN)/python -m pytest -n auto --dist worksteal tests/faults --timeout=900 $(ARGS)

money: $(VENV)/.dev ## thousands of random submits, cancels, retries and killed workers, and every cent accounted for; CI does a hundred
	PARLEY_MONEY_SUBMITS=3000 PARLEY_FAULT_SEEDS=1 $(BIN)/python -m pytest -s tests/faults/test_money.py --timeout=7200 $(ARGS)

bench: $(VENV)/.bench ## measure every promise of speed and write benchmarks/RESULTS.md; ARGS=--quick only tries it
	$(BIN)/python -m benchmarks $(ARGS)

browser: $(VENV)/.dev ## the page in a real chromium, and its recorder and players alone; CI runs the page
	PARLEY_BROWSER=all $(BIN)/python -m pytest -n auto tests/e2e/browser $(ARGS)

pictures: $(VENV)/.dev ## take the README's pictures and its film anew (needs chromium)
	PARLEY_PICTURES=docs/images $(BIN)/python -m pytest tests/e2e/browser/test_pictures.py --timeout=600 $(ARGS)

postman: $(VENV)/.dev ## run the Postman collection against a server of its own (needs npx); ARGS="--auth on --role user"
	$(BIN)/python -m tests.postman $(ARGS)

compose-test: ## the whole stack on a container engine, through kills, an upgrade, a power cut and a restore; COMPOSE="docker compose"
	@$(PYTHON) -m tests.compose

pin-images: ## take the newest images of others into deploy/pinned.yml (needs docker and a network)
	@set -e; for image in $$(grep -oE '[a-z]+:[0-9a-z.-]+@' deploy/pinned.yml | sort -u | tr -d @); do \
		digest=$$(docker buildx imagetools inspect "$$image" --format '{{.Manifest.Digest}}'); echo "$$image $$digest"; \
		sed -i.old "s|$$image@sha256:[0-9a-f]*|$$image@$$digest|" deploy/pinned.yml; rm deploy/pinned.yml.old; \
	done

requirements: $(VENV)/.dev ## compile the pins from the intents in pyproject.toml
	$(BIN)/uv pip compile $(COMPILE) \
		--custom-compile-command "make requirements" pyproject.toml -o requirements.txt
	$(BIN)/uv pip compile $(COMPILE) \
		--custom-compile-command "make requirements" pyproject.toml --group dev -c requirements.txt -o requirements-dev.txt
	$(BIN)/uv pip compile $(COMPILE) \
		--custom-compile-command "make requirements" --group pyproject.toml:bench -c requirements-dev.txt -o requirements-bench.txt

platforms: $(VENV)/.dev ## prove that every pin has a wheel for every Python and machine that is supported
	@for platform in $(PLATFORMS); do for version in 3.11 3.12 3.13; do \
		echo "$$platform, Python $$version"; \
		MACOSX_DEPLOYMENT_TARGET=15.0 $(BIN)/uv pip compile -q --python-platform $$platform --python-version $$version \
			--only-binary :all: requirements.txt -o /dev/null || exit 1; \
	done; done

clean: ## remove what make made; data/ stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Parley needs Python 3.11, 3.12 or 3.13. Debian/Ubuntu: apt install python3 python3-venv. macOS: brew install python@3.13"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "Python's venv module is missing. Debian/Ubuntu: apt install python3-venv"; exit 1; }
	@echo "Making $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements.txt | $(VENV)/bin/python
	$(call install,requirements.txt)
	@touch $@

$(VENV)/.dev: requirements-dev.txt | $(VENV)/bin/python
	$(call install,requirements-dev.txt)
	@touch $@ $(VENV)/.run

$(VENV)/.bench: requirements-bench.txt $(VENV)/.dev
	$(call install,requirements-bench.txt)
	@touch $@
