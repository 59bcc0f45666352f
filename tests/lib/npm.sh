# Sourced. npm_packages DIR: what DIR/package-lock.json names, into DIR/node_modules; done once for each lock file.
# Without npm or without its registry the test that sources this is skipped.
# shellcheck shell=bash
npm_packages() {
  command -v npm >/dev/null || { echo "skipped: npm is not installed"; exit 77; }
  local want have
  want=$(sha256sum "$1/package-lock.json" | cut -d' ' -f1)
  have=$(cat "$1/node_modules/.lock-hash" 2>/dev/null || true)
  [ "$want" = "$have" ] && return 0
  (cd "$1" && timeout 120 npm ci --no-audit --no-fund --ignore-scripts --loglevel=error) ||
    { echo "skipped: npm's registry cannot be reached"; exit 77; }
  echo "$want" >"$1/node_modules/.lock-hash"
}
