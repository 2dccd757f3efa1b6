# The front door for people: `make demo` and `make test` each do all their set-up in .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo test check manual sensitivity lint benchmark lock clean

help:  ## what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-13s%s\n", $$1, $$2}' Makefile

demo: .venv/ready  ## open a page that plays an EHR, with eight invented women
	$(BIN)/python -m cds_service demo

test: .venv/ready  ## run all tests
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

check: .venv/ready  ## check the knowledge and the cards
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

benchmark: .venv/ready  ## measure speed and size beside a bare Flask endpoint
	$(BIN)/python benchmarks/run.py

lock: .venv/ready  ## write requirements.lock again from pyproject.toml
	$(BIN)/python -m pip install --quiet uv
	sed -n '/^#/p;/^[^#]/q' requirements.lock > .venv/lock
	printf 'hatchling>=1.27,<2\neditables\n' | $(BIN)/uv pip compile pyproject.toml - --extra dev --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links --quiet >> .venv/lock
	mv .venv/lock requirements.lock

clean:  ## remove .venv and what was built
	rm -rf .venv build dist

# Without ensurepip (Debian packs it apart, as python3-venv) the pip of the machine fills the environment.
.venv/ready: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'Python 3.11 or newer is needed. Name it: make PYTHON=python3.11'; exit 1; }
	@if $(PYTHON) -c 'import ensurepip' 2>/dev/null; then $(PYTHON) -m venv --clear .venv; \
	elif $(PYTHON) -m pip --version >/dev/null 2>&1; then \
	  $(PYTHON) -m venv --clear --without-pip .venv && $(PYTHON) -m pip --python .venv install --quiet pip; \
	else echo 'pip is missing. On Debian: apt install python3-venv'; exit 1; fi
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
