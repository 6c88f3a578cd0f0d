# Two commands for everybody: `make book` builds the pages, `make test` runs every check.
# Each makes .venv and installs what it needs; Python (3.10 or newer), make and git are enough.
#
#   REQUIRE=1         what would be skipped because something is absent fails instead
#   LESSONS_DATA=DIR  real pictures for the labs and some tests
#   WORKERS=2         processes that test side by side, one thread each

PYTHON ?= python3
WORKERS ?= 2
BIN := .venv/bin
NOTEBOOKS = $(sort $(wildcard book/*.ipynb book/labs/*.ipynb))
NBVAL = $(BIN)/pytest --nbval --nbval-current-env --nbval-cell-timeout 300 \
	--nbval-sanitize-with tests/book/nbval_sanitize.cfg -n $(WORKERS) --dist loadscope

export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
ifdef REQUIRE
export LESSONS_REQUIRE_ALL := 1
endif
# Absolute, because notebooks run in their own folders.
ifneq ($(LESSONS_DATA),)
override LESSONS_DATA := $(abspath $(LESSONS_DATA))
export LESSONS_DATA
endif

.PHONY: book test lint unit chapters pages test-other-machine notebooks stamp clean
.NOTPARALLEL:

.venv/installed: requirements.txt requirements-alone.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-alone.txt
	touch $@

# Always all pages (--all): an incremental build keeps old assets and forgets earlier warnings.
book: .venv/installed
	$(BIN)/jupyter-book build . --all -W --keep-going --quiet
	$(BIN)/python tools/prune_build.py _build/html
	@echo "Open file://$(CURDIR)/_build/html/index.html"

test: lint unit chapters pages

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tools/*.py

unit: .venv/installed
	$(BIN)/pytest tests --ignore tests/book -n $(WORKERS)

# Runs every notebook and compares what it prints with what is stored.
chapters: .venv/installed
	$(if $(NOTEBOOKS),$(NBVAL) $(NOTEBOOKS),@echo "no notebooks yet")

# The stored notebooks themselves, and the built pages in a browser.
pages: book
	$(BIN)/pytest tests/book -n $(WORKERS)

# The same chapters with other instruction sets: numbers that only hold on one machine fail.
test-other-machine: export ATEN_CPU_CAPABILITY := default
test-other-machine: export ONEDNN_MAX_CPU_ISA := AVX2
test-other-machine: export MKL_CBWR := COMPATIBLE
test-other-machine: NBVAL += --nbval-cell-timeout 900
test-other-machine: chapters

# Executes every notebook and stores it in canonical form.
notebooks: .venv/installed
	$(BIN)/python tools/write_notebooks.py $(NOTEBOOKS)

# Writes the public address from _config.yml into badges and setup cells.
stamp: .venv/installed
	$(BIN)/python tools/stamp.py

clean:
	rm -rf _build build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
