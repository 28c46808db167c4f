#!/usr/bin/env bash
# Runs a command beside a container engine of its own, which has the image assistant-work:1 (busybox alone) and is gone
# afterwards:   engine.sh COMMAND...
# The engine lives in namespaces of its own, so that it changes nothing of the machine's network. Needs root, dockerd
# (docker.io) and a static busybox (busybox-static).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../../../.."

fail() { printf 'engine.sh: %s\n' "$*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || fail "only root can start a container engine"
for pair in dockerd=docker.io docker=docker.io busybox=busybox-static unshare=util-linux; do
    command -v "${pair%%=*}" >/dev/null || fail "${pair%%=*} is missing: apt install ${pair#*=}"
done

directory=$(mktemp -d /tmp/assistant-engine.XXXXXX)
engine=
stop() {
    if [ -n "$engine" ]; then
        kill "$engine" 2>/dev/null || true
        wait "$engine" 2>/dev/null || true
    fi
    rm -rf "$directory"
}
trap stop EXIT

unshare --net --mount --propagation private dockerd --bridge=none --iptables=false --ip6tables=false \
    --data-root "$directory/data" --exec-root "$directory/exec" --pidfile "$directory/pid" \
    --host "unix://$directory/engine.sock" >"$directory/log" 2>&1 </dev/null &
engine=$!
export DOCKER_HOST=unix://$directory/engine.sock
for _ in $(seq 300); do
    docker version >/dev/null 2>&1 && break
    kill -0 "$engine" 2>/dev/null || fail "dockerd ended: $(tail -3 "$directory/log")"
    sleep 0.1
done
docker version >/dev/null 2>&1 || fail "dockerd does not answer: $(tail -3 "$directory/log")"

mkdir -p "$directory/image/bin" "$directory/image/tmp"
chmod 1777 "$directory/image/tmp"
cp "$(command -v busybox)" "$directory/image/bin/"
tar -C "$directory/image" -c . | docker import - assistant-work:1 >/dev/null

ASSISTANT_TEST_RUNNER=$(bash packaging/build-sandbox.sh --debug)
export ASSISTANT_TEST_RUNNER ASSISTANT_TEST_ENGINE=$directory/engine.sock
"$@"
