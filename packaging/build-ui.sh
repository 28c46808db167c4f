#!/usr/bin/env bash
# Builds the dashboard (src/web/ui) and prints the directory with its files, each compressed. A program that is built with
# DASHBOARD_FILES set to that directory has them inside; a debug build of the same target directory reads them from there.
# Needs Node 18 or later and npm, which Debian has; what npm fetches is pinned by package-lock.json.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. packaging/prerequisites.sh

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/assistant-target}
mkdir -p "$CARGO_TARGET_DIR"
work=$(realpath "$CARGO_TARGET_DIR")/ui-build
out=$(dirname "$work")/ui

# The same sources, built once.
stamp=$(find src/web/ui packaging/build-ui.sh -type f -not -path '*/node_modules/*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum)
if [ "$(cat "$work/stamp" 2>/dev/null)" = "$stamp" ] && [ -e "$out/admin.html.gz" ]; then
    say "$out"
    exit 0
fi

{
    need_debian node=nodejs npm=npm
    mkdir -p "$work"
    rm -rf "$work/stamp" "$work/src" "$work/dist"
    (cd src/web/ui && cp -r .npmrc ./*.json ./*.html ./*.ts src "$work")
    cd "$work"
    lock=$(sha256sum package-lock.json)
    if [ "$(cat fetched 2>/dev/null)" != "$lock" ]; then
        npm ci --ignore-scripts --silent || fail "cannot fetch what the dashboard is built with; npm ci in src/web/ui says why"
        printf '%s\n' "$lock" >fetched
    fi
    npx --no-install tsc --noEmit
    npx --no-install vite build --logLevel warn
} >&2

rm -rf "$out.new"
mkdir "$out.new"
find dist -type f -print0 | while IFS= read -r -d '' file; do
    gzip -9 -n -c "$file" >"$out.new/$(basename "$file").gz"
done
rm -rf "$out"
mv "$out.new" "$out"
printf '%s\n' "$stamp" >"$work/stamp"
say "$out"
