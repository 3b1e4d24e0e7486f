# Everything there is to do here, one line each: `make help`. Needs Python 3.11 or later, Java 17 or later, and make; the
# rest is installed below this folder (.tools, .venv, .venv-wheel, build).

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

# The first Python that is new enough; another one: make PYTHON=/path/to/python test
PYTHON ?= $(shell for each in python3 python3.13 python3.12 python3.11 python3.14; do \
	found=$$($$each -c 'import sys; print(sys.executable if sys.version_info >= (3, 11) else "")' 2>/dev/null); \
	[ -n "$$found" ] && echo "$$found" && break; done)
UV ?= $(shell command -v uv 2>/dev/null || echo $(CURDIR)/.tools/uv/bin/uv)
SOURCES := pyproject.toml uv.lock README.md LICENSE $(shell find job -name '*.py' 2>/dev/null)
WHEEL := $(CURDIR)/.venv-wheel/bin
ARGS ?=
TESTS ?= tests
# Processes that share the tests of `make test` among them: much of a Spark test is waiting. JOBS=0: all in one.
JOBS ?= 2

# Of `make chaos-ci`, seconds in all: each commit plays others, and a commit that failed plays the same again.
CHAOS_BUDGET ?= 720
chaos-ci: export CHAOS_BUDGET := $(CHAOS_BUDGET)
chaos-ci: export CHAOS_SEED := $(or $(CHAOS_SEED),$(shell printf %d 0x$$(git rev-parse --short=7 HEAD 2>/dev/null || date +%d%H%M)))

export UV_PYTHON_DOWNLOADS := never
export UV_NO_PROGRESS := 1
# Else each process compiles what it imports again where PYTHONDONTWRITEBYTECODE is set, as in many images: 4 s instead of 1.
export UV_COMPILE_BYTECODE := 1

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo '  ARGS="-k name" is handed on to pytest or the benchmark; TESTS=tests/unit/plan/test_plan.py runs these alone; JOBS=0: in one process'

# -- set-up

.PHONY: setup
setup: .venv/.ready ## the environment for development in .venv, the package editable

.PHONY: python java
python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "manyfit needs Python 3.11 or later, and found $$(python3 --version 2>&1 || echo none); install one, or name it: make PYTHON=/path/to/python3.12" >&2; \
		exit 3; fi

java:
	@java="$${JAVA_HOME:+$$JAVA_HOME/bin/}java"; \
	version=$$("$$java" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -1 || true); \
	if [ "$${version:-0}" -lt 17 ]; then \
		echo "manyfit needs Java 17 or later for Spark, and found $${version:-none} ($$java); install a JRE (on Debian: openjdk-17-jre-headless), or set JAVA_HOME" >&2; \
		exit 3; fi

# uv, if the user has none: into a folder of its own, so that nothing of the user's is changed.
$(CURDIR)/.tools/uv/bin/uv: | python
	@echo "installing uv into .tools/uv"
	@"$(PYTHON)" -m venv .tools/uv >/dev/null 2>&1 \
		|| { rm -rf .tools/uv; "$(PYTHON)" -m pip --version >/dev/null 2>&1 && "$(PYTHON)" -m pip install --quiet --target .tools/uv uv; } \
		|| { echo "Python has neither venv nor pip: install them (on Debian: python3-venv), or uv (https://docs.astral.sh/uv)" >&2; exit 3; }
	@if [ -x .tools/uv/bin/python ]; then .tools/uv/bin/python -m pip install --quiet uv; fi

.venv/.ready: pyproject.toml uv.lock | python $(UV)
	$(UV) sync --frozen --quiet --python "$(PYTHON)"
	@touch $@

.venv-wheel/.ready: $(SOURCES) | python $(UV)
	@rm -rf dist
	$(UV) build --quiet --wheel --python "$(PYTHON)" --out-dir dist
	UV_PROJECT_ENVIRONMENT=.venv-wheel $(UV) sync --frozen --quiet --no-install-project --python "$(PYTHON)"
	$(UV) pip install --quiet --python .venv-wheel --no-deps --reinstall dist/manyfit-*.whl
	@touch $@

# -- the job

.PHONY: demo
demo: java .venv/.ready ## the main job, end to end, on this machine: two data sets, two models
	@.venv/bin/manyfit demo

# -- checks

.PHONY: browser
browser: ## Chromium, in which a test opens the page about a run (installs it on Debian and Ubuntu)
	@for each in chromium chromium-browser google-chrome google-chrome-stable; do \
		command -v $$each >/dev/null && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -q -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q -q --no-install-recommends chromium >/dev/null; \
	else echo "a test opens a page in Chromium: install chromium or google-chrome" >&2; exit 3; fi

# From a folder without our sources, so that `job` is the installed wheel: in the tests and in Spark's workers alike.
# Bytecode is kept: else each process of pytest compiles all tests anew, 9 s of CPU.
PYTEST = mkdir -p build/cwd && cd build/cwd && env -u PYTHONPATH -u SPARK_HOME -u PYTHONDONTWRITEBYTECODE TESTED_WHEEL=1 \
	$(WHEEL)/python -P -m pytest -c $(CURDIR)/pyproject.toml --rootdir $(CURDIR)

# The same on the package as it is being developed.
DEVELOPED = env -u PYTHONDONTWRITEBYTECODE .venv/bin/python -m pytest

.PHONY: test
test: java .venv-wheel/.ready ## all tests that need neither a cluster nor helm, on the built wheel
	@$(PYTEST) $(addprefix $(CURDIR)/,$(TESTS)) -m "not chaos and not chart and not e2e and not bench and not mlflow" \
		-n $(JOBS) --dist loadscope $(ARGS)

# Beside the newest Spark, which all other targets use: same lock, same wheel, the other group (docs/decisions/0009-two-sparks.md).
.venv-spark-oldest/.ready: .venv-wheel/.ready
	UV_PROJECT_ENVIRONMENT=.venv-spark-oldest $(UV) sync --frozen --quiet --no-install-project --group spark-oldest --python "$(PYTHON)"
	$(UV) pip install --quiet --python .venv-spark-oldest --no-deps --reinstall dist/manyfit-*.whl
	@touch $@

.PHONY: test-spark-oldest
test-spark-oldest: WHEEL := $(CURDIR)/.venv-spark-oldest/bin
test-spark-oldest: java .venv-spark-oldest/.ready ## the tests of Spark once more, on the oldest line that is supported
	@export TESTED_SPARK=oldest && $(PYTEST) $(CURDIR)/tests/spark $(ARGS)

.PHONY: tools
tools: .venv/.ready ## helm and promtool for `make chart`, built by Go from pinned modules and kept in a cache (E2E_CACHE)
	@command -v go >/dev/null || { echo "building them needs Go; or install helm and promtool, or name them: HELM=/path/to/helm PROMTOOL=…" >&2; exit 3; }
	@.venv/bin/python tests/e2e/cluster/tools.py --dir helm promtool

build/airflow/.ready: examples/airflow/requirements.txt | python $(UV)
	@rm -rf build/airflow && $(UV) venv --quiet --python "$(PYTHON)" build/airflow
	@$(UV) pip install --quiet --python build/airflow -r examples/airflow/requirements.txt
	@touch $@

.PHONY: airflow
airflow: build/airflow/.ready .venv/.ready ## Airflow in an environment of its own reads the example's DAG (needs helm); make ARGS=--write anew
	@$(if $(filter --write,$(ARGS)),.venv/bin/python examples/airflow/render.py,$(DEVELOPED) $(CURDIR)/tests/chart/test_airflow.py $(ARGS))

.PHONY: chart
chart: .venv/.ready build/airflow/.ready ## the chart: rendered objects, schema, security, alerts (needs helm and promtool, see tools)
	@$(DEVELOPED) $(CURDIR)/tests/chart $(ARGS)

build/mlflow/.ready: pyproject.toml uv.lock | python $(UV)
	@mkdir -p build
	UV_PROJECT_ENVIRONMENT=build/mlflow $(UV) sync --frozen --quiet --no-default-groups --group mlflow --python "$(PYTHON)"
	@touch $@

.PHONY: mlflow
mlflow: java build/mlflow/.ready ## a published set in MLflow's registry: its own server, its own ways of loading, in an environment of its own
	@build/mlflow/bin/python -m pytest $(CURDIR)/tests/mlflow $(ARGS)

.PHONY: chaos
chaos: java .venv-wheel/.ready ## all of the fault tests: every cell, thousands of schedules (CHAOS_SEED=n replays)
	@$(PYTEST) $(CURDIR)/tests/chaos $(CURDIR)/tests/unit/engine/test_contract.py $(ARGS)

.PHONY: chaos-ci
chaos-ci: .venv-wheel/.ready ## 2,000 schedules and some cells, others for each commit, in CHAOS_BUDGET seconds (720); CHAOS_SEED=n replays
	@$(PYTEST) $(CURDIR)/tests/chaos/test_rotation.py -s $(ARGS)

# --capture=sys: what the cluster's programs print as they build and start is seen at once, and so are the jobs' states.
.PHONY: e2e
e2e: .venv/.ready ## the chart on a cluster: that of KUBECONFIG, or one of our own (root on Linux, and Go)
	@$(DEVELOPED) $(CURDIR)/tests/e2e --capture=sys $(ARGS)

.PHONY: e2e-full
e2e-full: e2e ## the same against MinIO, too, on a cluster of our own
	@env -u KUBECONFIG E2E_S3=minio $(DEVELOPED) $(CURDIR)/tests/e2e --capture=sys $(ARGS)

.PHONY: mutants
mutants: .venv/.ready ## small faults in the core, one at a time: which does no test notice? SEED=1 COUNT=100 (docs/explanation/mutants.md)
	.venv/bin/python -m tests.mutants.mutate --seed $(or $(SEED),1) --count $(or $(COUNT),100) $(ARGS)

.PHONY: cluster-up cluster-down image
cluster-up: ## a bare cluster of our own to play with: prints its KUBECONFIG (root on Linux, and Go)
	@python3 tests/e2e/cluster/up.py

cluster-down: ## end it
	@python3 tests/e2e/cluster/down.py --reset

image: ## the image: docker, podman or buildah if there is one, tagged manyfit:VERSION
	@tool=$$(command -v docker || command -v podman || command -v buildah) || { echo "building an image needs docker, podman or buildah" >&2; exit 3; }; \
	version=$$(sed -n 's/^__version__ = "\(.*\)"/\1/p' job/__init__.py); \
	$$tool build -f docker/Dockerfile --build-arg VERSION=$$version --build-arg REVISION=$$(git describe --always --dirty 2>/dev/null || echo unknown) \
		-t manyfit:$$version . $(ARGS)

.PHONY: bench
bench: java .venv/.ready ## models per second, side by side with everybody else, on one S3 server
	@.venv/bin/python -m benchmarks.table $(ARGS)

# Measured: 1.2 to 1.4 times (docs/explanation/benchmarks.md).
GUARD := 1.6

.PHONY: bench-table
bench-table: java .venv/.ready ## one table with key columns, side by side with everybody else, on the same files
	@.venv/bin/python -m benchmarks.one_table $(ARGS)

.PHONY: bench-score
bench-score: java .venv/.ready build/mlflow/.ready ## scoring a fleet, side by side with everybody else, on the same models and rows
	@.venv/bin/python -m benchmarks.score_fleet $(ARGS)

.PHONY: bench-guard
bench-guard: java .venv/.ready ## fail if a run costs more than 1.6 times the CPU time of the bare fits, measured beside it
	@timeout 1800 .venv/bin/python -m benchmarks.table --only manyfit-short --rounds 5 --guard $(GUARD) $(ARGS)

.PHONY: bench-small
bench-small: java .venv/.ready ## each program of benchmarks/ once, small: that it runs, not how fast
	@$(DEVELOPED) $(CURDIR)/tests/benchmarks $(ARGS)

.PHONY: bench-scale
bench-scale: java .venv/.ready ## planning, memory, skew, cores, start: one question each
	@.venv/bin/python -m benchmarks.scale $(ARGS)

.PHONY: lint
lint: .venv/.ready ## ruff: rules and format
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .

.PHONY: format
format: .venv/.ready ## ruff: apply the format and the safe fixes
	@.venv/bin/ruff check --fix --quiet . || true
	@.venv/bin/ruff format --quiet .

.PHONY: types
types: .venv/.ready ## mypy --strict on the package
	@.venv/bin/mypy

.PHONY: docs
docs: .venv/.ready ## what is generated from the program: pages of docs/reference, diagrams, the chart's schema and manifests (needs helm)
	@.venv/bin/python docs/make/reference.py
	@.venv/bin/python docs/make/diagrams.py
	@.venv/bin/python deploy/helm/generate.py

# In an environment of its own: the tools of the site, and nothing of the job (its source is read as text).
.venv-site/.ready: pyproject.toml uv.lock | python $(UV)
	UV_PROJECT_ENVIRONMENT=.venv-site $(UV) sync --frozen --quiet --only-group site --python "$(PYTHON)"
	@touch $@

.PHONY: site
site: .venv-site/.ready ## the documents as a site in build/site; a broken link or an undocumented public name fails
	@NO_MKDOCS_2_WARNING=1 .venv-site/bin/mkdocs build --strict
	@.venv-site/bin/python docs/make/public_names.py build/site && echo "open build/site/index.html"

.PHONY: clean
clean: ## remove what was built, the environments too
	rm -rf build dist .venv-wheel .venv-spark-oldest .venv-site .venv .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis spark-warehouse derby.log metastore_db
