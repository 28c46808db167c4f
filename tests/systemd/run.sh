#!/usr/bin/env bash
# Builds the package, boots a throw-away Debian with systemd, installs the package there, and holds it to what it promises.
#   tests/systemd/run.sh                           everything; ends with "N passed, N failed"
#   tests/systemd/run.sh [--no-build] CHECK...     these only, from the package of the last build;
#                                                  life_of_a_package is what happens in the second machine
# Needs root. The file system of the machine is made once and kept below ~/.cache; nothing else is left.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. packaging/prerequisites.sh
. tests/systemd/machine.sh
. tests/systemd/checks.sh
. tests/systemd/sandbox.sh
. tests/systemd/levels.sh
. tests/systemd/ends.sh
. tests/systemd/package.sh
. tests/systemd/backup.sh
. tests/systemd/mail.sh
. tests/systemd/life.sh
. tests/systemd/docker.sh
. tests/systemd/doctor.sh
. tests/systemd/setup.sh
. tests/systemd/web.sh
. tests/systemd/shells.sh
# All of these share one set of names, in which the last one wins.
twice=$(grep -hoE '^[a-z_]+\(\)' tests/systemd/*.sh | sort | uniq -d)
[ -z "$twice" ] || fail "defined more than once in tests/systemd: $twice"

obstacle=$(machine_obstacle)
[ -z "$obstacle" ] || fail "$obstacle"
need_debian mmdebstrap=mmdebstrap python3=python3-minimal ip=iproute2 lintian=lintian readelf=binutils man=man-db groff=groff-base \
    zstd=zstd zsh=zsh fish=fish curl=curl openssl=openssl
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
log=$(mktemp) packages=$(mktemp -d)
trap 'machine_stop; rm -rf "$log" "$packages"' EXIT
# Of this architecture and version there is one.
other_versions "$CARGO_TARGET_DIR"/deb/assistant_*.deb "$packages"
machine_carried=("$packages"/*.deb)

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
check() {
    local begun=$SECONDS status=0
    # In a condition nothing would end at what fails.
    set +e
    (set -e; "$1") >"$log" 2>&1 </dev/null
    status=$?
    set -e
    if [ "$status" = 0 ]; then
        passed=$((passed + 1))
        say "ok      $1, $((SECONDS - begun)) s$(grep -E '^(figure:|first command|[0-9]+ attempts)' "$log" | sed 's/^figure: //' | paste -sd ';' | sed 's/^./: &/')"
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
    check the_package_installs
    check the_smoke_test_passes
    check doctor_is_well_on_a_fresh_host
    furnish_machine
    for name in "$@"; do
        check "$name"
    done
    machine_stop
}

# In another machine the package is there before systemd is, and then goes the way of all packages. Where control groups
# bound nothing, nothing is run.
life_of_a_package() {
    machine_boot unified "$before_systemd"
    check the_package_was_installed_without_systemd
    furnish_machine
    [ "$(machine_cgroups)" = unified ] || check without_bounds_nothing_runs
    check jobs_wait_for_a_reboot
    machine_reboot
    check a_reboot_alone_completes_them
    check removed_it_keeps_its_state_and_purged_nothing
    check an_upgrade_loses_no_job
    check a_downgrade_is_refused_by_the_database
    check a_failed_migration_leaves_the_database
    check scripts_can_fail_and_repeat
    machine_stop
}

case ${1:-} in
    '')
        check the_package_is_sound
        check shells_complete_what_is_typed
        session "$(machine_cgroups)" "${all[@]}"
        life_of_a_package
        ;;
    life_of_a_package) life_of_a_package ;;
    the_package_is_sound | shells_complete_what_is_typed) check "$1" ;;
    *) session "$(machine_cgroups)" "$@" ;;
esac
say "$passed passed, $failed failed, $SECONDS s"
[ "$failed" = 0 ]
