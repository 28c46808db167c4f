#!/usr/bin/env bash
# Builds the release binaries and runs the benchmarks, or only the parts that are named: start idle api lists crowd
# jobs commands mail size.
# Takes about four minutes after the build; the machine should have nothing else to do. A warm container is
# measured beside an engine: src/sandbox/broker/tests/docker/engine.sh tests/bench/run.sh commands
set -euo pipefail
case ${1:-} in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && exit ;; esac
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. packaging/prerequisites.sh

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/assistant-target}
need_debian gcc=build-essential curl=curl openssl=openssl /usr/lib/dovecot/imap=dovecot-imapd \
    /usr/lib/dovecot/lmtp=dovecot-lmtpd /usr/sbin/exim4=exim4-daemon-light
need_rust
cargo build --quiet --locked --release --package assistantd --package assistantctl --package assistant-sandbox \
    --package assistant-mail
cargo bench --quiet --locked --package assistantd --bench bench -- "$@"
