#!/usr/bin/env bash
# Builds the release packages twice, from copies of what is committed in different directories, and holds them to their
# promises: the same bytes, at most 15 MB, nothing that lintian calls an error or a warning. Takes as long as two release builds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. packaging/prerequisites.sh
need_debian lintian=lintian git=git

largest=15000000
scratch=$(mktemp -d "${TMPDIR:-/var/tmp}/assistant-packages.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

# build PLACE NAME: the packages, from a copy at PLACE.
build() {
    git clone --quiet . "$scratch/$1"
    CARGO_TARGET_DIR=$scratch/$1-built "$scratch/$1/packaging/build-deb.sh" >/dev/null
    mkdir "$scratch/$2"
    mv "$scratch/$1-built"/deb/*.deb "$scratch/$2"
    rm -rf "${scratch:?}/$1" "$scratch/$1-built"
}
build one first
build elsewhere/and/deeper second

for package in "$scratch"/first/*.deb; do
    name=${package##*/}
    size=$(stat -c %s "$package")
    say "$name: $size bytes, $(sha256sum <"$package" | cut -c 1-16)"
    [ "$size" -le "$largest" ] || fail "$name has $size bytes, and is to have at most $largest"
    cmp "$package" "$scratch/second/$name" || {
        for side in first second; do dpkg-deb --raw-extract "$scratch/$side/$name" "$scratch/$side/files"; done
        diff --recursive --brief "$scratch/first/files" "$scratch/second/files" >&2 || true
        fail "two builds of $name differ"
    }
done
lintian --no-cfg --allow-root --fail-on error,warning "$scratch"/first/*.deb
say "two builds are the same"
