# Everything a stranger calls. Each target does its own set-up, once.
#   make run [ONCE=1] [BROKER=url] [STATE=dir]   both services, sample jobs, their states
#   make test [T=tests.wire]                     set-up, checks and all tests; or a part of the tests
#   make bench [ROWS="lock-step,one job"]        the table of docs/performance.md, or some of its rows
#   make million [JOBS=1000000] [STORE=dir]      a server with a million jobs stored (4 GB, minutes); STORE is kept
#   make docs                                    the site, man pages and shell completion, below build/
#   make check | coverage | debs | venv | clean

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed

.PHONY: run test check docs coverage bench million debs venv clean
.NOTPARALLEL:

# Variables given to make are in the environment of what it calls: ONCE, BROKER and STATE reach lb.run so.
run: venv
	@$(PY) -m lb.run

# Whatever fails first, the tests are run and counted, and their line is the last one.
test: venv
	@set --; \
	$(MAKE) --no-print-directory debs || echo "debs: tests that need them are skipped" >&2; \
	$(if $(T),,$(MAKE) --no-print-directory check || set -- --failed "make check";) \
	$(PY) -m tests.run "$$@" $(T)

check: venv
	@failed=0; \
	$(PY) -m ruff check . || failed=1; \
	$(PY) -m ruff format --check . || failed=1; \
	$(PY) -m mypy || failed=1; \
	$(MAKE) --no-print-directory docs || failed=1; \
	exit $$failed

# Only what has changed is read again. After a warning all is: what was read before it would not be complained of twice.
docs: venv
	@$(PY) -m lb.manual build/share
	@$(PY) -m sphinx -W --keep-going -q -b html -d build/doctrees docs build/docs || { rm -rf build/doctrees; exit 1; }

# Two runs with coverage at once would mix their figures.
coverage: venv
	@$(PY) -m coverage erase
	@$(PY) -m coverage run -m tests.run $(T) && $(PY) -m coverage combine --quiet && $(PY) -m coverage report

bench: venv
	@$(PY) -m bench $(if $(ROWS),"$(ROWS)")

million: venv
	@$(PY) -m bench.million $(if $(JOBS),--jobs $(JOBS)) $(if $(STORE),--store $(STORE)) $(if $(ROWS),--rows "$(ROWS)")

debs:
	@$(PYTHON) -m tests.peers.debs

venv: $(INSTALLED)

# Plain editable installs of a flat layout hide twisted/plugins from twistd; compat mode puts the tree itself on the path.
$(INSTALLED): setup.cfg pyproject.toml $(PY)
	@echo "venv: installing lb and its tools"
	@$(PY) -m pip install --quiet --disable-pip-version-check \
		--config-settings editable_mode=compat --editable '.[dev]'
	@touch $@

# The interpreter is missing from a fresh clone, and after the system's Python went away.
$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "venv: Python 3.11 or later is needed: make PYTHON=python3.11 ...")'
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
		echo "venv: Debian's python3-venv is missing"; \
		[ "$$(id -u)" = 0 ] && apt-get -q update && apt-get -q install --yes --no-install-recommends python3-venv || { \
			echo "venv: install it as root: apt-get install python3-venv" >&2; exit 1; }; }
	@$(PYTHON) -m venv --clear $(VENV)

clean:
	@rm -rf $(VENV) build dist docs/manual *.egg-info .mypy_cache .ruff_cache .hypothesis .coverage* htmlcov _trial_temp* run
	@find . -name __pycache__ -prune -exec rm -rf {} +
	@rm -f twisted/plugins/dropin.cache
