# Two commands for a fresh machine: `make run` and `make test`.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
FILE   ?= workflows/feal.yaml
DIR    ?= runs/$(basename $(notdir $(FILE)))
TEST_JOBS ?= 2

SOURCES := pyproject.toml CMakeLists.txt $(shell find src -name '*.cpp' -o -name '*.hpp' -o -name '*.h')

.PHONY: help install engines flare slurm nfs run docs serve-docs test test-slow test-random test-fuzz test-deepmd test-nequip test-chgnet test-flare test-remote test-nx test-mongodb test-all reference-data lint benchmarks hooks dist clean
help:
	@echo "make run        install everything, run $(FILE) into $(DIR), name the report and the potential"
	@echo "make test       install everything, check the code, run the default tests (under 12 minutes on 2 cores)"
	@echo "make test-slow  the slow tests: 50 rounds of kill -9, the longer ABINIT runs, tutorials, the site"
	@echo "make test-random  the property tests with other examples than the default run, which always tries the same"
	@echo "make test-fuzz  21600 damaged inputs, others every day of the year"
	@echo "make test-deepmd  install deepmd-kit and PyTorch (0.9 GB) too, run the tests that train with them"
	@echo "make test-nequip  install nequip and PyTorch (0.9 GB) too, run the tests that train with them"
	@echo "make test-chgnet  install chgnet and PyTorch (0.9 GB) too, run the tests that tune it"
	@echo "make flare      build the C++ core of mir-flare (three CPU minutes) and install it, for the family flare"
	@echo "make test-flare the same, and the tests that run it"
	@echo "make test-remote  jobflow-remote in an environment of its own (it needs an older pymongo), a campaign through it"
	@echo "make test-nx  nx-27017, a server of others that speaks as MongoDB does, in an environment of its own; the stores on it"
	@echo "make test-mongodb  a real MongoDB in a container (replica set, users, TLS); the stores on it"
	@echo "make reference-data  fetch the numbers of other projects that some tests are held against (10 MB)"
	@echo "make lint       ruff, mypy, import-linter"
	@echo "make docs       the documentation as a site, in build/site; a broken link is an error"
	@echo "make serve-docs the same, and served at http://127.0.0.1:8000"
	@echo "make dist       sdist and wheel of this machine in dist/, looked over by twine and check-wheel-contents"
	@echo "make hooks      have git run these before each commit"
	@echo "make benchmarks figures, each beside a peer measured in the same run"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "magflow needs Python 3.11 or newer; seen: $$($(PYTHON) --version). Set PYTHON=..."; exit 3; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.installed: $(BIN)/python $(SOURCES)
	@command -v c++ >/dev/null || { echo "a C++ compiler is needed: apt-get install g++"; exit 3; }
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.installed-test: $(BIN)/python $(SOURCES)
	@command -v c++ >/dev/null || { echo "a C++ compiler is needed: apt-get install g++"; exit 3; }
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $(VENV)/.installed $@

$(VENV)/.installed-deepmd: $(VENV)/.installed-test
	$(BIN)/python -m pip install --quiet --editable '.[deepmd]'
	@touch $@

$(VENV)/.installed-nequip: $(VENV)/.installed-test
	$(BIN)/python -m pip install --quiet --editable '.[nequip]'
	@touch $@

$(VENV)/.installed-chgnet: $(VENV)/.installed-test
	$(BIN)/python -m pip install --quiet --editable '.[chgnet]'
	@touch $@

FLARE := $(wildcard scripts/flare/*)
$(VENV)/.installed-flare: $(VENV)/.installed $(FLARE)
	rm -rf build/flare
	sh scripts/flare/build.sh $(BIN)/python build/flare
	$(BIN)/python -m pip install --quiet --no-deps --force-reinstall build/flare/*.whl
	@touch $@

install: $(VENV)/.installed

flare: $(VENV)/.installed-flare

engines:
	@bash scripts/install_engines.sh

slurm:
	@sh scripts/install_slurm.sh

nfs:
	@sh scripts/install_nfs.sh

run: $(VENV)/.installed engines
	$(BIN)/magflow run $(FILE) --dir $(DIR)

# files in the order of their names: the long ones (docs, flows) come first, and no worker is left with one at the end
test: $(VENV)/.installed-test engines slurm lint
	$(BIN)/python -m pytest --numprocesses $(TEST_JOBS) --dist loadfile --no-loadscope-reorder

test-slow: $(VENV)/.installed-test $(VENV)/.installed-docs engines slurm nfs
	$(BIN)/python -m pytest -m slow --timeout 3600

test-random: $(VENV)/.installed-test
	$(BIN)/python -m pytest --hypothesis-profile random $$(grep -rl hypothesis tests --include='test_*.py')

test-fuzz: $(VENV)/.installed-test
	MAGFLOW_TEST_SEED=$${MAGFLOW_TEST_SEED:-$$(date +%-j)} $(BIN)/python -m pytest -n0 -m slow -rP --timeout 7200 tests/flows/test_fuzzed_inputs.py

test-deepmd: $(VENV)/.installed-deepmd
	$(BIN)/python -m pytest -m deepmd --timeout 3600

test-nequip: $(VENV)/.installed-nequip
	$(BIN)/python -m pytest -m nequip --timeout 3600

test-chgnet: $(VENV)/.installed-chgnet
	$(BIN)/python -m pytest -m chgnet --timeout 3600

test-flare: $(VENV)/.installed-test $(VENV)/.installed-flare
	$(BIN)/python -m pytest -m flare --timeout 3600

# pip cannot go back and forth between two pymongo, so jobflow-remote has its own environment
test-remote:
	$(MAKE) VENV=$(VENV)-remote $(VENV)-remote/.installed-test
	$(VENV)-remote/bin/python -m pip install --quiet --editable '.[remote]'
	$(VENV)-remote/bin/python -m pytest -m slow tests/flows/test_remote_campaign.py --timeout 3600

test-nx: $(VENV)/.installed-test
	$(PYTHON) -m venv $(VENV)-nx
	$(VENV)-nx/bin/python -m pip install --quiet nx-27017
	MAGFLOW_TEST_NX=$(VENV)-nx/bin/nx-27017 $(BIN)/python -m pytest -n0 -k nx tests/unit/stores tests/unit/doubles

# the certificate is made anew each time, for localhost alone
test-mongodb: $(VENV)/.installed-test
	sh scripts/mongodb/certificate.sh
	docker compose -f scripts/mongodb/compose.yaml up --wait --wait-timeout 120
	MAGFLOW_TEST_MONGO_URI="$$(cat scripts/mongodb/uri)" $(BIN)/python -m pytest -n0 -k mongodb tests/unit/stores tests/unit/doubles; \
	  code=$$?; docker compose -f scripts/mongodb/compose.yaml down --volumes; exit $$code

test-all: test test-slow test-random test-deepmd test-nequip test-flare test-remote

reference-data: $(VENV)/.installed-test
	@$(BIN)/python scripts/reference_data.py

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

hooks: $(VENV)/.installed-test
	$(BIN)/python -m pip install --quiet 'pre-commit>=4.2'
	$(BIN)/pre-commit install

$(VENV)/.installed-docs: $(BIN)/python $(SOURCES)
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	@touch $@

docs: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --builder html --doctree-dir build/doctrees docs build/site
	@echo "build/site/index.html"

serve-docs: docs
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory build/site 8000

$(VENV)/.installed-benchmarks: $(VENV)/.installed-test
	$(BIN)/python -m pip install --quiet --editable '.[benchmarks]'
	@touch $@

benchmarks: $(VENV)/.installed-benchmarks engines slurm
	@for f in benchmarks/*.py; do echo "== $$f"; $(BIN)/python $$f || exit 1; done

dist: $(VENV)/.installed-test
	$(BIN)/python -m pip install --quiet 'check-wheel-contents>=0.6' 'twine>=6'
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
