#!/usr/bin/env bash
# Builds the image in which commands of the level `container` run, from the packages of this distribution; no image is
# fetched from anywhere.
#   build-work-image.sh [NAME]     NAME is assistant-work:1 unless given
# ASSISTANT_WORK_PACKAGES names the packages; DOCKER_HOST the engine, as for docker itself.
set -euo pipefail

name=${1:-assistant-work:1}
packages=${ASSISTANT_WORK_PACKAGES:-bash ca-certificates coreutils curl file findutils gawk gcc git grep jq less libc6-dev
    make nodejs patch procps python3 python3-pip python3-venv ripgrep sed tar tzdata unzip xz-utils zip}

fail() { printf 'build-work-image: %s\n' "$*" >&2; exit 1; }

case $name in
    -*) fail "usage: build-work-image.sh [NAME]" ;;
    *:*) ;;
    *) fail "$name: give the name with a tag, such as assistant-work:1" ;;
esac
for pair in mmdebstrap=mmdebstrap docker=docker.io; do
    command -v "${pair%%=*}" >/dev/null || fail "${pair%%=*} is missing: apt install ${pair#*=}"
done
docker version >/dev/null 2>&1 || fail "the container engine does not answer: start it, and be root or in the group docker"
# shellcheck source=/dev/null
suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
[ -n "$suite" ] || fail "/etc/os-release does not name a suite (VERSION_CODENAME)"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
began=$SECONDS
# /tmp and the mount points of the container template; everything else of the root is read-only when it runs. While a hook
# runs, the root's /dev, /proc and /sys are the machine's.
# shellcheck disable=SC2016 # mmdebstrap expands $1 in its hooks
mmdebstrap --quiet --variant=minbase --include="$(tr -s ' \n' ',' <<<"$packages" | sed 's/,$//')" \
    --customize-hook='mkdir -p "$1/workspace" "$1/assistant-session" && chmod 1777 "$1/tmp" && touch "$1/assistant-sandbox"' \
    --customize-hook='rm -f "$1/etc/fstab"; for at in boot root srv var/backups var/log; do find "$1/$at" -mindepth 1 -delete; done' \
    --customize-hook='find "$1" -path "$1/dev" -prune -o -path "$1/proc" -prune -o -path "$1/sys" -prune -o -perm /6000 -type f -exec chmod ug-s {} +' \
    "$suite" "$scratch/root.tar"
docker import --change 'CMD ["/bin/false"]' "$scratch/root.tar" "$name" >/dev/null
size=$(docker image inspect --format '{{.Size}}' "$name" | awk '{ printf "%.0f MB", $1 / 1e6 }')
echo "$name is built: $size, in $((SECONDS - began)) s"
