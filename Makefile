# Two commands do everything: `make demo` and `make test`. Both set up .venv, quickly the second time.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Processes of one thread each that share the tests.
JOBS   ?= 2
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal

# What `make lock` does not renew: the tested torch, and the Triton whose interpreter is known.
PINNED := torch==2.13.0 triton==3.6.0

SOURCES := setup.py CMakeLists.txt pyproject.toml $(wildcard csrc/*.* csrc/*/*.* csrc/*/*/*.*)
MICRO   := $(patsubst %,benchmarks/%.py,frame_grid gate)
CPP     := $(foreach end,h cpp cu,$(wildcard csrc/*.$(end) csrc/*/*.$(end) csrc/*/*/*.$(end)))

# Where a GPU's facts go, and what a machine with one may be sent.
OUT     ?= build/gpu-facts
MAX_MIB ?= 64
GPU_STAGES := gpu-a gpu-b gpu-c gpu-d gpu-e gpu-bcd

.PHONY: help setup lock demo test test-all bench reading proof pretrained fuzz sanitize wheel docs lint format clean
.PHONY: test-serving lock-serving
.PHONY: gpu $(GPU_STAGES) gpu-rehearse gpu-carry gpu-facts

help:
	@echo "make demo      tokenize a real clip, look at what was kept, print the table"
	@echo "make test      the tests, two at a time (JOBS=8: eight; make test-all: the slow ones too)"
	@echo "make bench     the benchmarks; figures land in benchmarks/results/"
	@echo "make reading   what can still be read from the tokens, against every peer (half an hour)"
	@echo "make proof     every peer, every claim, side by side: docs/RESULTS.md (hours)"
	@echo "make pretrained  what is saved inside a tower of published weights, on real clips (hours)"
	@echo "make fuzz      damaged files and odd command lines, SECONDS=600 long"
	@echo "make sanitize  the CPU's ops under ASan and UBSan, with hostile arguments"
	@echo "make wheel     one wheel for every Python, in dist/"
	@echo "make docs      the documentation site, in build/site"
	@echo "make test-serving  the plugin of vLLM, with vLLM in .venv-vllm (make lock-serving: its versions)"
	@echo "make lock      constraints.txt anew: the exact versions that all of these install"
	@echo ".ci/run help   what CI runs: .ci/run, and the tests with the newest and oldest versions"
	@echo "make lint      ruff, mypy, clang-format (make format: apply them)"
	@echo "make gpu       all that a GPU is wanted for, in stages (gpu-a .. gpu-e), into OUT=folder:"
	@echo "               with the system's python3 and torch; docs/gpu.md"
	@echo "make gpu-rehearse  the same stages without a GPU, in small"
	@echo "make gpu-carry     what must travel to a machine with a GPU; MAX_MIB=64 for a stage"
	@echo "make gpu-facts     OUT's facts into benchmarks/results, and benchmarks/GPU.md anew"

# torch first and by itself: a build-isolated install would fetch another. Its CUDA build brings a
# Triton of its own; versions.py leaves the lock's out then.
$(VENV)/torch.stamp: constraints.txt .ci/build.in .ci/versions.py
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-deps -c constraints.txt torch
	$(BIN)/python .ci/versions.py locked > $(VENV)/constraints.txt
	$(BIN)/python -m pip install --quiet -c $(VENV)/constraints.txt -r .ci/build.in
	touch $@

# The native library first: pip would hide how far its build is.
$(VENV)/built.stamp: $(VENV)/torch.stamp $(SOURCES)
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python setup.py --quiet build_ext --inplace
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m pip install --quiet --no-build-isolation \
		-c $(VENV)/constraints.txt -e ".[test,lint]"
	touch $@

# With the oldest supported Python, that of Debian 12, so that all can have these versions: some
# packages want a later 3.11. torch's local version (+cpu) and the machine's own indexes stay out.
lock:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 11, 3))' || \
		{ echo "make lock: expected Python 3.11.0 to 3.11.2; make lock PYTHON=/usr/bin/python3"; exit 1; }
	test -x .venv-lock/bin/pip-compile || $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet pip-tools==7.6.2
	CUSTOM_COMPILE_COMMAND="make lock" .venv-lock/bin/pip-compile --quiet --upgrade --strip-extras \
		--allow-unsafe --no-emit-options --no-annotate --extra test --extra lint --extra pretrained \
		$(foreach pin,$(PINNED),--upgrade-package $(pin)) \
		--output-file constraints.txt .ci/build.in packaging/build.in packaging/docs.in pyproject.toml
	sed -i.old -E 's/^(torch(vision)?==[0-9.]+)[+].*/\1/' constraints.txt && rm constraints.txt.old

setup: $(VENV)/built.stamp

demo: setup
	$(BIN)/python examples/demo.py

test: setup
	$(PYTEST)

test-all: setup
	$(PYTEST) -m "slow or not slow"

# The plugin of vLLM, in an environment of its own: .ci/parts/serving.sh.
test-serving:
	.ci/run serving

# The versions of .venv-vllm anew: the newest that vLLM allows, torch and vLLM but for their own.
lock-serving:
	bash .ci/serving.sh free
	{ echo "# Written by make lock-serving: what .venv-vllm has."; \
		.venv-vllm/bin/python .ci/serving.py frozen; } > constraints-serving.txt

bench: setup
	$(BIN)/python -m pytest -q $(MICRO) --benchmark-json=benchmarks/results/micro.json
	for name in claims gather residual_attention gated merge; do $(BIN)/python benchmarks/$$name.py || exit 1; done
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

# Goes on where it was interrupted. It says how to fetch the weights, which are not in the repository.
pretrained: setup
	$(BIN)/python -m pip install --quiet -c $(VENV)/constraints.txt onnx
	$(BIN)/python benchmarks/pretrained/run.py
	$(BIN)/python benchmarks/pretrained/vectors.py
	$(BIN)/python benchmarks/table.py

# One wheel, in dist/. It is built of a copy: .venv needs the tools only.
wheel: $(VENV)/torch.stamp
	$(BIN)/python -m pip install --quiet -c $(VENV)/constraints.txt -r packaging/build.in
	PYTHON=$(BIN)/python bash packaging/wheel.sh

# The documentation site, in build/site, with the notebooks run; what mkdocs warns of is an error.
.venv-docs/docs.stamp: constraints.txt packaging/docs.in packaging/docs_environment.sh .ci/serving.py | setup
	PYTHON=$(BIN)/python bash packaging/docs_environment.sh

docs: setup .venv-docs/docs.stamp
	PYTHONPATH="$(CURDIR)/python" .venv-docs/bin/python packaging/notebooks.py
	PYTHONPATH="$(CURDIR)/python" NO_MKDOCS_2_WARNING=1 .venv-docs/bin/python -m mkdocs build --quiet --strict

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $(CPP)

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CPP)

# Damaged files and odd command lines, SECONDS= long; each is a number, and the same every time.
SECONDS ?= 600
fuzz: setup
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz --seconds $(SECONDS)

# The CPU's ops under ASan and UBSan: hostile arguments, and their tests.
sanitize: setup
	$(BIN)/python .ci/sanitize.py

# No installs, no network, and none of this machine's .venv: the torch that is there.
STAGES := benchmarks/stages
gpu:
	$(PYTHON) $(STAGES) run abcde --out $(OUT) $(if $(BUDGET),--budget $(BUDGET))

$(GPU_STAGES):
	$(PYTHON) $(STAGES) run $(@:gpu-%=%) --out $(OUT) $(if $(BUDGET),--budget $(BUDGET))

gpu-rehearse: setup
	$(BIN)/python $(STAGES) run abcde --out $(OUT) --rehearse $(if $(BUDGET),--budget $(BUDGET))

gpu-carry: setup
	$(BIN)/python $(STAGES) carry --max-mib $(MAX_MIB)

gpu-facts: setup
	$(BIN)/python $(STAGES) keep $(OUT)

clean:
	rm -rf build $(VENV)/built.stamp python/patchgate/*.so
