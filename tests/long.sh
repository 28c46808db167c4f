#!/usr/bin/env bash
# The long form of the crash tests: every named point, and 200 random moments (or as many as the first argument says).
# Prints what was killed, repeated and found; ASSISTANT_CRASH_SEED repeats a run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. packaging/prerequisites.sh

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/assistant-target}
export ASSISTANT_CRASH_MOMENTS=${1:-200}
need_debian gcc=build-essential curl=curl
need_rust
cargo test --quiet --locked --package assistantd --test it -- --nocapture --test-threads=1 crash::
