#!/usr/bin/env bash
# The configurations of packaging/proxy with Debian's nginx and Caddy before a real daemon, on free ports of loopback,
# over a socket file and over TCP; and the filter of packaging/fail2ban against what the daemon logged meanwhile. Its jail
# is for the booted machine, which has a journal and a firewall.
# Of the configurations only names, ports and paths are replaced.
#
#   run.sh ASSISTANTD
set -euo pipefail
cd "$(dirname "$0")/../.."
daemon=$(realpath "$1")
export ASSISTANT_TEST_RUN=${ASSISTANT_TEST_RUN:-$$}

scratch=$(mktemp -d "${TMPDIR:-/tmp}/assistant-proxy.XXXXXX")
chmod 755 "$scratch"
started=()
cleanup() {
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${started[@]}"; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$scratch"
}
trap cleanup EXIT

failures=0
check() { # check WHAT EXPECTED FOUND
    if [ "$2" = "$3" ]; then
        printf '  ok    %s\n' "$1"
    else
        printf '  FAIL  %s: expected %s, found %s\n' "$1" "$2" "$3"
        failures=$((failures + 1))
    fi
}
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
until_true() { # until_true WHAT COMMAND...
    local what=$1 _
    shift
    for _ in $(seq 200); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.05
    done
    echo "error: $what did not happen" >&2
    tail -n 20 "$scratch"/*.log >&2 || true
    exit 1
}

tcp=$(free_port)
port=$(free_port)
name=localhost
socket=$scratch/web.sock
password='correct horse battery'
most=6

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost -keyout "$scratch/key.pem" -out "$scratch/cert.pem" 2>/dev/null
printf 'ann:%s\n' "$(openssl passwd -apr1 proxy-password)" >"$scratch/htpasswd"
cat >"$scratch/assistant.toml" <<TOML
[app]
base_url = "https://$name:$port"

[api]
max_connections_per_address = $most
TOML

# The sockets are opened as a service manager opens them, and handed over by name.
python3 - "$daemon" "$scratch" "$tcp" <<'PY' 2>"$scratch/daemon.log" &
import os, socket, sys

daemon, scratch, port = sys.argv[1:]
sockets = []
for path in ("api.sock", "web.sock"):
    one = socket.socket(socket.AF_UNIX)
    one.bind(f"{scratch}/{path}")
    os.chmod(f"{scratch}/{path}", 0o666)
    sockets.append(one)
web = socket.socket()
web.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
web.bind(("127.0.0.1", int(port)))
sockets.append(web)
for number, one in enumerate(sockets):
    one.listen(128)
    os.dup2(one.fileno(), 100 + number)
for number in range(3):
    os.dup2(100 + number, 3 + number)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="3", LISTEN_FDNAMES="api:web:web")
os.execv(daemon, [daemon, "--config", f"{scratch}/assistant.toml", "--state-dir", f"{scratch}/state",
                  "--runtime-dir", f"{scratch}/run"])
PY
started+=($!)
api() { curl -sS --fail-with-body --unix-socket "$scratch/api.sock" -H 'Content-Type: application/json' "http://assistantd$1" "${@:2}"; }
until_true "the daemon's start" api /api/status
api /api/web/password -X PUT -d "{\"password\":\"$password\"}"

# A request through the proxy; it prints the status.
base=https://$name:$port
ask() { # ask PATH OPTION...
    curl -sS --cacert "$scratch/cert.pem" -o "$scratch/answer" -D "$scratch/head" -w '%{http_code}' "$base$1" "${@:2}"
}
head -c 400M /dev/zero >"$scratch/big.bin"

# everything WHAT: what has to be so behind every proxy.
everything() {
    local what=$1 csrf cookie own=(-u ann:proxy-password -H "Origin: $base")
    check "$what: nothing without the proxy's password" 401 "$(ask /health)"
    check "$what: it is the proxy that asks" 1 "$(grep -ic '^www-authenticate: basic' "$scratch/head")"
    check "$what: with it, what needs no login" 200 "$(ask /health -u ann:proxy-password)"
    check "$what: the proxy's password is no login" 401 "$(ask /api/jobs -u ann:proxy-password)"
    # Caddy has no such site and answers with nothing; nginx passes it on, and the daemon refuses.
    ask /health -u ann:proxy-password -H 'Host: evil.example' >/dev/null
    check "$what: under another name nothing is served" 0 "$(grep -c '"ok"' "$scratch/answer")"
    check "$what: the password logs in" 200 \
        "$(ask /api/login "${own[@]}" -H 'Content-Type: application/json' -d "{\"password\":\"$password\"}")"
    csrf=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["csrf_token"])' "$scratch/answer")
    cookie=$(sed -n 's/^[Ss]et-[Cc]ookie: \(__Host-assistant=[^;]*\);.*Secure.*/\1/p' "$scratch/head" | tr -d '\r')
    own+=(-H "Cookie: $cookie" -H "X-CSRF-Token: $csrf")
    check "$what: the cookie is for HTTPS alone, and lets in" 200 "$(ask /api/jobs "${own[@]}")"

    curl -sSN --max-time 10 --cacert "$scratch/cert.pem" "$base/api/events" "${own[@]}" >"$scratch/events" 2>/dev/null &
    local listener=$!
    sleep 0.5
    api /api/jobs -d '{"subject":"one event","body":"for the stream"}' >/dev/null
    until_true "$what: an event through the proxy" grep -q '^data:' "$scratch/events"
    kill "$listener" 2>/dev/null || true
    wait "$listener" 2>/dev/null || true
    printf '  ok    %s: events arrive while the stream is open\n' "$what"

    check "$what: an upload of 400 MB" 200 \
        "$(ask "/api/workspace/upload?path=big.bin" "${own[@]}" -H 'Expect:' -T "$scratch/big.bin")"
    check "$what: it arrived whole" 419430400 "$(stat -c %s "$scratch/state/workspace/big.bin" 2>/dev/null || echo none)"
    api '/api/workspace/file?path=big.bin' -X DELETE >/dev/null
    rm -rf "$scratch"/state/workspace/.trash/* "$scratch"/state/workspace/big.bin

    # The client's address is what is counted, not the proxy's and not what the client claims.
    local from=127.0.0.$2 one streams=() _
    for one in $(seq "$most"); do
        curl -sSN --cacert "$scratch/cert.pem" -D "$scratch/stream.$one" -o /dev/null "$base/api/events" "${own[@]}" --interface "$from" &
        streams+=($!)
        until_true "$what: stream $one" grep -q ' 200' "$scratch/stream.$one"
    done
    check "$what: a client with $most requests open gets no more" 429 "$(ask /api/jobs "${own[@]}" --interface "$from")"
    check "$what: nor again" 429 "$(ask /api/jobs "${own[@]}" --interface "$from")"
    check "$what: another client does" 200 "$(ask /api/jobs "${own[@]}")"
    kill "${streams[@]}" 2>/dev/null || true
    wait "${streams[@]}" 2>/dev/null || true
    rm "$scratch"/stream.*
    let_in() { [ "$(ask /api/jobs "${own[@]}" --interface "$from")" = 200 ]; }
    until_true "$what: its place when they are closed" let_in
    for _ in 1 2 3 4 5; do
        ask /api/login "${own[@]}" --interface "$from" -H 'X-Forwarded-For: 203.0.113.9' -H 'X-Real-IP: 203.0.113.9' \
            -H 'Content-Type: application/json' -d '{"password":"wrong"}' >/dev/null
    done
    check "$what: after five failures the client waits" 429 \
        "$(ask /api/login "${own[@]}" --interface "$from" -H 'Content-Type: application/json' -d "{\"password\":\"$password\"}")"
    check "$what: another client does not" 200 \
        "$(ask /api/login "${own[@]}" -H 'Content-Type: application/json' -d "{\"password\":\"$password\"}")"
    check "$what: the journal names the client" 1 \
        "$(grep -c "login refused from $from: too many failures" "$scratch/daemon.log")"
}

# nginx_with FILE UPSTREAM: starts it with a file of packaging/proxy, between what Debian's nginx.conf has around it.
nginx_with() {
    sed -e "s#listen 443 ssl#listen 127.0.0.1:$port ssl#" -e "s#assistant\\.example\\.org#$name#" \
        -e "s#/etc/ssl/assistant/#$scratch/#" -e "s#/etc/nginx/assistant.htpasswd#$scratch/htpasswd#" \
        -e "s#server unix:/run/assistant/web.sock;#server $2;#" "packaging/proxy/$1" >"$scratch/site.conf"
    cat >"$scratch/nginx.conf" <<NGINX
daemon off;
worker_processes 1;
pid $scratch/nginx.pid;
events { worker_connections 256; }
http {
    access_log off;
    client_body_temp_path $scratch/tmp-body;
    proxy_temp_path $scratch/tmp-proxy;
    fastcgi_temp_path $scratch/tmp-fastcgi;
    uwsgi_temp_path $scratch/tmp-uwsgi;
    scgi_temp_path $scratch/tmp-scgi;
    include $scratch/site.conf;
}
NGINX
    nginx -e "$scratch/nginx.log" -p "$scratch" -c "$scratch/nginx.conf" 2>>"$scratch/nginx-start.log" &
    proxy=$!
    started+=("$proxy")
    until_true "nginx's start" curl -s --cacert "$scratch/cert.pem" "$base/"
}
end_proxy() {
    kill "$proxy"
    wait "$proxy" 2>/dev/null || true
}

nginx_with nginx.conf "unix:$socket"
everything "nginx, socket" 11
end_proxy
nginx_with nginx.conf "127.0.0.1:$tcp"
everything "nginx, TCP" 12
end_proxy

nginx_with nginx-routes.conf "unix:$socket"
token=$(api /api/tokens -d '{"name":"intake","allow":["POST /api/jobs","GET /api/jobs/{id}"]}' |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["secret"])')
all=$(api /api/tokens -d '{"name":"all","role":"admin"}' | python3 -c 'import json, sys; print(json.load(sys.stdin)["secret"])')
bearer=(-H "Authorization: Bearer $token" -H 'Content-Type: application/json')
check "selected routes: nothing without a token" 401 "$(ask /api/jobs/1)"
check "selected routes: a job with it" 200 "$(ask /api/jobs "${bearer[@]}" -d '{"subject":"s","body":"b"}')"
check "selected routes: its state" 200 "$(ask /api/jobs/1 "${bearer[@]}")"
check "selected routes: no list" 403 "$(ask /api/jobs "${bearer[@]}")"
# What the proxy itself keeps off: large bodies, and more than ten requests in a second after the first twenty.
head -c 1100000 /dev/zero | tr '\0' a >"$scratch/large"
check "selected routes: no body over 1 MB" 413 "$(ask /api/jobs "${bearer[@]}" --data-binary "@$scratch/large")"
check "selected routes: it is the proxy that refuses it" 1 "$(grep -c nginx "$scratch/answer")"
head -c 900000 "$scratch/large" >"$scratch/nearly"
check "selected routes: one of 900 kB gets to the daemon" 422 "$(ask /api/jobs "${bearer[@]}" --data-binary "@$scratch/nearly")"
curl -sS --cacert "$scratch/cert.pem" -o /dev/null -w '%{http_code}\n' "$base/api/jobs/1?[1-60]" "${bearer[@]}" --interface 127.0.0.20 >"$scratch/hasty"
check "selected routes: the first twenty come at once" 1 "$(($(grep -c 200 "$scratch/hasty") >= 21))"
check "selected routes: who asks faster is told to wait" 1 "$(($(grep -c 429 "$scratch/hasty") >= 1))"
check "selected routes: others do not wait for that" 200 "$(ask /api/jobs/1 "${bearer[@]}" --interface 127.0.0.21)"
sleep 1
check "selected routes: after a second it goes on" 200 "$(ask /api/jobs/1 "${bearer[@]}" --interface 127.0.0.20)"
for path in / /admin /login /api /api/status /api/jobs/1/cancel /api/jobs/../status /metrics /openapi.json; do
    check "selected routes: no $path, whoever asks" 404 "$(ask "$path" --path-as-is -H "Authorization: Bearer $all" | sed s/400/404/)"
done
end_proxy

caddy_with() { # caddy_with UPSTREAM
    # bcrypt at its least cost: what `caddy hash-password` makes takes a second for each new request here.
    local hash
    hash=$(perl -e 'print crypt("proxy-password", "\$2b\$04\$abcdefghijklmnopqrstuu")')
    sed -e "s#^assistant\\.example\\.org {#https://$name:$port {\\n\\tbind 127.0.0.1\\n\\ttls $scratch/cert.pem $scratch/key.pem#" \
        -e "s#NAME HASH#ann $hash#" -e "s#unix//run/assistant/web.sock#$1#" packaging/proxy/Caddyfile >"$scratch/site.caddy"
    printf '{\n\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n}\nimport %s/site.caddy\n' "$scratch" >"$scratch/Caddyfile"
    HOME=$scratch/home XDG_DATA_HOME=$scratch/data XDG_CONFIG_HOME=$scratch/config \
        caddy run --config "$scratch/Caddyfile" --adapter caddyfile 2>>"$scratch/caddy.log" &
    proxy=$!
    started+=("$proxy")
    until_true "Caddy's start" curl -s --cacert "$scratch/cert.pem" "$base/"
}
caddy_with "unix/$socket"
everything "Caddy, socket" 13
end_proxy
caddy_with "127.0.0.1:$tcp"
everything "Caddy, TCP" 14
end_proxy

check "the journal tells of clients without a place once a minute, not each time" 1 \
    "$(($(grep -c "has $most connections open" "$scratch/daemon.log") <= 1 + SECONDS / 60))"

# As the journal has them: a line of the daemon is its message, after what says whose it is.
grep -o 'login refused from .*' "$scratch/daemon.log" | sed 's/ *\(target\|address\)=.*//; s/^/Nov 23 00:00:00 host assistantd[1]: /' >"$scratch/journal"
cat >>"$scratch/journal" <<'LINES'
Nov 23 00:00:00 host assistantd[1]: the Host header does not name this daemon path=/login refused from 198.51.100.1: wrong password
Nov 23 00:00:00 host other[1]: login refused from 198.51.100.1: wrong password
Nov 23 00:00:00 host assistantd[1]: logged in
LINES
refused=$(($(wc -l <"$scratch/journal") - 3))
mkdir -p "$scratch/fail2ban/filter.d"
cp /etc/fail2ban/filter.d/common.conf packaging/fail2ban/filter.d/assistant.conf "$scratch/fail2ban/filter.d/"
found=$(fail2ban-regex "$scratch/journal" "$scratch/fail2ban/filter.d/assistant.conf" | sed -n 's/^Lines: .* \([0-9]*\) matched.*/\1/p')
check "fail2ban finds every failure, and nothing that only looks like one" "$refused" "$found"
check "there were failures to find" 1 "$((refused >= 20))"

[ "$failures" = 0 ]
