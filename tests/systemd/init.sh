#!/usr/bin/env bash
# Starts systemd as the first process of namespaces of its own; called by machine.sh alone.
#   init.sh outside KIND SYSTEM SCRATCH     joins the control groups and becomes the supervisor
#   init.sh around KIND SYSTEM SCRATCH      the supervisor: has what the machine writes, and boots it again when it reboots
#   init.sh inside KIND SYSTEM SCRATCH      puts the file system of the machine together and becomes its first process
# What SCRATCH/carried holds is in its /var/tmp, and the commands of SCRATCH/first are run in it before systemd is there.
set -euo pipefail
stage=$1 kind=$2 system=$3 scratch=$4
name=${scratch##*/}
here=$(cd "$(dirname "$0")" && pwd)
unified=$(findmnt --noheadings --raw --types cgroup2 --output TARGET | head -1)

if [ "$stage" = outside ]; then
    echo $$ >"$unified/$name/system/cgroup.procs"
    if [ "$kind" = hybrid ]; then
        for parent in $(findmnt --noheadings --raw --types cgroup --output TARGET); do
            echo $$ >"$parent/$name/cgroup.procs"
        done
    fi
    exec unshare --mount --propagation private bash "$here/init.sh" around "$kind" "$system" "$scratch"
fi

if [ "$stage" = around ]; then
    # All that is written lies in memory and goes with the namespace.
    mkdir "$scratch/memory"
    mount -t tmpfs -o mode=755 tmpfs "$scratch/memory"
    cd "$scratch/memory"
    mkdir lower upper root
    mount --bind "$system" lower
    while true; do
        status=0
        rm -rf work
        mkdir work
        setpriv --pdeathsig SIGKILL unshare --pid --mount --uts --ipc --net --cgroup --fork \
            --kill-child=SIGKILL --propagation private bash "$here/init.sh" inside "$kind" "$system" "$scratch" || status=$?
        rm -f "$scratch/first"
        # Of a machine that ends, the kernel says how: this is a reboot.
        [ "$status" = $((128 + 1)) ] || exit "$status"
        find "$unified/$name/system" -mindepth 1 -depth -type d -exec rmdir {} \; 2>/dev/null || true
    done
fi

# The hierarchies of version 1 as they are mounted outside: the last part of the place, and the options that name them.
hierarchies() {
    findmnt --noheadings --raw --types cgroup --output TARGET,FS-OPTIONS | while read -r target options; do
        chosen=
        for option in ${options//,/ }; do
            case $option in
                rw | ro | xattr | release_agent=*) ;;
                name=*) chosen=none,$option ;;
                *) chosen=${chosen:+$chosen,}$option ;;
            esac
        done
        echo "${target##*/} $chosen"
    done
}
groups=$(hierarchies)

cd "$scratch/memory"
first=$(cat "$scratch/first" 2>/dev/null || true)
mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay root
cd root
cp -r "$scratch/carried/." var/tmp/
mount -t proc -o nosuid,nodev,noexec proc proc
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs run
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs tmp
mount -t tmpfs -o mode=755,nosuid tmpfs dev
for device in null zero full random urandom tty; do
    : >"dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr
if [ "$kind" = unified ]; then
    mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 sys/fs/cgroup
else
    mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
    while read -r hierarchy options; do
        mkdir "sys/fs/cgroup/$hierarchy"
        mount -t cgroup -o "$options" cgroup "sys/fs/cgroup/$hierarchy"
    done <<<"$groups"
    mkdir sys/fs/cgroup/unified
    mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 sys/fs/cgroup/unified
fi
ip link set lo up
hostname machine
mkdir run/outside
pivot_root . run/outside
umount -l /run/outside
rmdir /run/outside
# systemd leaves this to whoever starts it in namespaces; without it credentials never arrive in a unit.
mount --make-rshared /
if [ -n "$first" ]; then
    env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
        DEBIAN_FRONTEND=noninteractive sh -ec "$first"
fi
exec env -i container=other PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
    /lib/systemd/systemd --system
