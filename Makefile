# The front door. Every target makes sure of its own place first (Debian 13 packages, or the cached Debian 13 root).
#
#   make demo     an alliance of hospitals over this network, beside a plain one, in plain words (KEEP=1 leaves it running)
#   make demo-split  the split runtime alone: one hospital, one cloud, no network of ours
#   make demo-network  routers, lanes and the simulator on this machine
#   make test     everything we check; ends with "N passed, N failed"  (ONLY=pattern runs some of it)
#   make test-chain  the whole chain killed, leaking, in clear: a quarter of an hour more
#   make bench    AREA=split: measurements into build/figures/AREA.json
#   make accept   the acceptance of the network, clause by clause  (QUICK=1, ONLY=L1,F7)
#   make fuzz     TIME=60: seconds for each fuzz target
#   make lint     format, include direction, headers on their own, scripts parse
#   make build    just the programs, into build/main
#   make shell    a shell in the place where all of this happens

IN := tools/root run
.DEFAULT_GOAL := help
.PHONY: help accept build demo demo-split demo-network test test-chain proof bench fuzz lint shell format clean

help:
	@sed -n '3,14p' Makefile | sed 's/^# *//'

build:
	@$(IN) tools/build main

demo:
	@$(IN) tools/demo

demo-split:
	@$(IN) tools/demo-split

demo-network:
	@$(IN) tools/demo-network

test:
	@$(IN) tests/run $(ONLY)

test-chain:
	@$(IN) tests/run chain/

proof:
	@$(IN) bash -c 'tests/proof/protocol; tests/proof/credit'

accept:
	@$(IN) tools/build main
	@$(IN) build/main/src/cli/meridian accept $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))

bench:
	@$(IN) bench/run $(or $(AREA),split)

fuzz:
	@$(IN) fuzz/run $(or $(TIME),60) $(TARGET)

lint:
	@$(IN) tests/run checks/

format:
	@$(IN) tools/format --write

shell:
	@tools/root shell

clean:
	rm -rf build build-*
