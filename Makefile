# Everything that is done with a checkout of Leadglass; `make` alone lists it.
#
# Nothing has to be prepared: each target makes what it needs, once. What was
# made is remembered by stamp files in the virtual environment, so that a second
# run starts at once, and a changed lock file is noticed.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules
.DELETE_ON_ERROR:

VENV ?= .venv
PYTHON ?=
# Two, because the smallest machine we build on has two cores.
TEST_WORKERS ?= 2
ARGS ?=

# Isolated from the caller's PYTHONPATH and pip settings that would change what
# is installed; hashes are demanded for every single file that comes from outside.
unexport PYTHONPATH PYTHONHOME
# Who starts Python often saves a second each time when it need not be compiled again.
unexport PYTHONDONTWRITEBYTECODE
PIP := $(VENV)/bin/python -m pip --quiet --disable-pip-version-check --no-input
INSTALL := $(PIP) install --require-hashes --only-binary :all: -r

BASE := $(VENV)/.stamp-base
RUN := $(VENV)/.stamp-run
DEV := $(VENV)/.stamp-dev
DEMO := $(VENV)/.stamp-demo
LOCK := $(VENV)/.stamp-lock
OPENID := $(VENV)/.stamp-openid
VIEWER := src/leadglass/servers/viewer/dist/viewer.json
SCRIPTS := src/leadglass/servers/web/dist/scripts.json
AXE := $(VENV)/axe/scripts.json

##@ Use it

.PHONY: serve
serve: $(RUN) try-viewer  ## start a node (ARGS="--dimse 127.0.0.1:2762" goes to `leadglass serve`)
	@exec $(VENV)/bin/leadglass serve $(ARGS)

.PHONY: demo
demo: $(DEMO) try-viewer  ## start a node of its own, filled with example studies
	@exec $(VENV)/bin/leadglass demo $(ARGS)

.PHONY: viewer
viewer: $(VIEWER) $(SCRIPTS)  ## get the viewer and what pages need, once: `serve` and `demo` do so too

##@ Work on it

.PHONY: test
test: $(DEV) $(VIEWER) $(SCRIPTS) $(AXE) $(OPENID) debian-test  ## the whole test suite, foreign peers included (ARGS="-k name")
	@$(VENV)/bin/python -m pytest -n $(TEST_WORKERS) --dist loadfile $(ARGS)

.PHONY: check
check: $(DEV)  ## format, lint, strict types, architecture and unit tests: before every commit
	@$(VENV)/bin/ruff format --check --quiet .
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/python -m pytest -q -n $(TEST_WORKERS) --dist loadfile \
	  tests/architecture $(wildcard tests/unit)

.PHONY: format
format: $(DEV)  ## put the code in the formatter's shape
	@$(VENV)/bin/ruff format .
	@$(VENV)/bin/ruff check --fix-only .

.PHONY: bench
bench: $(DEV) $(VIEWER) $(SCRIPTS) debian-test debian-bench  ## measure beside Orthanc and DCMTK, write docs/benchmarks.md (ARGS="find --quick")
	@$(VENV)/bin/python -m bench $(ARGS)

.PHONY: screenshots
screenshots: $(DEV) $(VIEWER) $(SCRIPTS) debian-test  ## take the pictures of the pages for the README
	@PYTHONPATH=.:docs/pictures $(VENV)/bin/python docs/pictures/screenshots.py

.PHONY: lock
lock: $(LOCK)  ## renew the pinned, hashed dependencies from pyproject.toml
	@compile() { \
	  $(VENV)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 \
	    --generate-hashes --no-header --no-emit-index-url --no-emit-find-links \
	    --custom-compile-command 'make lock' "$$@"; }; \
	compile pyproject.toml --group dev -o requirements/dev.txt; \
	compile pyproject.toml -c requirements/dev.txt -o requirements/run.txt; \
	compile pyproject.toml --extra demo -c requirements/dev.txt -o requirements/demo.txt; \
	compile --group build -c requirements/dev.txt -o requirements/build.txt; \
	compile --group lock -o requirements/lock.txt; \
	echo 'renewed: requirements/*.txt'

.PHONY: clean
clean:  ## remove what was built and measured; archives and demo data stay
	rm -rf $(VENV) dist bench-data .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help
help:  ## this list
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@/ { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z][a-z-]*:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- what the targets above stand on ------------------------------------------

.PHONY: debian-test debian-bench
debian-test debian-bench:  # no package may start a service: it would listen
	@NO_SERVICES=1 requirements/install-debian.sh requirements/$@.txt

# Any Python from 3.11 on serves. The distribution's own is tried first: it is built
# with optimisation, one that was compiled by hand usually is not.
$(BASE): requirements/install-debian.sh
	@python=; \
	for candidate in $(or $(PYTHON),/usr/bin/python3 python3 python3.13 python3.12 python3.11); do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	  then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo 'Leadglass needs Python 3.11 or newer, and found none:' \
	    'install it (Debian 12 and later: apt-get install python3)' \
	    'or name it (make PYTHON=/path/to/python3.12)' >&2; exit 1; \
	fi; \
	if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
	  requirements/install-debian.sh requirements/debian-run.txt; \
	fi; \
	if [ ! -x $(VENV)/bin/python ] || ! $(VENV)/bin/python -m pip --version >/dev/null 2>&1; then \
	  echo "making $(VENV) with $$("$$python" --version)"; \
	  "$$python" -m venv --clear $(VENV); \
	fi; \
	touch $@

# The project itself is installed in place, without a build in isolation: that
# would fetch a build backend which no hash here vouches for.
$(RUN): $(BASE) requirements/build.txt requirements/run.txt pyproject.toml
	@echo 'installing what a node needs'
	@$(INSTALL) requirements/build.txt
	@$(INSTALL) requirements/run.txt
	@$(PIP) install --no-deps --no-build-isolation --no-index --editable .
	@touch $@

$(DEV): $(RUN) requirements/dev.txt
	@echo 'installing what the tests need'
	@$(INSTALL) requirements/dev.txt
	@touch $@

$(DEMO): $(RUN) requirements/demo.txt
	@echo 'installing the example studies'
	@$(INSTALL) requirements/demo.txt
	@touch $@

# The lock file holds the hashes of all that it is made of.
$(OPENID): assembly/provider.py tests/peers/openid/package-lock.json | $(RUN)
	@echo 'installing the OpenID provider of the tests'
	@$(VENV)/bin/python assembly/provider.py $(VENV)/openid
	@touch $@

# Checked against its hash; a newer list of what is taken makes it anew.
$(VIEWER): assembly/viewer.py | $(RUN)
	@$(VENV)/bin/python assembly/viewer.py
	@touch $@

$(SCRIPTS): assembly/scripts.py | $(RUN)
	@$(VENV)/bin/python assembly/scripts.py
	@touch $@

$(AXE): assembly/scripts.py | $(RUN)
	@$(VENV)/bin/python assembly/scripts.py --tests $(VENV)/axe
	@touch $@

# A node stores and sends without a viewer, too.
.PHONY: try-viewer
try-viewer: $(RUN)
	@$(MAKE) --no-print-directory viewer || \
	  echo 'the viewer could not be had; `make viewer` tries again' >&2

$(LOCK): $(BASE) requirements/lock.txt
	@$(INSTALL) requirements/lock.txt
	@touch $@
