#!/usr/bin/env bash
# Builds the package, boots a throw-away Debian with systemd, installs the package there, and holds it to what it promises.
#   tests/systemd/run.sh                           everything; ends with "N passed, N failed"
#   tests/systemd/run.sh [--no-build] CHECK...     these only, from the package of the last build
# Needs root. The file system of the machine is made once and kept below ~/.cache; nothing else is left.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. packaging/prerequisites.sh
. tests/systemd/machine.sh
. tests/systemd/checks.sh
. tests/systemd/sandbox.sh
. tests/systemd/package.sh
. tests/systemd/docker.sh

obstacle=$(machine_obstacle)
[ -z "$obstacle" ] || fail "$obstacle"
need_debian mmdebstrap=mmdebstrap python3=python3-minimal ip=iproute2
need_rust
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/assistant-target}

# The file system is made while the compiler works.
making=
if [ "${1:-}" != --no-build ]; then
    machine_system >/dev/null 2>&1 &
    making=$!
    packaging/build-deb.sh --debug >/dev/null
else
    shift
fi
[ -z "$making" ] || wait "$making" || true
machine_system
trap machine_stop EXIT

# Of this architecture and version there is one.
package=$(echo "$CARGO_TARGET_DIR"/deb/assistant_*.deb)
[ -e "$package" ] || fail "no package is there: run without --no-build"

# Has a model play recorded answers, and makes a user of the API and one who is none.
furnish_machine() {
    install -m 644 tests/systemd/scenes.json "$machine_root/etc/assistant/"
    printf '[llm]\nprovider = "rehearsal"\nrehearsal_file = "/etc/assistant/scenes.json"\n' \
        >"$machine_root/etc/assistant/conf.d/10-check.toml"
    inside sh -ec 'useradd -m -G assistant-users ann; useradd -m bob
        systemctl enable --quiet --now assistant-egress.socket assistant-egress-control.socket assistant-egress.service
        systemctl restart assistantd.service'
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

# session KIND CHECK...: in one machine, in which the package is installed as it runs.
session() {
    local kind=$1 name
    shift
    machine_boot "$kind"
    install "$package" "$machine_root/var/tmp/assistant.deb"
    check the_package_installs
    furnish_machine
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
