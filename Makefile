# Each target does all of its set-up by itself, once: the environment is made anew only when its inputs change.
PYTHON ?= python3
BIN := .venv/bin
SETUP := .venv/.ready
# Real images are used where they are found; without them scikit-learn's digits stand in.
LAYERPEEL_DATA ?= $(firstword $(wildcard data ../shared/data))
ifneq ($(LAYERPEEL_DATA),)
export LAYERPEEL_DATA
endif

.PHONY: run test bench lint clean help

help:  ## print the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/:\t/'

run: $(SETUP)  ## Figure 2 of the paper for 8 seeds, and collapse measured on real images (< 5 minutes)
	@$(BIN)/layerpeel run runs/figure-2.toml --out out/figure-2 --resume
	@$(BIN)/layerpeel run images --out out/images --resume
	@echo && echo "The figures of both runs:" && ls out/figure-2/figures/*.png out/images/figures/*.png

test: $(SETUP)  ## the test suite
	@$(BIN)/pytest -n auto

bench: $(SETUP)  ## side-by-side benchmarks against peers and limits (minutes)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@$(BIN)/python -m benchmarks

lint: $(SETUP)  ## formatting, lint, types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

clean:  ## remove the environment (results in out/ stay)
	rm -rf .venv

$(SETUP): pyproject.toml constraints.txt scripts/setup.sh
	@PYTHON=$(PYTHON) sh scripts/setup.sh
	@touch $@
