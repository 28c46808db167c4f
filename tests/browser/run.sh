#!/usr/bin/env bash
# Drives the dashboard in Debian's Chromium, against a real daemon with a scripted model. Leaves screenshots of every page
# in the directory that BROWSER_OUT names, else in the target directory.
#   tests/browser/run.sh [NAME...]    only the checks whose names contain one of these
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. packaging/prerequisites.sh

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/assistant-target}
need_debian chromium=chromium node=nodejs npm=npm sqlite3=sqlite3 ip=iproute2

DASHBOARD_FILES=${DASHBOARD_FILES:-$(packaging/build-ui.sh | tail -1)}
cargo build --quiet --locked -p assistantd -p assistantctl -p assistant-sandbox --bins

work=$CARGO_TARGET_DIR/browser-tests
mkdir -p "$work"
cp tests/browser/.npmrc tests/browser/*.json tests/browser/*.mjs "$work"
lock=$(sha256sum tests/browser/package-lock.json)
if [ "$(cat "$work/fetched" 2>/dev/null)" != "$lock" ]; then
    (cd "$work" && npm ci --ignore-scripts --silent) || fail "cannot fetch what drives the browser (npm ci in tests/browser)"
    printf '%s\n' "$lock" >"$work/fetched"
fi

export BROWSER_OUT=${BROWSER_OUT:-$CARGO_TARGET_DIR/browser}
export ASSISTANT_BIN=$CARGO_TARGET_DIR/debug DASHBOARD_FILES
rm -rf "$BROWSER_OUT"
mkdir -p "$BROWSER_OUT"
cd "$work"
status=0
for part in main jobs doors people system workspace crowded looks mail rebinding; do
    timeout 240 node "$part.mjs" "$@" || status=1
done
# Opens a port on every address, so it gets a network with nobody in it.
unshare --map-root-user --net sh -c 'ip link set lo up && exec timeout 240 node exposed.mjs "$@"' exposed "$@" || status=1
exit $status
