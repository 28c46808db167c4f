#!/usr/bin/env bash
# Builds the packages `assistant` and `assistant-docker` and prints where they are.
# Usage: packaging/build-deb.sh [--debug]    --debug packs unoptimised programs, for tests
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. packaging/prerequisites.sh

profile=dist sandbox=()
case ${1:-} in
    '') ;;
    --debug) profile=dev sandbox=(--debug) ;;
    *) fail "usage: packaging/build-deb.sh [--debug]" ;;
esac
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/assistant-target}
folder=$profile
[ "$profile" != dev ] || folder=debug

{
    need_debian gcc=build-essential python3=python3-minimal dh=debhelper dh_apparmor=dh-apparmor dpkg-buildpackage=dpkg-dev
    need_rust
} >&2

# The same sources give the same bytes, wherever and whenever they are built.
if [ "$profile" = dist ]; then
    for place in "$PWD=/build" "$CARGO_TARGET_DIR=/target" "${CARGO_HOME:-$HOME/.cargo}=/cargo"; do
        RUSTFLAGS="${RUSTFLAGS:-} --remap-path-prefix=$place"
        CFLAGS="${CFLAGS:-} -ffile-prefix-map=$place"
    done
    export RUSTFLAGS CFLAGS
else
    export DEB_COMPRESSION="-Zgzip -z1"
fi
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || dpkg-parsechangelog -STimestamp)
export SOURCE_DATE_EPOCH

# The dashboard is inside the daemon.
[ -n "${DASHBOARD_FILES:-}" ] || DASHBOARD_FILES=$(packaging/build-ui.sh | tail -1)
export DASHBOARD_FILES
cargo build --quiet --locked --profile "$profile" -p assistantd -p assistantctl -p assistant-backup -p assistant-broker -p assistant-mail --bins >&2
cargo build --quiet --locked --profile "$profile" -p assistant-broker --features docker --bin assistant-docker >&2
static=$(dirname "$(packaging/build-sandbox.sh "${sandbox[@]}")")

# Everything is put together outside of the sources, which stay as they are.
work=$CARGO_TARGET_DIR/deb
tree=$work/assistant
rm -rf "$work"
mkdir -p "$tree/bin" "$tree/completions"
cp -r debian config docs systemd packaging CHANGELOG.md LICENSE "$tree"
for program in assistantd assistant-backup assistantctl assistant-egress assistant-docker assistant-mail; do
    install -s -m 755 "$CARGO_TARGET_DIR/$folder/$program" "$tree/bin"
done
install -s -m 755 "$static/assistant-sandbox" "$static/assistant-sandbox-probe" "$tree/bin"
for shell in bash zsh fish; do
    "$tree/bin/assistantctl" completion "$shell" >"$tree/completions/$shell"
done
(cd "$tree/completions" && mv bash assistantctl && mv zsh _assistantctl && mv fish assistantctl.fish)

packaging/notices.py "$tree/debian/copyright" "$tree/sbom.cdx.json" "$(dirname "$DASHBOARD_FILES")/ui-build/node_modules"

(cd "$tree" && dpkg-buildpackage --build=binary --no-sign --no-check-builddeps >"$work/log" 2>&1) || {
    tail -30 "$work/log" >&2
    fail "dpkg-buildpackage failed; all it said is in $work/log"
}
ls "$work"/*.deb
