# Sourced. edge_start [OPTION...]: runs the test edge (tests/openai/server.c) and exports MERIDIAN_URL, MERIDIAN_KEY,
# MERIDIAN_MODEL, MERIDIAN_CONTEXT, MERIDIAN_FINGERPRINT. It ends with the script that sourced this, whatever happens.
# shellcheck shell=bash
edge_dir=$(mktemp -d)
edge_stop() {
  [ -z "${edge_in:-}" ] || exec {edge_in}>&-
  [ -z "${edge_pid:-}" ] || wait "$edge_pid" || edge_rc=$?
  rm -rf "$edge_dir"
  [ "${edge_rc:-0}" = 0 ] || { echo "the test edge ended with status $edge_rc"; return 1; }
}
trap 'rc=$?; edge_stop || rc=1; exit $rc' EXIT
edge_start() {
  local server=${MERIDIAN_TEST_EDGE:-build/main/tests/openai/openai_server} line
  [ -x "$server" ] || { echo "skipped: $server is not built"; exit 77; }
  mkfifo "$edge_dir/in" "$edge_dir/out"
  "$server" "$edge_dir" "$@" <"$edge_dir/in" >"$edge_dir/out" &
  edge_pid=$!
  exec {edge_in}>"$edge_dir/in"
  read -r -t 30 line <"$edge_dir/out" || { echo "the test edge did not start"; exit 1; }
  MERIDIAN_URL=$(jq -r .url <<<"$line")
  MERIDIAN_KEY=$(jq -r .key <<<"$line")
  MERIDIAN_MODEL=$(jq -r .model <<<"$line")
  MERIDIAN_CONTEXT=$(jq -r .context <<<"$line")
  MERIDIAN_FINGERPRINT=$(jq -r .fingerprint <<<"$line")
  export MERIDIAN_URL MERIDIAN_KEY MERIDIAN_MODEL MERIDIAN_CONTEXT MERIDIAN_FINGERPRINT
}
