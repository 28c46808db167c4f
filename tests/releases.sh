#!/usr/bin/env bash
# The packages as Debian sees them; part of tests/long.sh, as root, with Debian's mirror.
#   tests/releases.sh PACKAGE.deb [OTHER.deb...]
# The first one is installed in Debian 13, its units are verified and rated by the systemd there, and lintian reads it. In
# Debian 12 piuparts installs, removes and purges all of them, and looks at what is left.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. packaging/prerequisites.sh

package=$(realpath "${1:?which package?}")
packages=("$@")
[ "$(id -u)" = 0 ] || fail "only root can make file systems of other releases"
need_debian mmdebstrap=mmdebstrap piuparts=piuparts
scratch=$(mktemp -d /tmp/assistant-releases.XXXXXX)
trap 'rm -rf "$scratch"' EXIT

make_system() {
    mmdebstrap --quiet --mode=root --variant=minbase --include="$2" --aptopt='APT::Install-Recommends "false"' \
        --dpkgopt=force-unsafe-io "$1" "$3"
}

in_debian_13() {
    local root=$scratch/trixie said unit most
    make_system trixie systemd,systemd-sysv,adduser,lintian "$root"
    cp "$package" "$root/var/tmp/assistant.deb"
    chroot "$root" sh -ec 'apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends /var/tmp/assistant.deb' \
        >"$scratch/log" 2>&1 || { tail -20 "$scratch/log"; fail "it cannot be installed in Debian 13"; }
    said=$(chroot "$root" sh -c 'systemd-analyze verify --man=no /usr/lib/systemd/system/assistant*' 2>&1) || fail "$said"
    [ -z "$said" ] || fail "systemd-analyze verify says: $said"
    while read -r unit most; do
        chroot "$root" systemd-analyze security --offline=true --no-pager --threshold="$most" "/usr/lib/systemd/system/$unit" |
            tail -1
    done <<'UNITS'
assistantd.service 13
assistant-sandbox@.service 5
assistant-egress.service 13
UNITS
    chroot "$root" lintian --allow-root --fail-on error,warning /var/tmp/assistant.deb
    # shellcheck disable=SC2016 # for dpkg-query
    say "Debian 13: $(chroot "$root" systemctl --version | head -1), lintian $(chroot "$root" dpkg-query --show --showformat '${Version}' lintian)"
}

# With what they depend on: what that leaves behind when it goes is not theirs.
leave_nothing() {
    local root=$scratch/bookworm
    make_system bookworm adduser,systemd "$root"
    chroot "$root" systemd-tmpfiles --create >/dev/null 2>&1 || true # not all of it can be done in a chroot
    piuparts --existing-chroot="$root" --distribution=bookworm --keep-sources-list --no-eatmydata "${packages[@]}" \
        >"$scratch/log" 2>&1 || { grep -A12 -E 'ERROR|FAIL' "$scratch/log"; fail "piuparts is not content"; }
    say "piuparts $(piuparts --version | sed 's/.* //'): $(grep -o 'PASS: .*' "$scratch/log" | paste -sd ' ')"
}

in_debian_13
leave_nothing
