#!/usr/bin/env bash
# The alliance with a build that leaks on purpose: chain_alliance.py's second part, by itself because it needs that build.
exec "$(dirname "$0")/chain_alliance.py" leaky
