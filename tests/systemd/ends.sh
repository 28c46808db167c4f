# shellcheck shell=bash disable=SC2154 # machine_root and others are set by machine.sh and checks.sh
# How commands and sessions of units end: whoever ends them, all of it is gone a second later, and the outcome is told.
# Sourced by run.sh after levels.sh.

all+=(a_timeout_ends_everything a_cancel_ends_everything a_client_that_goes_ends_everything
    a_killed_daemon_leaves_nothing a_killed_runner_leaves_nothing a_session_has_its_time a_stopped_session_is_told
    the_api_answers_beside_fork_bombs running_out_of_memory_is_told a_session_outlives_what_ran_out_of_memory the_kernel_bounds_sessions)

# Whatever resists: ignores signals, has left its parents and their session, is stopped.
stubborn='trap "" TERM INT HUP; (setsid sh -c "trap \"\" TERM; sleep 7771 & exec sleep 7771" &); (sleep 7771 & sleep 7771) &
    (setsid sh -c "kill -STOP \$\$" &); kill -STOP $$; sleep 7771'
# Processes that make others without end, within their bound.
bomb='trap "" TERM HUP; bomb() { bomb | bomb & }; while :; do bomb; done'

# Processes in all sessions, their runners among them, wherever they have put themselves.
in_sessions() {
    local slice=assistant.slice/assistant-jobs.slice
    # One of the hierarchies is there.
    { cat "$machine_root"/sys/fs/cgroup/{systemd,unified,.}/$slice/assistant-sandbox@*/cgroup.procs 2>/dev/null || true; } |
        sort -u | wc -l
}
more_than() { [ "$(in_sessions)" -gt "$1" ]; }
now() { date +%s%N; }

# gone EVENT MOST: at most so many processes are left a second after the time EVENT.
gone() {
    local left
    while left=$(in_sessions) && [ "$left" -gt "$2" ]; do
        [ $(($(now) - $1)) -lt 1000000000 ] || wrong "$left processes are left after a second, at a load of $(cat /proc/loadavg)"
    done
    echo "ended within $((($(now) - $1) / 1000000)) ms"
}

# asks SCRIPT [SECONDS]: a person's command, and what the API answers.
asks() {
    as_ann assistantctl query POST /api/workspace/script-runs --data "$(python3 -c 'import json, sys
print(json.dumps({"command": ["bash", "-c", sys.argv[1]], "timeout_seconds": int(sys.argv[2])}))' "$1" "${2:-60}")"
}

# begins SCRIPT [SECONDS]: has one run in the background and waits until there is more than its first process; sets
# $client, $answer and $begun.
begins() {
    settles 10 no_sessions
    answer=$(mktemp)
    asks "$@" >"$answer" 2>&1 &
    client=$!
    until more_than 4; do
        kill -0 "$client" 2>/dev/null || wrong "it does not begin: $(cat "$answer")"
    done
    begun=$(now)
}

# answer_tells TEXT: what became of it.
answer_tells() {
    wait "$client" || true
    grep -q "$1" "$answer" || wrong "not $1: $(cat "$answer")"
    rm -f "$answer"
    settles 10 no_sessions
}

a_timeout_ends_everything() {
    local victim
    for victim in "$stubborn" "$bomb"; do
        begins "$victim" 1
        # Its time began before its processes were seen. A bomb may have been ended before for their number.
        gone $((begun + 1000000000)) 1
        answer_tells 'timed_out\|too_many_processes'
    done
    begins "$stubborn" 1
    answer_tells timed_out
}

# bombs N: commands that make processes without end, one after another, until so many hundred requests are answered.
bombs() {
    local most=0 count bomber
    until hundreds_are "$1"; do
        asks "$bomb" 5 >/dev/null 2>&1 &
        bomber=$!
        while kill -0 "$bomber" 2>/dev/null; do
            count=$(in_sessions)
            [ "$count" -le "$most" ] || most=$count
            sleep 0.05
        done
        wait "$bomber" || true # a bomb is ended, which makes it fail
    done
    [ "$most" -gt 100 ] || wrong "the bombs had $most processes at most"
    echo "figure: up to $most processes of bombs"
}
the_api_answers_beside_fork_bombs() {
    settles 10 no_sessions
    under_load 1 bombs 5
    settles 10 no_sessions
}

# submits TASK: a job; its number.
submits() { as_ann assistantctl submit "$1" --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["job"]["id"])'; }
# is_in ID STATE: whether a job is.
is_in() { as_ann assistantctl query GET "/api/jobs/$1" | grep -q "\"status\": *\"$2\""; }

a_cancel_ends_everything() {
    local task id begun
    for task in 'Hold out in a unit.' 'Go off in a unit.'; do
        settles 10 no_sessions
        id=$(submits "$task")
        settles 10 more_than 4
        begun=$(now)
        as_ann assistantctl job cancel "$id" >/dev/null
        gone "$begun" 0
        settles 5 is_in "$id" cancelled
    done
}

a_client_that_goes_ends_everything() {
    local victim event
    for victim in "$stubborn" "$bomb"; do
        settles 10 no_sessions
        run bash -c "$victim" >/dev/null 2>&1 &
        client=$!
        settles 10 more_than 4
        event=$(now)
        # The client runs in another namespace, under nsenter.
        inside pkill -KILL -u ann assistantctl
        gone "$event" 0
        wait "$client" || true
    done
}

a_killed_daemon_leaves_nothing() {
    local victim event
    for victim in "$stubborn" "$bomb"; do
        begins "$victim"
        event=$(now)
        inside systemctl kill --signal=KILL assistantd.service
        gone "$event" 0
        answer_tells .
        settles 20 is_ready
    done
}

session_unit() { inside systemctl list-units --plain --no-legend 'assistant-sandbox@*' | cut -d' ' -f1; }

a_killed_runner_leaves_nothing() {
    local victim event unit
    for victim in "$stubborn" "$bomb"; do
        begins "$victim"
        unit=$(session_unit)
        event=$(now)
        inside systemctl kill --kill-who=main --signal=KILL "$unit"
        gone "$event" 0
        answer_tells 'ended by the signal KILL'
    done
}

a_stopped_session_is_told() {
    local event unit
    begins "$stubborn"
    unit=$(session_unit)
    event=$(now)
    inside systemctl stop "$unit"
    gone "$event" 0
    answer_tells "the sandbox's runner broke off"
}

# RuntimeMaxSec= bounds a session: the job hears of it, nobody knows what the command did, and it is not run again.
a_session_has_its_time() {
    local id effects begun
    session_drop_in 'RuntimeMaxSec=2s'
    settles 10 no_sessions
    inside rm -f "$workspace/began"
    id=$(submits 'Stay longer than a session.')
    settles 10 more_than 4
    begun=$(now)
    gone $((begun + 2000000000)) 0
    settles 20 is_in "$id" completed
    [ "$(inside cat "$workspace/began")" = once ] || wrong "it ran again: $(inside cat "$workspace/began")"
    effects=$(as_ann assistantctl effects --job "$id" --json)
    grep -q '"unknown"' <<<"$effects" || wrong "$effects"
    grep -q 'the time of its session was over (RuntimeMaxSec=' <<<"$effects" || wrong "$effects"
    session_drop_in ''
}

running_out_of_memory_is_told() {
    local said
    said=$(as_ann assistantctl query POST /api/workspace/script-runs --data \
        '{"command": ["python3", "-c", "x = bytearray(1 << 30); y = bytearray(1 << 30); z = bytearray(1 << 30)"]}')
    grep -qE 'MemoryError|out_of_memory' <<<"$said" || wrong "$said"
    # Each below its own bound, all together above.
    said=$(as_ann assistantctl query POST /api/workspace/script-runs --data \
        '{"command": ["sh", "-c", "for n in 1 2 3; do python3 -c \"import time; x = bytearray(1 << 30); time.sleep(20)\" & done; wait"]}')
    grep -q out_of_memory <<<"$said" || wrong "$said"
}

# The kernel ends a command for want of memory, and the next one of the same job finds what the first left in /tmp.
a_session_outlives_what_ran_out_of_memory() {
    local id effects
    configure '[sandbox]
memory = "256 MiB"'
    inside rm -f "$workspace/survived"
    id=$(as_ann assistantctl submit 'Use up all memory, and go on.' --wait --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["job"]["id"])')
    [ "$(inside cat "$workspace/survived")" = there ] || wrong "the next command had another session"
    effects=$(as_ann assistantctl effects --job "$id" --json)
    [ "$(grep -o '"outcome": *"[a-z_]*"' <<<"$effects" | sort | tr -d ' "\n')" = outcome:exitedoutcome:out_of_memory ] || wrong "$effects"
    configure ''
}

the_kernel_bounds_sessions() {
    configure '[sandbox]
memory = "256 MiB"
processes = 64
cpus = 0.5'
    settles 10 no_sessions
    run sh -c 'exec sleep 7773' &
    local one=$! unit
    settles 10 inside pgrep -f '^sleep 7773'
    unit=$(inside systemctl list-units --plain --no-legend 'assistant-sandbox@*' | cut -d' ' -f1)
    local shown
    shown=$(inside systemctl show -p MemoryMax,TasksMax,CPUQuotaPerSecUSec,RuntimeMaxUSec,OOMPolicy "$unit")
    for wanted in MemoryMax=268435456 TasksMax=73 CPUQuotaPerSecUSec=500ms RuntimeMaxUSec=2h OOMPolicy=continue; do
        grep -qx "$wanted" <<<"$shown" || wrong "$wanted is not in: $shown"
    done
    inside pkill -f '^sleep 7773'
    wait "$one" || true
    # The same session goes on after the kernel has ended a command in it.
    local said
    said=$(as_ann assistantctl query POST /api/workspace/script-runs --data \
        '{"command": ["sh", "-c", "for n in 1 2 3; do python3 -c \"import time; x = bytearray(150 << 20); time.sleep(20)\" & done; wait"]}')
    grep -q out_of_memory <<<"$said" || wrong "$said"
    # A busy loop gets its share and no more.
    said=$(run python3 -c 'import os, time
begun = time.monotonic()
while time.monotonic() - begun < 2: pass
used = os.times(); print(int((used.user + used.system) * 100))')
    [ "$said" -le 140 ] || wrong "it used $said hundredths of a second in two seconds"
    # A fork bomb ends, and the API answers meanwhile.
    said=$(as_ann assistantctl query POST /api/workspace/script-runs --data \
        '{"command": ["sh", "-c", "f() { f | f & }; f; sleep 5"], "timeout_seconds": 4}') &
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        as_ann timeout 2 assistantctl status >/dev/null || wrong "the API does not answer beside a fork bomb"
    done
    wait $! || true
    settles 10 no_sessions
    configure ''
}

without_bounds_nothing_runs() {
    local said
    said=$(run true 2>&1) && wrong "it ran without bounds"
    grep -q 'does not bound memory, processes and processors' <<<"$said" || wrong "$said"
}

