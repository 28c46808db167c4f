#!/usr/bin/env bash
# clamd on a Unix socket and on loopback, for one test. It knows one virus, the harmless one that is made for tests (EICAR).
#   tests/mail/clamd.sh DIR
# Runs until its standard input ends, with everything below DIR: DIR/clamd.sock, DIR/port. Says "ready" when it scans.
set -euo pipefail
PATH="$PATH:/usr/sbin:/sbin"
dir=$1
mkdir -p "$dir/db" "$dir/tmp"

port_used() {
    local port
    port=$(printf ':%04X' "$1")
    awk -v port="$port" '$4 == "0A" && substr($2, length($2) - 4) == port { used = 1 } END { exit !used }' \
        /proc/net/tcp /proc/net/tcp6 2>/dev/null
}
while port=$((20000 + $(od -An -N2 -tu2 /dev/urandom) % 12000)); port_used "$port"; do :; done

# Name, kind of file (0: any), where (*: anywhere), bytes. In two halves, so that this file holds no virus.
# shellcheck disable=SC2016 # nothing in it is to be expanded
bytes=$(printf '%s%s' 'X5O!P%@AP[4\PZX54(P^)7CC)7}$' 'EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*' | od -An -v -tx1 | tr -d ' \n')
printf 'Test.Eicar:0:*:%s\n' "$bytes" >"$dir/db/local.ndb"
cat >"$dir/clamd.conf" <<END
DatabaseDirectory $dir/db
TemporaryDirectory $dir/tmp
LogFile $dir/clamd.log
PidFile $dir/clamd.pid
TCPSocket $port
TCPAddr 127.0.0.1
LocalSocket $dir/clamd.sock
LocalSocketMode 666
Foreground true
MaxThreads 4
StreamMaxLength 1M
SelfCheck 0
END
clamd --config-file="$dir/clamd.conf" --foreground >"$dir/clamd.out" 2>&1 </dev/null &
clamd=$!
trap 'kill "$clamd" 2>/dev/null || true; wait "$clamd" 2>/dev/null || true' EXIT
for _ in $(seq 1 200); do
    kill -0 "$clamd" || { cat "$dir/clamd.out" "$dir/clamd.log" >&2; exit 1; }
    if (exec 4<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
        printf '%s\n' "$port" >"$dir/port"
        echo ready
        cat >/dev/null
        exit 0
    fi
    sleep 0.05
done
cat "$dir/clamd.out" "$dir/clamd.log" >&2
exit 1
