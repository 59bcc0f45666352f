#!/usr/bin/env bash
# The chat page in a real Chromium against an edge with a tiny model.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/npm.sh
command -v "${CHROMIUM:-chromium}" >/dev/null || { echo "skipped: chromium is not installed"; exit 77; }
npm_packages tests/chat_page
. tests/lib/edge.sh
edge_start --slow
node --test --test-timeout=60000 tests/chat_page/page.test.js
