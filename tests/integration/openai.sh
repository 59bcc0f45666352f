#!/usr/bin/env bash
# The official `openai` client against an edge with a tiny model: with keys over HTTP. With MERIDIAN_URL set (and
# MERIDIAN_KEY, MERIDIAN_MODEL) against that edge instead.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/npm.sh
npm_packages tests/openai
if [ -n "${MERIDIAN_URL:-}" ]; then exec node --test --test-timeout=120000 tests/openai/openai.test.js; fi
. tests/lib/edge.sh
edge_start
node --test --test-timeout=120000 tests/openai/openai.test.js
