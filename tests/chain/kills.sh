#!/usr/bin/env bash
# The alliance with training, worker, cloud and four routers killed in turn: no step lost, no stream broken.
exec "$(dirname "$0")/../integration/chain_alliance.py" kills
