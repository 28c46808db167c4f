# shellcheck shell=bash disable=SC2154 # machine_root and others are set by machine.sh and checks.sh
# What units promise, tried at every level and with older versions of Landlock; and that nothing is promised that a unit
# lacks. Sourced by run.sh after sandbox.sh.
#
# matrix.json says what comes out, as that of the runner's tests does for its own backends; BLESS=1 writes it anew.

all+=(the_probe_at_level_read the_probe_at_level_work the_probe_at_level_work_net the_probe_with_older_landlock
    the_level_container_is_not_given the_host_proves_its_sandbox what_a_unit_lacks_is_not_promised
    what_cannot_be_prepared_is_told)

# session_drop_in TEXT: what the unit of sessions says beside its file; nothing takes that away again.
session_drop_in() {
    local directory=$machine_root/run/systemd/system/assistant-sandbox@.service.d
    rm -rf "$directory"
    if [ -n "$1" ]; then
        mkdir -p "$directory"
        printf '[Service]\n%s\n' "$1" >"$directory/check.conf"
    fi
    inside systemctl daemon-reload
    # What was refused with another configuration is forgotten.
    configure '[sandbox]
max_sessions = 63'
    is_ready >/dev/null
    configure ''
    is_ready >/dev/null
}

# furnish: a workspace as one in use, with a repository and what is ours.
furnish() {
    as_daemon sh -ec "cd $workspace; umask 002
        rm -rf .git; mkdir -p .git/hooks .assistant/cache
        echo 'ref: refs/heads/main' >.git/HEAD
        printf '[core]\n\trepositoryformatversion = 0\n' >.git/config
        echo '#!/bin/sh' >.git/hooks/pre-push.sample
        echo '[x]' >.assistant/config.toml
        echo x >.assistant/cache/x"
}

# conduct LEVEL ARGUMENT...: has the probe run in a unit at a level, with what must not be reached outside of it.
conduct() {
    local level=$1
    shift
    configure "[sandbox]
level = \"${level/-/+}\"
memory = \"256 MiB\"
processes = 128
tmp = \"64 MiB\"
max_file = \"1 GiB\""
    # What the configuration asks of units is written when one is asked for.
    run true || true
    settles 10 no_sessions
    furnish
    inside "$tools/assistant-sandbox-probe" conduct --probe "$tools/assistant-sandbox-probe" --level "$level" \
        --limits '{"memory_bytes": 268435456, "processes": 128, "tmp_bytes": 67108864, "file_bytes": 1073741824}' \
        --proxy /run/assistant-egress/proxy.sock --socket /run/assistant-sandbox/run.sock "$@"
}

# probe LEVEL LANDLOCK
probe() {
    local said code=0 bless=()
    [ -z "${BLESS:-}" ] || bless=(--bless yes)
    install -m 644 tests/systemd/matrix.json "$machine_root/run/matrix.json"
    session_drop_in "Environment=\"SERVE_OPTIONS=--landlock-abi $2\""
    said=$(conduct "$1" --cells /run/matrix.json --cell "unit, $1, landlock $2" "${bless[@]}") || code=$?
    [ "$code" = 0 ] || wrong "$(grep -vE '^(denied|works|absent) ' <<<"$said")"
    [ -z "${BLESS:-}" ] || cat "$machine_root/run/matrix.json" >tests/systemd/matrix.json
    if [ "$2" = 7 ]; then
        grep -E 'WRONG|missing' <<<"$said" && wrong "level $1"
        [ "$(grep -c '^promised' <<<"$said")" = 8 ] || wrong "not everything is promised: $(grep ^promised <<<"$said")"
    fi
    tail -1 <<<"$said"
    settles 10 no_sessions
    as_daemon rm -rf "$workspace/.git"
    session_drop_in ''
    configure ''
}

the_probe_at_level_read() { probe read 7; }
the_probe_at_level_work() { probe work 7; }
the_probe_at_level_work_net() { probe work-net 7; }
# Those of Ubuntu 24.04's and of Debian 12's kernel.
the_probe_with_older_landlock() {
    probe work 4
    probe work 2
    probe work-net 2
}

the_level_container_is_not_given() {
    local said
    said=$(inside assistantctl sandbox run --level container -- true 2>&1) && wrong "it ran"
    grep -q 'docker: not installed' <<<"$said" || wrong "$said"
}

# The whole table of `assistantctl sandbox test`, at every level.
the_host_proves_its_sandbox() {
    local level said guarantee
    for level in read work work+net; do
        configure "[sandbox]
memory = \"256 MiB\"
tmp = \"64 MiB\"
level = \"$level\""
        said=$(as_ann assistantctl sandbox test) || wrong "$said"
        grep -q "^backend unit, level $level, Landlock ABI" <<<"$said" || wrong "$said"
        for guarantee in read write network unix_sockets ipc signals resources syscalls; do
            grep -qE "^$guarantee +yes +ok +([0-9]+) of \1 refused +[^ ]" <<<"$said" || wrong "$level, $guarantee: $said"
        done
        grep -qE '^([0-9]+) of \1 attempts came out as they should' <<<"$said" || wrong "$said"
        tail -1 <<<"$said"
    done
    settles 10 no_sessions
    [ -z "$(inside find "$workspace" -name '.sandbox-test-*')" ] || wrong "something of the test is left"
    configure ''
}

# A unit without one of its settings, as where systemd does not know it or a drop-in takes it away: either nothing runs,
# and the reason names the setting, or all that is promised still holds.
what_a_unit_lacks_is_not_promised() {
    local lack setting reason said
    for lack in 'PrivateIPC=no|PrivateIPC=yes' 'ExecStartPre=|ExecStartPre=' 'DynamicUser=no\nUser=assistant|DynamicUser=yes' \
        'MemoryMax=infinity|' 'CPUQuota=|' 'PrivateNetwork=no|' 'PrivateUsers=no|' 'ProtectProc=default\nProcSubset=all|ProtectProc=invisible' \
        'RestrictNamespaces=no\nRestrictAddressFamilies=\nSystemCallFilter=|'; do
        setting=$(printf '%b' "${lack%|*}") reason=${lack#*|}
        session_drop_in "$setting"
        if [ -n "$reason" ]; then
            said=$(run true 2>&1) && wrong "it ran with $setting"
            grep -q "unit: .*$reason" <<<"$said" || wrong "$setting: $said"
        else
            said=$(conduct work) || wrong "$setting: $(grep -vE '^(denied|works|absent) ' <<<"$said")"
            settles 10 no_sessions
            as_daemon rm -rf "$workspace/.git"
            configure ''
        fi
    done
    session_drop_in ''
    run true
}

# Why a session could not be prepared is said to whoever asked for it.
what_cannot_be_prepared_is_told() {
    local said
    session_drop_in 'Environment="PREPARE_OPTIONS=--protect ../outside"'
    said=$(run true 2>&1) && wrong "it ran"
    grep -q 'is not a path inside the workspace' <<<"$said" || wrong "$said"
    session_drop_in ''
}
