#!/usr/bin/env bash
# `meridian chat` against an edge with a tiny model, over HTTP and over HTTPS with a pinned certificate.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/edge.sh
edge_start --slow ${1:+"$1"}
timeout 120 python3 tests/openai/chat_verb.py
[ -z "${1:-}" ] || exit 0
edge_stop
edge_dir=$(mktemp -d)
"$0" --tls
