#!/usr/bin/env bash
# Builds the programs of the sandbox as static executables, which run in any container image, and prints where they are.
# Usage: packaging/build-sandbox.sh [--debug]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. packaging/prerequisites.sh

profile=(--release) folder=release
if [ "${1:-}" = --debug ]; then profile=() folder=debug; fi
# With musl: glibc asks the processor for its caches whenever a static program starts, each question a trap in a virtual
# machine, which is a twentieth of what the first command of a session takes.
target="$(uname -m)-unknown-linux-musl"
need_rust_target "$target"
directory="${CARGO_TARGET_DIR:-target}"

# Small and without unwinding: the smaller it is the sooner it runs, and a child must never unwind into its parent's work.
export CARGO_PROFILE_RELEASE_PANIC=abort CARGO_PROFILE_RELEASE_LTO=fat CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1

cargo build --quiet --locked -p assistant-sandbox --bins "${profile[@]}" --target "$target" >&2

program="$directory/$target/$folder/assistant-sandbox"
# A program that asks for an interpreter is not static.
if grep -q 'ld-linux\|ld-musl' <(head -c 4096 "$program" | tr '\0' '\n'); then
    echo "build-sandbox: $program is not static" >&2
    exit 1
fi
echo "$program"
