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

# One thread a process: two that share a busy machine wait for each other, and take several times as long as one.
run: export OMP_NUM_THREADS ?= 1
run: $(SETUP)  ## Figure 2 by descent and flow, the claims of the paper, a real network trained on real images (< 5 minutes)
	@$(BIN)/layerpeel run runs/figure-2.toml --out out/figure-2 --resume
	@$(BIN)/layerpeel claims
	@$(BIN)/layerpeel run images --out out/images --resume
	@if $(BIN)/python -c 'import torch' 2>/dev/null; then \
		$(BIN)/layerpeel run runs/network.toml --out out/network --resume; \
	else echo "PyTorch is not here: no network is trained."; fi
	@echo && echo "Figure 2, the model:       out/figure-2/figures/collapse.png"
	@[ ! -d out/network ] || echo "Figure 3, a real network: out/network/figures/collapse.png"
	@echo "beside them:" && ls out/*/figures/*.png | grep -v collapse.png

test: export OMP_NUM_THREADS ?= 1
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
