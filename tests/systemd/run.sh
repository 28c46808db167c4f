#!/usr/bin/env bash
# Boots a throw-away Debian with systemd, installs what was built in it, and holds it to what it promises.
#   tests/systemd/run.sh              everything; ends with "N passed, N failed"
#   tests/systemd/run.sh CHECK...     these checks only
# Needs root. The file system of the machine is made once and kept below ~/.cache; nothing else is left.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. packaging/prerequisites.sh
. tests/systemd/machine.sh
. tests/systemd/checks.sh
. tests/systemd/sandbox.sh

obstacle=$(machine_obstacle)
[ -z "$obstacle" ] || fail "$obstacle"
need_debian mmdebstrap=mmdebstrap python3=python3-minimal ip=iproute2
need_rust
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/assistant-target}
bin=$CARGO_TARGET_DIR/debug

# The file system is made while the compiler works.
making=
if [ -z "${1:-}" ] || [ "${1:-}" != --no-build ]; then
    machine_system >/dev/null 2>&1 &
    making=$!
    cargo build --quiet --locked --bins -p assistantd -p assistantctl -p assistant-broker
else
    shift
fi
sandbox=$(dirname "$(packaging/build-sandbox.sh --debug)")
[ -z "$making" ] || wait "$making" || true
machine_system
trap machine_stop EXIT

install_all() {
    local units=$machine_root/usr/lib/systemd/system
    mkdir -p "$machine_root$tools" "$machine_root/etc/assistant/conf.d"
    install "$bin/assistantd" "$bin/assistantctl" "$machine_root/usr/bin/"
    install "$sandbox/assistant-sandbox" "$sandbox/assistant-sandbox-probe" "$bin/assistant-egress" "$machine_root$tools/"
    install -m 644 systemd/*.service systemd/*.socket systemd/*.slice "$units/"
    install -m 644 systemd/assistant.sysusers "$machine_root/usr/lib/sysusers.d/assistant.conf"
    install -m 644 systemd/assistant.tmpfiles "$machine_root/usr/lib/tmpfiles.d/assistant.conf"
    install -m 644 systemd/assistant.catalog "$machine_root/usr/lib/systemd/catalog/"
    install -m 644 config/egress.toml tests/systemd/scenes.json "$machine_root/etc/assistant/"
    printf '[llm]\nprovider = "rehearsal"\nrehearsal_file = "/etc/assistant/scenes.json"\n' \
        >"$machine_root/etc/assistant/assistant.toml"
    inside sh -ec 'systemd-sysusers; systemd-tmpfiles --create; journalctl --update-catalog; systemctl daemon-reload
        useradd -m -G assistant-users ann; useradd -m bob
        systemctl enable --quiet --now assistantd.socket assistant-sandbox.socket assistant-egress.socket \
            assistant-egress-control.socket assistant-egress.service assistantd.service' 2>&1 | grep -v '^Creating' || true
}

passed=0 failed=0
log=$(mktemp)
trap 'machine_stop; rm -f "$log"' EXIT
check() {
    local begun=$SECONDS status=0
    # In a condition nothing would end at what fails.
    set +e
    (set -e; "$1") >"$log" 2>&1 </dev/null
    status=$?
    set -e
    if [ "$status" = 0 ]; then
        passed=$((passed + 1))
        say "ok      $1, $((SECONDS - begun)) s$(grep -E '^(first command|[0-9]+ attempts)' "$log" | sed 's/^/: /')"
    else
        failed=$((failed + 1))
        say "FAILED  $1, $((SECONDS - begun)) s"
        tail -40 "$log" | sed 's/^/        /'
    fi
}

session() {
    local kind=$1 name
    shift
    machine_boot "$kind"
    install_all
    for name in "$@"; do
        check "$name"
    done
    machine_stop
}

if [ $# -gt 0 ]; then
    session "$(machine_cgroups)" "$@"
else
    session "$(machine_cgroups)" "${all[@]}"
    # Where control groups bound nothing, nothing is run.
    [ "$(machine_cgroups)" = unified ] || session unified without_bounds_nothing_runs
fi
say "$passed passed, $failed failed, $SECONDS s"
[ "$failed" = 0 ]
