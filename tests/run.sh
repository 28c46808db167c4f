#!/usr/bin/env bash
# Installs what the tests need and runs them all; ends with "N passed, N failed, N skipped".
#   tests/run.sh          everything
#   tests/run.sh quick    format, lints and tests, without documentation, scripts and licences
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. packaging/prerequisites.sh

mode=${1:-all}
case $mode in all | quick) ;; *) fail "usage: tests/run.sh [quick]" ;; esac

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/assistant-target}
export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-never} CARGO_INCREMENTAL=${CARGO_INCREMENTAL:-0}
export ASSISTANT_TEST_RUN=$$ # inherited by every process the tests start
passed=0 failed=0 skipped=0
# Tests of assistantd that run commands in containers, for nextest.
container_tests='package(assistantd) & (test(hosts::containers::) | test(/::in_containers$/))'
log=$(mktemp)
# A test that cannot show here what it is for writes a line into this file.
export ASSISTANT_TEST_SKIPS=$log.skips
: >"$ASSISTANT_TEST_SKIPS"
scratch=
trap 'rm -rf "$log" "$log.skips" "$scratch"' EXIT

# What tests write is synced again and again: in memory, where there is room, that costs nothing.
if [ -w /dev/shm ] && [ "$(df --output=avail -k /dev/shm | tail -1)" -gt $((4 << 20)) ]; then
    scratch=$(mktemp -d /dev/shm/assistant-tests.XXXXXX)
    chmod 755 "$scratch"
    export TMPDIR=$scratch
fi

heading() { printf '\n== %s\n' "$*"; }
skip() { skipped=$((skipped + 1)); say "skipped: $*"; }

# part NAME COMMAND...: one check that passes or fails as a whole.
part() {
    local name=$1 start=$SECONDS result
    shift
    heading "$name"
    if "$@" </dev/null; then
        passed=$((passed + 1)) result=passed
    else
        failed=$((failed + 1)) result=FAILED
    fi
    say "-- $name: $result, $((SECONDS - start)) s"
}

# What the tests of mail talk to. They start it themselves, on ports of their own.
mail_servers() {
    local fresh=no
    [ -x /usr/lib/dovecot/imap ] && [ -x /usr/sbin/exim4 ] || fresh=yes
    need_debian /usr/lib/dovecot/imap=dovecot-imapd /usr/lib/dovecot/lmtp=dovecot-lmtpd \
        /usr/sbin/exim4=exim4-daemon-light /usr/sbin/clamd=clamav-daemon pandoc=pandoc pdftotext=poppler-utils \
        weasyprint=weasyprint soffice=libreoffice-writer-nogui \
        /usr/lib/libreoffice/program/libsdlo.so=libreoffice-impress-nogui
    # Their packages start them where a service manager runs; what is needed here are the programs.
    if [ "$fresh" = yes ] && [ -d /run/systemd/system ]; then as_root systemctl disable --quiet --now dovecot exim4 clamav-daemon; fi
}

prepare() {
    local start=$SECONDS
    heading prepare
    need_debian gcc=build-essential make=build-essential git=git curl=curl openssl=openssl shellcheck=shellcheck \
        python3=python3 ip=iproute2
    mail_servers
    need_rust
    need_cargo_tool cargo-nextest 0.9.143
    [ "$mode" = quick ] || need_cargo_tool cargo-deny 0.20.2
    # All parts build the same daemon, with the dashboard inside.
    packaging/build-ui.sh >"$log"
    DASHBOARD_FILES=$(tail -1 "$log")
    export DASHBOARD_FILES
    say "-- prepare: $((SECONDS - start)) s"
}

rust_docs() {
    RUSTDOCFLAGS="-D warnings" cargo doc --quiet --locked --workspace --no-deps --document-private-items
}

scripts() {
    git ls-files -z '*.sh' .ci/run | xargs -0 shellcheck --external-sources --source-path=SCRIPTDIR/..
}

# count WORD: the number before it in nextest's summary.
count() { grep -E '^ *Summary' "$log" | tail -1 | grep -oE "[0-9]+ $1" | grep -oE '[0-9]+' || echo 0; }

tests() {
    local start=$SECONDS status=0 filter='all()'
    heading tests
    # What needs a container engine has one later, where one can be started.
    [ "$(id -u)" != 0 ] || filter="not ($container_tests)"
    cargo nextest run --locked --workspace --no-fail-fast --color never -E "$filter" </dev/null 2>&1 | tee "$log" || status=$?
    passed=$((passed + $(count passed)))
    # What nextest calls skipped is what has a part of its own below.
    local reason
    while read -r reason; do
        passed=$((passed - 1))
        skip "$reason"
    done <"$ASSISTANT_TEST_SKIPS"
    local broken=$(($(count failed) + $(count 'timed out')))
    # A build that fails, or a run without any test, counts as one failure.
    [ "$status" = 0 ] || [ "$broken" -gt 0 ] || broken=1
    failed=$((failed + broken))
    say "-- tests: $broken failed, $((SECONDS - start)) s"
}

# The shipped configurations of nginx and Caddy before a real daemon, and the filter of fail2ban.
proxies() {
    local service fresh=()
    for service in nginx caddy fail2ban; do have "${service/fail2ban/fail2ban-regex}" || fresh+=("$service"); done
    need_debian nginx=nginx-light caddy=caddy fail2ban-regex=fail2ban openssl=openssl curl=curl python3=python3 perl=perl
    # Their packages start them where a service manager runs; what is needed here are the programs.
    if [ ${#fresh[@]} -gt 0 ] && [ -d /run/systemd/system ]; then
        as_root systemctl disable --quiet --now "${fresh[@]}"
    fi
    cargo build --quiet --locked --bin assistantd &&
        bash tests/proxy/run.sh "${CARGO_TARGET_DIR:-target}/debug/assistantd"
}

# Containers, beside an engine that is gone afterwards.
containers() {
    if [ "$(id -u)" != 0 ]; then
        skip "containers: only root can start an engine"
        return
    fi
    need_debian dockerd=docker.io mmdebstrap=mmdebstrap
    need_debian docker=docker-cli # a package of its own from Debian 13 on
    # Of the broker by itself, and through a daemon. An engine or an image that cannot be had here is a failure.
    part "containers" bash src/sandbox/broker/tests/docker/engine.sh bash -c "
        status=0
        cargo nextest run --locked --color never -p assistant-broker --features docker -E 'test(docker::)' || status=1
        cargo nextest run --locked --color never -p assistantd -E '$container_tests' || status=1
        exit \$status"
}

# The runner and its probe name system calls, which differ from one architecture to the next: both of Debian's servers. Tests
# are made for glibc, what is installed for musl.
other_architecture() {
    local other=aarch64-unknown-linux target
    [ "$(uname -m)" != aarch64 ] || other=x86_64-unknown-linux
    for target in "$other-gnu" "$other-musl"; do
        if ! rustup target list --installed 2>/dev/null | grep -qx "$target" && ! rustup target add "$target" >/dev/null 2>&1; then
            skip "$target: its standard library cannot be had from here"
            return
        fi
    done
    part "the runner for $other" runner_for "$other"
}
runner_for() {
    cargo check --quiet --locked -p assistant-sandbox --all-targets --target "$1-gnu" &&
        cargo check --quiet --locked -p assistant-sandbox --bins --target "$1-musl"
}

# The profile for AppArmor 4 and later, read as that does; the kernel need not have it. An older one knows all but the rule.
apparmor_profile() {
    local profile=packaging/apparmor/assistant-sandbox
    need_debian apparmor_parser=apparmor
    if [ -e /etc/apparmor.d/abi/4.0 ]; then
        apparmor_parser --skip-kernel-load --skip-cache "$profile"
    else
        ! apparmor_parser --skip-kernel-load --skip-cache "$profile" 2>/dev/null &&
            sed -e '/^ *userns,$/d' -e 's|<abi/4.0>|<abi/3.0>|' "$profile" | apparmor_parser --skip-kernel-load --skip-cache
    fi
}

# What needs systemd, in a machine that is booted for it and gone afterwards.
machine() {
    local obstacle
    obstacle=$(. tests/systemd/machine.sh && machine_obstacle)
    if [ -n "$obstacle" ]; then
        heading "systemd"
        skip "systemd: $obstacle"
        return
    fi
    part "systemd" bash tests/systemd/run.sh
}

# Nothing that a test started may outlive it.
leftovers() {
    local dir left=0
    for dir in /proc/[0-9]*; do
        [ "${dir#/proc/}" != $$ ] || continue
        if tr '\0' '\n' 2>/dev/null <"$dir/environ" | grep -qx "ASSISTANT_TEST_RUN=$$"; then
            case $(tr '\0' ' ' <"$dir/cmdline" 2>/dev/null) in
                *assistantd* | */it-*)
                    say "still running: ${dir#/proc/} $(tr '\0' ' ' <"$dir/cmdline")"
                    kill -KILL "${dir#/proc/}" 2>/dev/null || true
                    left=1
                    ;;
            esac
        fi
    done
    return $left
}

advisories() {
    if ! timeout 60 cargo deny fetch db >/dev/null 2>&1; then
        heading "advisories"
        skip "advisories: the database cannot be fetched from here"
        return
    fi
    part "advisories" cargo deny --log-level error check advisories
}

prepare
part "format" cargo fmt --all --check
part "lints" cargo clippy --quiet --locked --workspace --all-targets -- -D warnings
other_architecture
tests
containers
[ "$mode" = quick ] || part "proxies" proxies
[ "$mode" = quick ] || machine
[ "$mode" = quick ] || part "the API against its document" bash tests/schema/run.sh
[ "$mode" = quick ] || part "browser" bash tests/browser/run.sh
part "nothing left running" leftovers
if [ "$mode" = all ]; then
    part "documentation" rust_docs
    part "documentation tests" cargo test --quiet --locked --workspace --doc
    part "scripts" scripts
    part "AppArmor profile" apparmor_profile
    part "licences, bans, sources" cargo deny --log-level error check bans licenses sources
    advisories
fi

heading "done in $SECONDS s"
say "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
