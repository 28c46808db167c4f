# shellcheck shell=bash disable=SC2154 # machine_root and others are set by machine.sh and checks.sh
# What must hold for commands that run in units; sourced by run.sh after checks.sh.

all+=(commands_run_in_units commands_reach_listed_hosts a_job_runs_a_command a_script_runs
    what_was_refused_is_explained two_sessions_do_not_meet fifty_sessions_at_once what_commands_leave_is_the_daemons
    what_the_configuration_protects_is_protected bounds_follow_the_configuration the_way_out_is_the_proxy
    nothing_outside_is_reached_through_the_proxy the_daemon_is_as_free_as_before how_long_the_first_command_takes)

commands_run_in_units() {
    [ "$(printf 'in\n' | run cat)" = in ] || wrong "standard input"
    local code=0
    run sh -c 'exit 7' || code=$?
    [ "$code" = 7 ] || wrong "exit code $code"
    run sh -c 'test "$(id -u)" -ge 61184 && touch made && test ! -e /etc/shadow && test ! -e /run/assistant'
    as_ann assistantctl status | grep -q 'backend unit' || wrong "$(as_ann assistantctl status)"
    inside test -f "$workspace/made"
    # The places at which systemd binds things for them are made in their own root, not in the machine's.
    [ -z "$(inside sh -c "ls -d /workspace /run/cgroup 2>/dev/null")" ] || wrong "places of sessions are left in the root"
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

# A job whose commands try what the filter, the file system and the proxy refuse.
what_was_refused_is_explained() {
    local id said entry
    configure '[sandbox]
level = "work+net"'
    id=$(as_ann assistantctl submit 'Try what is refused.' --wait --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["job"]["id"])')
    said=$(as_ann assistantctl sandbox explain --job "$id" 2>&1)
    grep -q 'seccomp .*io_uring_setup' <<<"$said" || wrong "$said"
    grep -qE 'proxy .*refused\.example:80 .*host_not_listed .*add ' <<<"$said" || wrong "$said"
    # Nobody may read there what the kernel says of mounts and Landlock, and that is said.
    grep -q 'files and directories' <<<"$said" || wrong "$said"
    for layer in seccomp proxy; do
        entry=$(inside journalctl --no-pager -o json MESSAGE_ID=e6374d03ee344e6aa2dafb4623e836e1 "ASSISTANT_JOB_ID=$id" "ASSISTANT_LAYER=$layer")
        [ -n "$entry" ] || wrong "no line of the journal for $layer"
    done
    configure ''
}

# All of them wait for each other, so all are there at the same time.
fifty_sessions_at_once() {
    local answers
    run mkdir -m 770 crowd
    settles 10 no_sessions
    # shellcheck disable=SC2016 # for the shell in the machine
    answers=$(inside runuser -u ann -- bash -c 'for n in $(seq 50); do
        assistantctl sandbox run -- bash -c "touch crowd/$n; until set -- crowd/*; [ \$# = 50 ]; do sleep 0.2; done; echo all of \$#" </dev/null &
    done; wait')
    [ "$(grep -c '^all of 50$' <<<"$answers")" = 50 ] || wrong "$answers"
    settles 20 no_sessions
    as_daemon rm -r "$workspace/crowd"
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

# What is not of the public Internet is refused whatever the list says, and so is whoever shows no token.
nothing_outside_is_reached_through_the_proxy() {
    local said
    configure '[sandbox]
level = "work+net"'
    echo 'allow = ["localhost", "machine", "127.0.0.1", "169.254.169.254", "10.0.0.1"]' >"$machine_root/etc/assistant/egress.toml"
    inside systemctl reload assistant-egress
    said=$(run python3 -c 'import base64, os, socket, urllib.parse
def ask(request, login):
    proxy = urllib.parse.urlsplit(os.environ["http_proxy"])
    token = base64.b64encode(urllib.parse.unquote(f"{proxy.username}:{proxy.password}").encode()).decode()
    head = f"Proxy-Authorization: Basic {token}\r\n" if login else ""
    with socket.create_connection((proxy.hostname, proxy.port), timeout=5) as there:
        there.sendall(f"{request}\r\n{head}\r\n".encode())
        return there.recv(4096).decode().split(" ")[1]
for host in ["localhost", "machine", "127.0.0.1", "169.254.169.254", "10.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "[fe80::1]"]:
    print(ask(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443", True), ask(f"GET http://{host}/ HTTP/1.1\r\nHost: {host}", True))
print(ask("GET http://localhost/ HTTP/1.1\r\nHost: localhost", False))' 2>/dev/null)
    [[ $(grep -c '^403 403$' <<<"$said") = 8 && $(tail -1 <<<"$said") = 407 ]] || wrong "$said"
    : >"$machine_root/etc/assistant/egress.toml"
    inside systemctl reload assistant-egress
    configure ''
}

# What a process may: its rights, filters, bounds, namespaces and mounts.
freedom() {
    grep -E '^(Cap|NoNewPrivs|Seccomp|Groups|Uid|Gid|Speculation|Cpus_allowed:)' "/proc/$1/status"
    cat "/proc/$1/limits" "/proc/$1/cgroup" "/proc/$1/mountinfo" "/proc/$1/oom_score_adj"
    readlink "/proc/$1"/ns/* "/proc/$1/root" "/proc/$1/cwd"
}

the_daemon_is_as_free_as_before() {
    local pid before after level
    inside systemctl restart assistantd.service
    settles 10 is_ready
    # Its number here, as its files are read from here.
    pid=$(pgrep -x assistantd --ns "$machine_init" --nslist pid)
    before=$(freedom "$pid")
    for level in read work; do
        as_ann assistantctl sandbox run --level "$level" -- true
    done
    configure '[sandbox]
level = "work+net"'
    run true
    configure ''
    after=$(freedom "$pid")
    [[ -n $before && $before = "$after" ]] || wrong "$(diff <(echo "$before") <(echo "$after"))"
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
