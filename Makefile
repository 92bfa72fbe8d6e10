# Everything needs only python3, make and, on Debian, apt for the three system packages below.
# `make` alone lists what there is.

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
STAMP := $(VENV)/.installed
SUDO := $(shell [ "$$(id -u)" = 0 ] || command -v sudo)

export PREFECT_SERVER_ANALYTICS_ENABLED = false
export DO_NOT_TRACK = 1
export MLFLOW_DISABLE_TELEMETRY = true

# A run starts hundreds of processes: let them find compiled what they import.
unexport PYTHONDONTWRITEBYTECODE

# Tests run in a process for each core, those of a file in one; tests/conftest.py says which files come first.
AT_ONCE := --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
# Importing all tests takes a while, so few are asked which of them are marked.
MARKED = -m $(1) $$(grep -rl 'mark\.$(1)' --include='test_*.py' tests)

.DEFAULT_GOAL := help
.PHONY: help setup daemons browser postgresql hypervisors demo serve test test-fast test-heavy test-hypervisors \
	test-pages pictures bench check format docs notebooks constraints \
	clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

setup: $(STAMP) ## install into .venv, with what it needs of the system

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Foreshock needs Python 3.11 or newer, this is %d.%d" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || $(MAKE) --no-print-directory system PACKAGES=python3-venv
	@ldconfig -p 2>/dev/null | grep -q libgomp.so.1 || $(MAKE) --no-print-directory system PACKAGES=libgomp1
	@command -v git >/dev/null || $(MAKE) --no-print-directory system PACKAGES=git
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt --group dev --editable .
	@touch $@

.PHONY: system
system:
	@command -v apt-get >/dev/null || { echo "Please install $(PACKAGES) with your system's package manager, then run make again."; exit 1; }
	$(SUDO) apt-get update -qq
	DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq --no-install-recommends $(PACKAGES)

# Daemons that tests of live telemetry run themselves, on loopback; without them those tests are skipped. Where systemd
# runs, Debian starts what it installs: `systemctl disable --now prometheus prometheus-node-exporter smartmontools`.
DAEMONS := prometheus promtool prometheus-node-exporter smartctl openssl rsync

daemons: browser postgresql ## install what tests run themselves: Prometheus, node exporter, smartctl, rsync, PostgreSQL, Chromium, axe
	@for one in $(DAEMONS); do PATH="$$PATH:/usr/sbin" command -v $$one >/dev/null || missing=1; done; [ -z "$$missing" ] \
		|| $(MAKE) --no-print-directory system PACKAGES="prometheus prometheus-node-exporter smartmontools openssl rsync"

# The review pages in Debian's Chromium, under an accessibility checker from npm; without them those tests are skipped.
AXE_VERSION := 4.14.1
AXE := .foreshock/axe/node_modules/axe-core/axe.min.js

browser: $(AXE)
	@[ -x /usr/bin/chromium ] || $(MAKE) --no-print-directory system PACKAGES=chromium

$(AXE): Makefile
	@command -v npm >/dev/null || $(MAKE) --no-print-directory system PACKAGES=npm
	npm install --silent --no-audit --no-fund --prefix .foreshock/axe axe-core@$(AXE_VERSION)
	@touch $@

# Debian makes a database of its own and starts it, unless it is told not to before PostgreSQL itself comes.
postgresql: ## install PostgreSQL, of which nothing is started; tests run their own
	@ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || { \
		$(MAKE) --no-print-directory system PACKAGES=postgresql-common \
		&& $(SUDO) sed -i 's/^#*create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf \
		&& $(MAKE) --no-print-directory system PACKAGES=postgresql; }

demo: setup ## the whole job on a simulated fleet: simulate, ingest, train, decide, dispatch, settle
	$(BIN)/foreshock demo

serve: setup ## the review page on the demo's home (make demo first)
	FORESHOCK_HOME=$${FORESHOCK_HOME:-.foreshock/demo} $(BIN)/foreshock review

test: test-fast ## all tests but the heavy ones, the fast ones first
	$(BIN)/pytest $(AT_ONCE) -m "slow and not heavy and not hypervisor"

test-fast: setup ## the fast tests only, a few minutes
	$(BIN)/pytest $(AT_ONCE) -m "not slow and not heavy and not hypervisor"

# What the tests marked hypervisor need of the system: real daemons, and a compiler for libvirt's bindings.
LIBVIRT_PACKAGES := qemu-system-x86 libvirt-daemon-system libvirt-clients libvirt-daemon-driver-qemu libvirt-dev \
	pkg-config gcc python3-dev iproute2 util-linux

HYPERVISORS := $(VENV)/.hypervisors

hypervisors: $(HYPERVISORS) ## install what tests on hypervisors need

$(HYPERVISORS): $(STAMP) tests/pipelines/drivers/nova_env.sh tests/pipelines/drivers/nova_constraints.txt
	@command -v libvirtd >/dev/null && command -v qemu-system-x86_64 >/dev/null && command -v ip >/dev/null \
		&& pkg-config --exists libvirt \
		|| $(MAKE) --no-print-directory system PACKAGES="$(LIBVIRT_PACKAGES)"
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --group dev \
		--editable '.[libvirt,nova,kubevirt]'
	sh tests/pipelines/drivers/nova_env.sh
	@touch $@

test-hypervisors: hypervisors ## real VMs on real libvirt daemons (as root), and Nova's own services
	$(BIN)/pytest $(AT_ONCE) $(call MARKED,hypervisor)

test-heavy: setup ## minutes and gigabytes: the whole drive history
	$(BIN)/pytest $(AT_ONCE) $(call MARKED,heavy)

test-pages: setup browser ## every page in Debian's Chromium, under an accessibility checker from npm
	$(BIN)/pytest tests/dashboards/test_accessibility.py tests/dashboards/test_browser.py

bench: setup ## speed and memory beside pandas, polars and others, into docs/performance.md (an hour, idle machine)
	$(BIN)/foreshock bench --write

pictures: setup ## a picture of each review page into docs/pictures, of the demo's home (make demo first)
	$(BIN)/python -m dashboards.pictures --home $${FORESHOCK_HOME:-.foreshock/demo}

check: setup ## types, lint, layers, and that generated docs are current
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pipelines.reference | diff -u docs/cli.md - || { echo "docs/cli.md is not current: run make docs"; exit 1; }

format: setup ## put the code in order
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup ## write the generated pages again
	$(BIN)/python -m pipelines.reference > docs/cli.md
	$(BIN)/python -m pipelines.contract

notebooks: setup ## run docs/notebooks on FORESHOCK_HOME (else the demo's), into its folder notebooks
	@home="$${FORESHOCK_HOME:-.foreshock/demo}"; mkdir -p "$$home/notebooks"; \
	for page in docs/notebooks/*.py; do \
		FORESHOCK_HOME="$$home" $(BIN)/jupytext --quiet --to ipynb --execute --run-path . \
			--output "$$home/notebooks/$$(basename "$$page" .py).ipynb" "$$page" || exit 1; \
	done; \
	$(BIN)/jupyter-nbconvert --log-level WARN --to html "$$home"/notebooks/*.ipynb

constraints: setup ## pin what is installed now, names and versions only
	$(BIN)/uv pip compile --quiet --no-annotate --no-header --group dev pyproject.toml -o constraints.txt

clean: ## remove the environment and caches, keep .foreshock
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
