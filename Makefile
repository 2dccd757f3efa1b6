# The front door for people: `make demo` and `make test` each do all their set-up in .venv.
PYTHON ?= python3
BIN := .venv/bin
# Python compiles what is imported, when it is. To compile all of it beforehand takes a third of the time.
PIP := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check

.PHONY: help demo test check manual sensitivity docs lint benchmark sbom audit lock clean

help:  ## what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-13s%s\n", $$1, $$2}' Makefile

demo: .venv/runs  ## open a page that plays an EHR, with eight invented women
	$(BIN)/python -m cds_service demo $(DEMO)

test: .venv/ready  ## run all tests
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

check: .venv/runs  ## check the knowledge and the cards
	$(BIN)/python -m cds_service check

manual: .venv/ready  ## write the worked cases for clinicians, as pages in build/manual
	$(BIN)/python tests/stories.py
	$(BIN)/python -m cds_service manual --output build/manual

sensitivity: .venv/ready  ## move each threshold and see what changes: docs/sensitivity.md
	$(BIN)/python benchmarks/sensitivity

lint: .venv/ready  ## style, types, and that imports only go down
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/lint-imports

docs: .venv/ready  ## write the reference from the code, and the pages to read: build/site
	$(BIN)/python docs/written
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

benchmark: .venv/ready  ## measure speed and size beside a bare Flask endpoint
	$(BIN)/python benchmarks/run.py

sbom: .venv/ready  ## write build/sbom.json: each package that runs in production (CycloneDX)
	@mkdir -p build
	@# It warns that a lock file does not say which package needs which.
	@PYTHONWARNINGS=ignore::UserWarning $(BIN)/cyclonedx-py requirements --pyproject pyproject.toml \
	  --mc-type application --output-reproducible --output-format JSON --output-file build/sbom.json requirements-run.lock
	@echo 'build/sbom.json names each package of requirements-run.lock, with its hashes.'

audit: .venv/ready  ## look for known holes in every locked package (asks PyPI)
	$(BIN)/python .ci/audit.py requirements.lock

lock: .venv/ready  ## write the three lock files again from pyproject.toml
	$(BIN)/python -m pip install --quiet uv
	@printf 'hatchling>=1.27,<2\neditables\n' > .venv/builder.in
	$(call locked,requirements.lock,pyproject.toml .venv/builder.in --extra dev)
	$(call locked,requirements-run.lock,pyproject.toml $(RUNS_WITH) --constraint requirements.lock)
	$(call locked,requirements-build.lock,.venv/builder.in --constraint requirements.lock)

clean:  ## remove .venv and what was built
	rm -rf .venv build dist

# What is optional for whoever installs the wheel is there in the image.
RUNS_WITH := --extra postgresql --extra oidc --extra telemetry

# The words at the head of a lock file stay, and so do versions that still fit. `make lock UPGRADE=--upgrade` takes newer.
define locked
	@sed -n '/^#/p;/^[^#]/q' $(1) > .venv/head
	@cp $(1) .venv/lock.txt
	@$(BIN)/uv pip compile $(2) $(UPGRADE) --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --no-emit-index-url --no-emit-find-links --quiet --output-file .venv/lock.txt
	@cat .venv/head .venv/lock.txt > $(1)
endef

# What the service needs to run, and no more: a newcomer waits for nothing else.
# Without ensurepip (Debian packs it apart, as python3-venv) the pip of the machine fills the environment.
.venv/runs: pyproject.toml requirements-run.lock requirements-build.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'Python 3.11 or newer is needed. Name it: make PYTHON=python3.11'; exit 1; }
	@if $(PYTHON) -c 'import ensurepip' 2>/dev/null; then $(PYTHON) -m venv --clear .venv; \
	elif $(PYTHON) -m pip --version >/dev/null 2>&1; then \
	  $(PYTHON) -m venv --clear --without-pip .venv && $(PYTHON) -m pip --python .venv install --quiet pip; \
	else echo 'pip is missing. On Debian: apt install python3-venv'; exit 1; fi
	$(PIP) --require-hashes -r requirements-run.lock -r requirements-build.lock
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

# And what its tests need beside that.
.venv/ready: .venv/runs requirements.lock
	$(PIP) --require-hashes -r requirements.lock
	@touch $@
