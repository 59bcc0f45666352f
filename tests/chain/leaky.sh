#!/usr/bin/env bash
# The alliance with a build that leaks on purpose: its search must find it, and the run fail.
exec "$(dirname "$0")/../integration/chain_alliance.py" leaky
