#!/usr/bin/env bash
# Runs a command beside a container engine of its own, which has the image assistant-work:1 and is gone afterwards:
#   engine.sh [--image full|small|new] COMMAND...
# `full` is what packaging/build-work-image.sh builds; it is kept below the target directory and built anew when that script
# or the distribution changes. `new` builds it in any case. `small` holds busybox alone, for a quick look.
# The engine lives in namespaces of its own, so that it changes nothing of the machine's network. Needs root, dockerd and
# docker (docker.io), mmdebstrap or, for `small`, a static busybox (busybox-static).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../../../.."

fail() { printf 'engine.sh: %s\n' "$*" >&2; exit 1; }
image=full
if [ "${1:-}" = --image ]; then
    image=${2:-}
    shift 2
fi
case $image in
    full | new) builder=mmdebstrap=mmdebstrap ;;
    small) builder=busybox=busybox-static ;;
    *) fail "--image full, small or new" ;;
esac
[ "$(id -u)" = 0 ] || fail "only root can start a container engine"
for pair in dockerd=docker.io docker=docker.io unshare=util-linux "$builder"; do
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

small_image() {
    mkdir -p "$directory/image/bin" "$directory/image/tmp"
    chmod 1777 "$directory/image/tmp"
    cp "$(command -v busybox)" "$directory/image/bin/"
    for name in $("$directory/image/bin/busybox" --list); do
        ln -s busybox "$directory/image/bin/$name" 2>/dev/null || true
    done
    tar -C "$directory/image" -c . | docker import - assistant-work:1 >/dev/null
}

# As a user does it, but not again for the same script and distribution.
full_image() {
    local kept sum began=$SECONDS
    sum=$(cat packaging/build-work-image.sh /etc/os-release | sha256sum | cut -c 1-16)
    kept=${CARGO_TARGET_DIR:-target}/assistant-work-$sum.tar
    if [ "$image" = full ] && [ -f "$kept" ]; then
        docker load --quiet --input "$kept" >/dev/null
        echo "assistant-work:1 is loaded, in $((SECONDS - began)) s"
        return
    fi
    bash packaging/build-work-image.sh
    rm -f "${CARGO_TARGET_DIR:-target}"/assistant-work-*.tar
    docker save --output "$kept.new" assistant-work:1
    mv "$kept.new" "$kept"
}

case $image in small) small_image ;; *) full_image ;; esac

ASSISTANT_TEST_RUNNER=$(bash packaging/build-sandbox.sh --debug)
cargo build --quiet --locked -p assistant-broker --features docker --bin assistant-docker
export ASSISTANT_TEST_RUNNER ASSISTANT_TEST_ENGINE=$directory/engine.sock
export ASSISTANT_TEST_BROKER=${CARGO_TARGET_DIR:-$PWD/target}/debug/assistant-docker
"$@"
