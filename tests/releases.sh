#!/usr/bin/env bash
# The package as Debian 13 sees it; part of tests/long.sh, as root, with Debian's mirror.
#   tests/releases.sh PACKAGE.deb
# It is installed there, its units are verified and rated by the systemd there, and lintian reads it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. packaging/prerequisites.sh

package=$(realpath "${1:?which package?}")
[ "$(id -u)" = 0 ] || fail "only root can make file systems of other releases"
need_debian mmdebstrap=mmdebstrap
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
    # debhelper of Debian 12, which builds it, lays units below /lib: the same place on every system that is supported.
    chroot "$root" lintian --allow-root --fail-on error,warning --suppress-tags aliased-location /var/tmp/assistant.deb
    # shellcheck disable=SC2016 # for dpkg-query
    say "Debian 13: $(chroot "$root" systemctl --version | head -1), lintian $(chroot "$root" dpkg-query --show --showformat '${Version}' lintian)"
}

in_debian_13
