# shellcheck shell=bash disable=SC2154 # machine_root and others are set by machine.sh and checks.sh
# What must hold for commands that run in units; sourced by run.sh after checks.sh.

all+=(commands_run_in_units commands_reach_listed_hosts a_job_runs_a_command a_script_runs
    the_probe_at_level_work the_probe_at_level_read a_timeout_ends_everything a_cancel_ends_everything
    a_killed_daemon_leaves_nothing two_sessions_do_not_meet running_out_of_memory_is_told
    what_commands_leave_is_the_daemons what_the_configuration_protects_is_protected bounds_follow_the_configuration
    the_kernel_bounds_sessions the_way_out_is_the_proxy how_long_the_first_command_takes)

commands_run_in_units() {
    [ "$(printf 'in\n' | run cat)" = in ] || wrong "standard input"
    local code=0
    run sh -c 'exit 7' || code=$?
    [ "$code" = 7 ] || wrong "exit code $code"
    run sh -c 'test "$(id -u)" -ge 61184 && touch made && test ! -e /etc/shadow && test ! -e /run/assistant'
    as_ann assistantctl status | grep -q 'backend unit' || wrong "$(as_ann assistantctl status)"
    inside test -f "$workspace/made"
}

# Whether a process has left both this network and the machine's.
apart() {
    local net
    net=$(readlink "/proc/$1/ns/net")
    [ "$net" != "$(readlink "/proc/$machine_init/ns/net")" ] && [ "$net" != "$(readlink /proc/self/ns/net)" ]
}

# Outside of the machine's network, over a link of its own, a server with a public address and a repository for git.
public_server() {
    local here peer
    here=$(mktemp -d /dev/shm/assistant-server.XXXXXX)
    git init --quiet "$here/work"
    echo text >"$here/work/file"
    git -C "$here/work" add file
    git -C "$here/work" -c user.name=a -c user.email=a@example.org commit --quiet --message first
    git clone --quiet --bare "$here/work" "$here/www/repo.git"
    git -C "$here/www/repo.git" update-server-info
    there() { nsenter --net="/proc/$machine_init/ns/net" "$@"; }
    # Not by the function, whose process would be a shell's.
    nsenter --net="/proc/$machine_init/ns/net" unshare --net setpriv --pdeathsig KILL \
        python3 -m http.server 80 --directory "$here/www" >/dev/null 2>&1 &
    peer=$!
    # shellcheck disable=SC2064 # now
    trap "kill $peer; rm -rf '$here'; configure ''" EXIT
    settles 5 apart "$peer"
    there ip link add out type veth peer name in netns "$peer"
    there ip addr add 93.184.216.1/24 dev out
    there ip link set out up
    nsenter --target "$peer" --net ip addr add 93.184.216.34/24 dev in
    nsenter --target "$peer" --net ip link set in up
    settles 10 there bash -c 'echo >/dev/tcp/93.184.216.34/80'
    grep -q example.org "$machine_root/etc/hosts" ||
        echo '93.184.216.34 example.org. example.org' >>"$machine_root/etc/hosts"
}

commands_reach_listed_hosts() {
    local said
    public_server
    inside systemctl stop assistant-egress.socket assistant-egress-control.socket assistant-egress.service
    configure "[sandbox]
level = \"work+net\""
    said=$(run true 2>&1) && wrong "without a proxy it ran"
    [[ $said == *'systemctl start assistant-egress'* ]] || wrong "$said"
    echo 'allow = ["example.org"]' >"$machine_root/etc/assistant/egress.toml"
    inside systemctl start assistant-egress
    [ "$(run sh -c 'git clone --quiet http://example.org/repo.git cloned && cat cloned/file')" = text ] || wrong "git"
    as_ann assistantctl status | grep -q 'backend unit, the egress proxy answers' || wrong "$(as_ann assistantctl status)"
    said=$(run git clone --quiet http://other.example/repo.git other 2>&1) && wrong "another host was reached"
    [[ $said == *'proxy refused other.example:80: host_not_listed; would be allowed by: add'* ]] || wrong "$said"
    run bash -c 'echo > /dev/tcp/93.184.216.34/80' && wrong "there is another way out"
    said=$(as_ann assistantctl sandbox run --level work -- bash -c 'echo > /dev/tcp/127.0.0.1/3128' 2>&1) && wrong "level work"
    [[ $said == *'seccomp refused socket'* ]] || wrong "$said"
    : >"$machine_root/etc/assistant/egress.toml"
    inside systemctl reload assistant-egress
    run git clone --quiet http://example.org/repo.git again 2>&1 && wrong "a list that was taken away counts"
    return 0
}

a_job_runs_a_command() {
    local id
    id=$(as_ann assistantctl submit 'Count in a unit.' --wait --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["job"]["id"])')
    [ "$(inside cat "$workspace/counted")" = 3 ] || wrong "the job's file"
    as_ann assistantctl sandbox explain --job "$id" | grep -q socket || wrong "no refusal is explained"
    # One line of the journal for it, with its text from the catalog.
    local entry
    entry=$(inside journalctl --no-pager -x MESSAGE_ID=e6374d03ee344e6aa2dafb4623e836e1 "ASSISTANT_JOB_ID=$id")
    grep -q 'sandbox explain --job' <<<"$entry" || wrong "journal: $entry"
}

a_script_runs() {
    inside install -o assistant -g assistant-work -m 660 /dev/stdin "$workspace/sum.py" <<<'print(sum(range(5)))'
    local said
    said=$(as_ann assistantctl query POST /api/workspace/script-runs --data '{"path": "sum.py"}')
    grep -q '"stdout": *"10' <<<"$said" || wrong "$said"
    inside sh -c "ls $workspace/script-runs/*.md" >/dev/null
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

probe() {
    local said code=0
    configure '[sandbox]
memory = "256 MiB"
processes = 128
tmp = "64 MiB"
max_file = "1 GiB"'
    # What the configuration asks of units is written when one is asked for.
    run true
    settles 10 no_sessions
    furnish
    said=$(inside "$tools/assistant-sandbox-probe" conduct --probe "$tools/assistant-sandbox-probe" --level "$1" \
        --limits '{"memory_bytes": 268435456, "processes": 128, "tmp_bytes": 67108864, "file_bytes": 1073741824}' --socket /run/assistant-sandbox/run.sock) || code=$?
    grep -E 'WRONG|missing' <<<"$said" && wrong "level $1"
    [ "$code" = 0 ] || wrong "$said"
    [ "$(grep -c '^promised' <<<"$said")" = 8 ] || wrong "not everything is promised: $(grep ^promised <<<"$said")"
    tail -1 <<<"$said"
    settles 10 no_sessions
    as_daemon rm -rf "$workspace/.git"
    configure ''
}

the_probe_at_level_work() { probe work; }
the_probe_at_level_read() { probe read; }

stubborn='trap "" TERM INT HUP; (setsid sleep 7771 &) ; (sleep 7771 & sleep 7771) & kill -STOP $$; sleep 7771'

a_timeout_ends_everything() {
    local said
    said=$(as_ann assistantctl query POST /api/workspace/script-runs \
        --data "$(python3 -c 'import json,sys; print(json.dumps({"command": ["sh", "-c", sys.argv[1]], "timeout_seconds": 1}))' "$stubborn")")
    grep -q timed_out <<<"$said" || wrong "$said"
    nobody_runs '^sleep 7771' || wrong "something is left"
}

a_cancel_ends_everything() {
    inside runuser -u ann -- assistantctl sandbox run -- sh -c "$stubborn" &
    local client=$!
    settles 10 inside pgrep -f '^sleep 7771'
    kill "$client" 2>/dev/null || true
    # The client runs in another namespace, under nsenter.
    inside pkill -KILL -u ann assistantctl || true
    settles 2 nobody_runs '^sleep 7771'
    wait "$client" 2>/dev/null || true
}

a_killed_daemon_leaves_nothing() {
    inside runuser -u ann -- assistantctl sandbox run -- sh -c "$stubborn" >/dev/null 2>&1 &
    local client=$!
    settles 10 inside pgrep -f '^sleep 7771'
    inside systemctl kill --signal=KILL assistantd.service
    settles 2 nobody_runs '^sleep 7771'
    settles 10 no_sessions
    wait "$client" 2>/dev/null || true
    settles 20 is_ready
}

two_sessions_do_not_meet() {
    run sh -c 'echo secret >/tmp/mine; echo secret >/dev/shm/mine; exec sleep 7772' &
    local one=$! pid
    settles 10 inside pgrep -f '^sleep 7772'
    pid=$(inside pgrep -f '^sleep 7772' | head -1)
    run sh -c "test ! -e /tmp/mine; test ! -e /dev/shm/mine; ! kill -0 $pid 2>/dev/null; test ! -e /proc/$pid"
    local users
    users=$(inside ps -o user:32= -C assistant-sandbox | sort -u | grep -c '^as' || true)
    [ "$users" = 1 ] || wrong "sessions have $users users while one runs"
    inside pkill -f '^sleep 7772'
    wait "$one" || true
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

what_commands_leave_is_the_daemons() {
    # As after a loss of power: its user is no more.
    inside sh -ec "echo x >$workspace/left; chown 61201:61201 $workspace/left; chmod 600 $workspace/left"
    run sh -ec 'umask 077; mkdir -p closed/deep; echo x >closed/deep/file; chmod 000 closed/deep/file
        echo y >one; ln one two; chmod 600 one; ln -s /etc/passwd out
        git init -q repo; cd repo; echo a >a; git add a
        git -c user.name=a -c user.email=a@b commit -qm first'
    settles 10 no_sessions
    [ -z "$(inside find "$workspace" -not -user assistant)" ] || wrong "$(inside find "$workspace" -not -user assistant -ls)"
    # Listed, read, moved and erased by the daemon.
    as_ann assistantctl files ls closed/deep >/dev/null
    as_daemon sh -ec "cd $workspace; cat closed/deep/file one two >/dev/null; mv closed elsewhere; cat left >/dev/null; rm -r elsewhere one two out left"
    # The same repository goes on in a second session.
    run sh -ec 'cd repo; git status --short; echo b >>a; git add a; git -c user.name=a -c user.email=a@b commit -qm second
        test "$(git rev-list --count HEAD)" = 2; git gc -q; git checkout -q -b more'
    settles 10 no_sessions
    as_daemon git -C "$workspace/repo" -c safe.directory='*' fsck --strict
    as_daemon rm -r "$workspace/repo"
}

what_the_configuration_protects_is_protected() {
    as_daemon sh -ec "cd $workspace; echo keep >.envrc; mkdir -p keys"
    configure '[sandbox]
protect = [".envrc", "keys/"]'
    run sh -ec '! echo x >>.envrc 2>/dev/null; ! rm -f .envrc 2>/dev/null; ! mv .envrc away 2>/dev/null
        ! touch keys/new 2>/dev/null; ! mv keys aside 2>/dev/null; test "$(cat .envrc)" = keep; touch free'
    as_ann assistantctl status | grep -q 'backend unit' || wrong "another backend"
    configure ''
}

bounds_follow_the_configuration() {
    configure '[sandbox]
memory = "256 MiB"
processes = 64
cpus = 1.0
tmp = "64 MiB"'
    run sh -ec 'test "$(df --output=size -B1M /tmp | tail -1 | tr -d " ")" = 64; ! head -c 70M /dev/zero >/tmp/large 2>/dev/null'
    as_ann assistantctl status | grep -q 'backend unit' || wrong "$(as_ann assistantctl status)"
    # More than the unit has is refused, with the way out.
    configure '[sandbox]
tmp = "4 GiB"'
    local said
    said=$(run true 2>&1) && wrong "it ran with less than was asked for"
    grep -q 'systemctl edit assistant-sandbox@' <<<"$said" || wrong "$said"
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

the_way_out_is_the_proxy() {
    configure '[sandbox]
level = "work+net"'
    local said
    said=$(run python3 -c 'import urllib.error, urllib.request
try: urllib.request.urlopen("http://example.org/", timeout=5)
except urllib.error.HTTPError as refused: print(refused.code, refused.read().decode())' 2>&1)
    grep -q '^403 .*example.org is refused' <<<"$said" || wrong "$said"
    grep -q 'proxy refused example.org:80' <<<"$said" || wrong "nobody is told: $said"
    # There is no other way.
    run python3 -c 'import socket; socket.create_connection(("192.0.2.1", 80), timeout=3)' && wrong "it connected"
    inside journalctl --no-pager -u assistant-egress ASSISTANT_VERDICT=refused | grep -q example.org || wrong "no line in the journal"
    configure ''
}

# A figure, not a bound.
how_long_the_first_command_takes() {
    local times=() begun
    for _ in 1 2 3 4 5 6 7 8 9; do
        begun=$(date +%s%N)
        run true
        times+=($((($(date +%s%N) - begun) / 1000000)))
        settles 10 no_sessions
    done
    mapfile -t times < <(printf '%s\n' "${times[@]}" | sort -n)
    begun=$(date +%s%N)
    as_ann assistantctl query GET /health >/dev/null
    echo "first command: median ${times[4]} ms, with $((($(date +%s%N) - begun) / 1000000)) ms for the way in"
}
