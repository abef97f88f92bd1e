# make demo   installs into .venv and runs the main job on a synthetic shop
# make test   installs the test extra and runs the quick tests
# Running either again installs nothing anew.

VENV := .venv
BIN := $(VENV)/bin
PROTOS := $(wildcard simprod_tf/serving/protos/*.proto)
UV := $(shell command -v uv 2>/dev/null)

.PHONY: demo test test-slow parity lint types clean

demo: $(VENV)/.installed
	$(BIN)/simprod demo --out demo

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m "not slow" -n auto --dist loadscope

test-slow: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m slow

# PyTorch brings gigabytes on most machines, and the other tests do without it.
parity: $(VENV)/.installed-test $(VENV)/.installed-parity
	$(BIN)/python -m pytest tests/model/test_alexnet_parity.py tests/model/test_torch_weights.py

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

clean:
	rm -rf $(VENV) demo

# The first Python that fits; uv can bring one of its own.
$(VENV)/bin/python:
	@for python in python3.11 python3.10 python3.9 python3; do \
	    if $$python -c 'import sys; sys.exit(not (3, 9) <= sys.version_info[:2] <= (3, 11))' 2>/dev/null; then \
	        echo "Making $(VENV) with $$($$python --version)"; \
	        if [ -n "$(UV)" ]; then exec $(UV) venv --quiet --seed --python $$python $(VENV); \
	        else exec $$python -m venv $(VENV); fi; \
	    fi; \
	done; \
	if [ -n "$(UV)" ]; then exec $(UV) venv --quiet --seed --python 3.11 $(VENV); fi; \
	echo "No Python 3.9, 3.10 or 3.11 was found, and TensorFlow 2.15 runs on no other." >&2; \
	echo "Install one (python.org, pyenv, conda), or install uv, which brings its own." >&2; \
	exit 1

ifneq ($(UV),)
INSTALL = $(UV) pip install --quiet --python $(BIN)/python --constraint constraints.txt
else
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
endif

$(VENV)/.installed: setup.cfg setup.py constraints.txt $(PROTOS) | $(VENV)/bin/python
	@echo "Installing the pinned set; TensorFlow alone is 475 MB to download"
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.installed-%: $(VENV)/.installed
	$(INSTALL) --editable ".[$*]"
	@touch $@
