# Two commands do everything: `make demo` and `make test`. Both set up .venv, quickly the second time.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
TORCH  ?= torch==2.13.0

SOURCES := setup.py CMakeLists.txt pyproject.toml $(wildcard csrc/*.* csrc/*/*.*)
MICRO   := $(patsubst %,benchmarks/%.py,frame_grid gate gather)
CPP     := $(wildcard csrc/*.h csrc/*.cpp csrc/*/*.h csrc/*/*.cpp csrc/*/*.cu)

.PHONY: help setup demo test test-all bench reading proof lint format gpu clean

help:
	@echo "make demo      tokenize a real clip, look at what was kept, print the table"
	@echo "make test      the tests (make test-all: the slow ones too)"
	@echo "make bench     the benchmarks; figures land in benchmarks/results/"
	@echo "make reading   what can still be read from the tokens, against every peer (half an hour)"
	@echo "make proof     every peer, every claim, side by side: docs/RESULTS.md (hours)"
	@echo "make lint      ruff, mypy, clang-format (make format: apply them)"
	@echo "make gpu       the GPU suite, with the system's python3 and torch"

# torch first and by itself: a build-isolated or unpinned install would fetch the CUDA build.
$(VENV)/torch.stamp:
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "$(TORCH)" "setuptools>=77" wheel "pybind11>=3.0" "cmake>=3.25"
	touch $@

$(VENV)/built.stamp: $(VENV)/torch.stamp $(SOURCES)
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m pip install --quiet --no-build-isolation -e ".[test,lint]"
	touch $@

setup: $(VENV)/built.stamp

demo: setup
	$(BIN)/python examples/demo.py

test: setup
	$(BIN)/python -m pytest -q

test-all: setup
	$(BIN)/python -m pytest -q -m "slow or not slow"

bench: setup
	$(BIN)/python -m pytest -q $(MICRO) --benchmark-json=benchmarks/results/micro.json
	for name in claims gather residual_attention gated merge memory; do $(BIN)/python benchmarks/$$name.py || exit 1; done
	$(BIN)/python benchmarks/proof/run.py speed scaling
	$(BIN)/python benchmarks/table.py

# What can still be read from the tokens: half an hour, both readers, all methods.
reading: setup
	$(BIN)/python benchmarks/reading/curve.py
	$(BIN)/python benchmarks/policies.py
	$(BIN)/python benchmarks/table.py

# Read-out and time of every peer; what is timed wants a quiet machine.
proof: setup
	$(BIN)/python benchmarks/proof/run.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $(CPP)

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CPP)

# No installs, no network: builds into build/gpu against the torch that is there.
gpu:
	$(PYTHON) .ci/gpu.py

clean:
	rm -rf build $(VENV)/built.stamp python/patchgate/*.so
