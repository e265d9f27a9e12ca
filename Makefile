# Each target makes what it needs in .venv first. A stamp is written when an installation has
# succeeded, so that one which was interrupted is begun anew, and a finished one is not repeated.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# Not where it is used: a comma divides what a call is given.
DEMO := ".[cli,web]"
SEVERAL := -n 3 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help demo test check soak bench screenshots lock clean

help:
	@echo "make demo   watch the main job run, here and in a browser; no server needed"
	@echo "make test   set up, and run the tests"
	@echo "make check  style, types, and who may import whom"
	@echo "make soak   the tests that take minutes for each store and queue (SOAK_STORE=redis SOAK_QUEUE=RQ: for one)"
	@echo "make bench  measure, beside peers and the raw store"
	@echo "make screenshots  make the pictures in docs/ anew"
	@echo "make lock   choose anew the versions in tests/environments"
	@echo "make clean  remove all that was made"

demo: $(VENV)/.installed
	@$(BIN)/job-progress demo

test: $(VENV)/.installed-dev
	@$(BIN)/python -m tests.web.browser.chromium
	@$(BIN)/python -m tests.servers.rabbitmq
	$(BIN)/coverage erase
	@rm -rf .results
	@# What failed in one environment does not keep the tests of the next from running.
	$(BIN)/coverage run -m pytest $(SEVERAL); main=$$?; $(BIN)/python -m tests.environments $(SEVERAL) && exit $$main
	$(BIN)/python -m tests.queues.results --check
	@# Processes that the tests kill may leave half a file, which is warned about.
	@PYTHONWARNINGS=ignore $(BIN)/coverage combine --quiet
	@PYTHONWARNINGS=ignore $(BIN)/coverage report
	@# Integrations of queues run in workers that the tests kill, so that what is measured of them is chance.
	@PYTHONWARNINGS=ignore $(BIN)/coverage report --omit '*/cli/*,*/queues/*' --fail-under 99 >/dev/null || \
		{ echo "Some branch of the core or the web is not tested; see above."; exit 1; }

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports

soak: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m soak

bench: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks

screenshots: $(VENV)/.installed-dev
	$(BIN)/python docs/screenshots.py
	$(BIN)/python -m docs.screenshots_web

lock: $(VENV)/.installed-dev
	$(BIN)/python -m tests.environments.lock

clean:
	rm -rf $(VENV) $(VENV)-* .results dist htmlcov .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Make $(1) with $(2) in it. uv where there is one, as it is faster; else what every Python brings along.
define install
	@if command -v uv >/dev/null; then \
		uv venv --quiet --clear --python "$(PYTHON)" $(1) && uv pip install --quiet --python $(1)/bin/python $(2); \
	else \
		"$(PYTHON)" -m venv --clear $(1) && \
		$(1)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1" && \
		$(1)/bin/python -m pip install --quiet --disable-pip-version-check $(2); \
	fi
endef

# Beside the environment, for the tests that put it in front: $(1) the package, $(2) the version.
define install_beside
	@if command -v uv >/dev/null; then \
		uv pip install --quiet --no-deps --python $(BIN)/python --target $(VENV)/$(1)-$(2) $(1)==$(2); \
	else \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(VENV)/$(1)-$(2) $(1)==$(2); \
	fi
endef

$(VENV)/.installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, and there is no python3"; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one with: make PYTHON=/path/to/python3 ..."; exit 1; }
	@echo "Setting up in $(VENV) ..."
	$(call install,$(VENV),--editable $(DEMO))
	@touch $@

$(VENV)/.installed-dev: pyproject.toml
	@echo "Setting up for development in $(VENV) ..."
	$(call install,$(VENV),--editable ".[all]" --group dev)
	$(call install_beside,redis,5.0.1)
	@touch $(VENV)/.installed $@

# For the tests that cannot do with $(VENV), which is called main there: tests/environments finds the Python.
$(VENV)-%/.installed: tests/environments/%.txt pyproject.toml
	@echo "Setting up in $(@D) ..."
	$(call install,$(@D),--editable . --requirement $<)
	@touch $@

# No file of this name is ever made, as the newest versions are other ones each time.
$(VENV)-%/.newest:
	$(call install,$(@D),--editable . --group $*)
