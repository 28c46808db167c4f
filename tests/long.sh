#!/usr/bin/env bash
# The long form of some tests. Of the sandbox: who swaps links under running commands does so for 30 seconds, and, as root,
# containers run in an image that is built anew. Of the package, as root: 10,000 requests during 100 restarts, and what Debian 13
# and piuparts say of it. Of crashes: every named point, and 200 random moments (or as many as the first argument says). Of all packages: whether they compile
# for Debian's other architecture too, and whether two release builds are the same.
# Of mail: messages broken at random, for an hour (ASSISTANT_FUZZ_SECONDS).
# Prints what was killed, repeated and found; ASSISTANT_CRASH_SEED repeats a run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. packaging/prerequisites.sh

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/assistant-target}
export ASSISTANT_CRASH_MOMENTS=${1:-200}
need_debian gcc=build-essential curl=curl
need_rust
ASSISTANT_RACE_SECONDS=30 cargo test --quiet --locked --package assistant-sandbox --test it -- regressions::cve_2021_30465
ASSISTANT_FUZZ_SECONDS=${ASSISTANT_FUZZ_SECONDS:-3600} cargo test --quiet --locked --release --package assistant-mail --test reader -- --nocapture mutated::
if [ "$(id -u)" = 0 ]; then
    need_debian dockerd=docker.io mmdebstrap=mmdebstrap
    bash src/sandbox/broker/tests/docker/engine.sh --image new \
        cargo test --quiet --locked --package assistant-broker --features docker --test broker -- docker::
    ASSISTANT_RESTARTS=100 bash tests/systemd/run.sh requests_wait_during_restarts
    bash tests/releases.sh "$CARGO_TARGET_DIR"/deb/assistant_[0-9]*.deb "$CARGO_TARGET_DIR"/deb/assistant-docker_[0-9]*.deb
fi
cargo test --quiet --locked --package assistantd --test it -- --nocapture --test-threads=1 crash::
# tests/run.sh does so with the runner alone, which needs no compiler for C.
if [ "$(uname -m)" = x86_64 ]; then
    need_debian aarch64-linux-gnu-g++=crossbuild-essential-arm64
    rustup target add aarch64-unknown-linux-gnu
    cargo check --quiet --locked --workspace --all-targets --target aarch64-unknown-linux-gnu
    cargo check --quiet --locked -p assistant-broker --features docker --all-targets --target aarch64-unknown-linux-gnu
fi
bash tests/reproducible.sh
