# make run: the embedded default, start to finish.   make test: everything that is checked.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
export PATH := $(BIN):$(PATH)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-warn-script-location
PINS := pyproject.toml envs/constraints.txt

.PHONY: run test faults profile bench gpu skullfix demonstration generated lock clean help

help:
	@echo "make run       set up and run config/config.yaml; ARGS=... goes to snakemake"
	@echo "make test      set up and run all tests; ARGS=... goes to pytest"
	@echo "make faults    disturb runs on purpose for half an hour and write docs/faults.md; ARGS=... (--minutes, --seed)"
	@echo "make bench     benchmarks against named peers: docs/results/benchmarks.md; twelve minutes"
	@echo "make gpu       what a GPU is worth: tests, rays, networks at paper size; eight minutes"
	@echo "make skullfix DATA=folder   implants of a folder of triples: fit, test, defects elsewhere, folds"
	@echo "make demonstration  a model of drawn skulls, and the implant of one; a minute"
	@echo "make profile   link profiles/slurm, so that 'snakemake --profile slurm' works"
	@echo "make generated write schemas, reference, environments from the code"
	@echo "make lock      pin every installed package anew in envs/constraints.txt"

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo "Python 3.11, 3.12 or 3.13 is needed, and $(PYTHON) is $$($(PYTHON) -V 2>&1); set PYTHON=/path/to/python3.13"; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
	  || { echo "no virtual environment could be made; on Debian and Ubuntu: apt install python3-venv"; exit 1; }

$(VENV)/.run: $(VENV)/bin/python $(PINS)
	@echo "installing pinned packages into $(VENV) ..."
	@$(PIP) -c envs/constraints.txt -e '.[train]'
	@touch $@

$(VENV)/.test: $(VENV)/.run
	@echo "installing what the tests need ..."
	@$(PIP) -c envs/constraints.txt -e '.[test,train]'
	@touch $@

# the checker of RO-Crate wants an older rich than we do: a folder of its own; without it its test says so and is left out
$(VENV)/checker: $(VENV)/.run
	@$(PIP) --target $@.part roc-validator==0.13.0 rocrate==0.16.0 2> /dev/null && mv $@.part $@ \
	  || echo "the checker of RO-Crate could not be installed: its test is left out"

run: $(VENV)/.run
	@snakemake --profile profiles/local $(ARGS)
	@test ! -f results/report.html || echo "report: $(CURDIR)/results/report.html"

test: $(VENV)/.test
	@$(MAKE) --no-print-directory $(VENV)/checker
	@python -m pytest -n 3 --dist loadgroup --no-loadscope-reorder $(ARGS)

faults: $(VENV)/.test
	@python -m tests.faults $(ARGS)

# VTK and MedPy are compared with, and nothing else: a folder of their own; without a network they are rows without figures
$(VENV)/peers: $(VENV)/.test
	@for name in vtk==9.7.2 medpy==0.5.2; do \
	   $(PIP) --no-deps --target $@ $$name || echo "$$name could not be installed: left out"; done

bench: $(VENV)/.test
	@$(MAKE) --no-print-directory $(VENV)/peers
	@python -m benchmarks.compare $(ARGS)

gpu: $(VENV)/.test
	@PYTHON=$(BIN)/python bash benchmarks/gpu.sh $(ARGS)

skullfix: $(VENV)/.run
	@test -n "$(DATA)" || { echo "name the folder of triples: make skullfix DATA=/path/to/folder TESTED=032-039"; exit 1; }
	@$(BIN)/volforge implant trial "$(DATA)" results/skullfix $(foreach t,$(or $(TESTED),032-039),--tested $(t))
	@$(BIN)/snakemake --profile profiles/local --configfile config/examples/skullfix.yaml $(ARGS)

demonstration: $(VENV)/.run
	@volforge cohort phantoms --sheet config/cohorts/skull.tsv --kind skull --out results/demonstration/skulls --spacing-mm 2
	@volforge implant fit config/cohorts/skull.tsv results/demonstration/model --root results/demonstration/skulls \
	  --licence "CC0-1.0, drawn skulls"
	@volforge implant predict results/demonstration/skulls/skull-01_defective.nii.gz results/demonstration/skull-01 \
	  --model results/demonstration/model

generated: $(VENV)/.run
	@python -m volforge.generate

lock:
	@rm -rf $(VENV)/lock && $(PYTHON) -m venv $(VENV)/lock
	@$(VENV)/lock/bin/python -m pip install --quiet '.[test,train]'
	@{ echo "# Every package of a working environment; made by 'make lock' from the pins of pyproject.toml."; \
	   $(VENV)/lock/bin/python -m pip freeze --exclude volforge --exclude setuptools; } > envs/constraints.txt
	@rm -rf $(VENV)/lock

profile:
	@folder="$${XDG_CONFIG_HOME:-$$HOME/.config}/snakemake"; mkdir -p "$$folder"; \
	if [ -e "$$folder/slurm" ] && [ ! -L "$$folder/slurm" ]; then \
	  echo "$$folder/slurm exists and is not a link; it is left as it is"; exit 1; fi; \
	ln -sfn "$(CURDIR)/profiles/slurm" "$$folder/slurm" && echo "linked $$folder/slurm; use: snakemake --profile slurm"

clean:
	rm -rf results logs benchmarks/jobs .snakemake
