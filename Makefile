# Every target sets itself up: a fresh clone needs Python 3.11 or later and a package index, nothing else.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
BENCH := .venv/.bench
SCRIPTS := overhead layers structured adapters generate training order memory decompose moves starts

.PHONY: demo test quick check format bench docs course clean

# Under two minutes on two cores: the command's defaults (all families and controls, three seeds), at two budgets and two depths.
demo: $(READY)
	$(BIN)/tnkit compare --budgets 100,300 --depths 1,3 --out out/demo

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal --durations=40 --durations-min=4

quick: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal -m "not slow"

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Every script that is there, on one thread and on two where it takes --threads, then docs/benchmarks.md from what they wrote.
bench: $(BENCH)
	@set -e; for script in $(wildcard $(SCRIPTS:%=benchmarks/%.py)); do for n in 1 2; do \
	    options=; ! grep -q '"--quick"' $$script || options=--quick; \
	    if grep -q '"--threads"' $$script; then options="$$options --threads $$n"; elif [ $$n = 2 ]; then continue; fi; \
	    echo "$$script $$options"; OMP_NUM_THREADS=$$n $(BIN)/python $$script $$options; \
	done; done
	$(BIN)/python benchmarks/docs.py

# docs/paper.md and every rendered block of README.md and docs/, from the results in benchmarks/paper; then the site, without a network.
# The course is run first, where a tutorial has changed: its pages show what it prints and draws.
docs: $(READY) course
	$(BIN)/python benchmarks/paper/tables.py
	$(BIN)/python docs/render.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "the site: $(CURDIR)/site/index.html"

# The tutorials that have changed, run for their outputs.
course: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python docs/hooks/course_run.py

$(READY): pyproject.toml constraints-dev.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints-dev.txt -e '.[dev]'
	touch $(READY)

$(BENCH): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints-dev.txt -e '.[dev,bench]'
	touch $(BENCH)

clean:
	rm -rf .venv out site build dist .pytest_cache .mypy_cache .ruff_cache
