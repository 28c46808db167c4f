#!/usr/bin/env bash
# Builds the programs of the sandbox as static executables, which run in any container image, and prints where they are.
# Usage: packaging/build-sandbox.sh [--debug]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

profile=(--release) folder=release
if [ "${1:-}" = --debug ]; then profile=() folder=debug; fi
target="$(uname -m)-unknown-linux-gnu"
directory="${CARGO_TARGET_DIR:-target}"

# Small and without unwinding: the smaller it is the sooner it runs, and a child must never unwind into its parent's work.
export CARGO_PROFILE_RELEASE_PANIC=abort CARGO_PROFILE_RELEASE_LTO=fat CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1

# With an explicit target the flags are not for build scripts and macros, which cannot be static.
RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static -C relocation-model=pie" \
    cargo build --quiet --locked -p assistant-sandbox --bins "${profile[@]}" --target "$target" >&2

program="$directory/$target/$folder/assistant-sandbox"
# A program that asks for an interpreter is not static.
if grep -q 'ld-linux' <(head -c 4096 "$program" | tr '\0' '\n'); then
    echo "build-sandbox: $program is not static" >&2
    exit 1
fi
echo "$program"
