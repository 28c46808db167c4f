# shellcheck shell=bash disable=SC2034 # what is set here is for whoever sources it
# A throw-away Debian with systemd as its first process, whatever the first process of this machine is. Sourced.
#
#   machine_system            makes its file system, once for all runs; sets $machine_system
#   machine_boot CGROUPS [COMMANDS]
#                             boots a copy of it; sets $machine_root, by which its files are reached from here. It finds the
#                             files of ${machine_carried[@]} in its /var/tmp; commands are run before systemd is there
#   machine_reboot            has it reboot, with all that was written, and waits for it
#   machine_stop              ends it, and everything that it has written is gone
#   inside COMMAND...         runs a command in it as root
#
# It has namespaces of its own for everything, a network of only `lo`, and lives in one control group. CGROUPS is `unified`
# or `hybrid`; bounds hold only where this machine's controllers are: machine_cgroups says which.

machine_packages=systemd,systemd-sysv,dbus,libpam-systemd,libnss-systemd,iproute2,procps,adduser,ca-certificates,tzdata,git,make,python3,libfaketime,autopkgtest,dpkg-dev,pandoc,poppler-utils,fail2ban,python3-systemd,iptables
machine_supervisor='' machine_init='' machine_scratch='' machine_root='' machine_carried=()

machine_fail() { printf 'machine: %s\n' "$*" >&2; return 1; }

# Why none can be booted here; nothing if one can.
machine_obstacle() {
    if [ "$(id -u)" != 0 ]; then
        echo "only root can boot a system"
    elif ! unshare --pid --mount --uts --ipc --net --cgroup --fork true 2>/dev/null; then
        echo "namespaces cannot be made here"
    elif [ -z "$(findmnt --noheadings --raw --types cgroup2 --output TARGET)" ]; then
        echo "no second version of control groups is mounted here"
    elif [ -z "$(machine_cgroups)" ]; then
        echo "no control groups are here that bound memory"
    elif ! grep -qw overlay /proc/filesystems && ! modprobe overlay 2>/dev/null; then
        echo "the kernel has no overlayfs"
    fi
}

# The kind of control groups with which a booted system can bound anything here.
machine_cgroups() {
    local unified
    unified=$(findmnt --noheadings --raw --types cgroup2 --output TARGET | head -1)
    if grep -qw memory "$unified/cgroup.controllers"; then
        echo unified
    elif findmnt --noheadings --raw --types cgroup --output FS-OPTIONS | grep -qw memory; then
        echo hybrid
    fi
}

machine_system() {
    local suite name made sources=() file unit
    suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    # What makes it goes into its name, so that a change of that makes another one.
    name=$({ echo "$suite $machine_packages"; declare -f machine_system; } | sha256sum | cut -c1-12)
    machine_system=${XDG_CACHE_HOME:-$HOME/.cache}/assistant-systemd-$suite-$name
    mkdir -p "${machine_system%/*}"
    exec 8>"$machine_system.lock"
    flock 8
    if [ ! -d "$machine_system" ]; then
        for file in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list; do
            [ ! -s "$file" ] || sources+=("$file")
        done
        made=$machine_system.making
        rm -rf "$made"
        if ! mmdebstrap --quiet --mode=root --variant=minbase --include="$machine_packages" \
            --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Languages "none"' \
            --dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/man/*' \
            --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
            "$suite" "$made" "${sources[@]}" >"$machine_system.log" 2>&1; then
            tail -5 "$machine_system.log" >&2
            rm -rf "$made"
            exec 8>&-
            machine_fail "the file system cannot be made; $machine_system.log says more"
            return 1
        fi
        : >"$made/etc/machine-id"
        echo machine >"$made/etc/hostname"
        printf '127.0.0.1 localhost machine\n::1 localhost\n' >"$made/etc/hosts"
        rm -f "$made/usr/sbin/policy-rc.d"
        # Kernel settings and formats of programs are those of this machine, which nobody here changes.
        for unit in systemd-sysctl.service systemd-binfmt.service apt-daily.timer apt-daily-upgrade.timer \
            e2scrub_all.timer fstrim.timer dpkg-db-backup.timer console-getty.service getty.target; do
            ln -sf /dev/null "$made/etc/systemd/system/$unit"
        done
        # Its jail for SSH does not start without a server of SSH; who tests it starts it.
        rm -f "$made/etc/systemd/system/multi-user.target.wants/fail2ban.service"
        mv "$made" "$machine_system"
    fi
    exec 8>&-
}

# The directories of the machine's control group, one in each hierarchy that it takes part in.
machine_groups() {
    local kind=$1 parent
    [ "$kind" = unified ] || findmnt --noheadings --raw --types cgroup --output TARGET
    parent=$(findmnt --noheadings --raw --types cgroup2 --output TARGET | head -1)
    echo "$parent"
}

machine_boot() {
    local kind=$1 parent controller directory here
    here=$(dirname "${BASH_SOURCE[0]}")
    [ -z "$machine_supervisor" ] || { machine_fail "one is running"; return 1; }
    machine_scratch=$(mktemp -d /tmp/assistant-machine.XXXXXX)
    machine_name=${machine_scratch##*/}
    for parent in $(machine_groups "$kind"); do
        rmdir "$parent"/assistant-machine.* 2>/dev/null || true
        mkdir "$parent/$machine_name"
        [ ! -e "$parent/cpuset.cpus" ] || cat "$parent/cpuset.cpus" >"$parent/$machine_name/cpuset.cpus"
        [ ! -e "$parent/cpuset.mems" ] || cat "$parent/cpuset.mems" >"$parent/$machine_name/cpuset.mems"
    done
    # Who starts the system must not be in a group that gets children with controllers.
    mkdir "$parent/$machine_name/system"
    for controller in cpu memory pids io; do
        for directory in "$parent" "$parent/$machine_name"; do
            echo "+$controller" >"$directory/cgroup.subtree_control" 2>/dev/null || true
        done
    done
    mkdir "$machine_scratch/carried"
    [ ${#machine_carried[@]} = 0 ] || cp "${machine_carried[@]}" "$machine_scratch/carried/"
    [ -z "${2:-}" ] || printf '%s\n' "$2" >"$machine_scratch/first"
    # Whatever becomes of this shell, the machine goes with it.
    setpriv --pdeathsig SIGKILL bash "$here/init.sh" outside "$kind" "$machine_system" "$machine_scratch" \
        </dev/null >"$machine_scratch/console" 2>&1 8>&- &
    machine_supervisor=$!
    machine_await ''
}

# The only child of a process; nothing while there is none.
machine_child() { tr -d ' \n' 2>/dev/null <"/proc/$1/task/$1/children" || true; }

# machine_await BEFORE: waits until it has come up with another first process than that.
machine_await() {
    local before=$1 state='' begun launcher
    begun=$(date +%s%N)
    for _ in $(seq 600); do
        kill -0 "$machine_supervisor" 2>/dev/null || break
        # The supervisor's child makes the namespaces, and the child of that is the first process of the machine.
        launcher=$(machine_child "$machine_supervisor")
        machine_init=${launcher:+$(machine_child "$launcher")}
        if [ -n "$machine_init" ] && [ "$machine_init" != "$before" ]; then
            state=$(inside systemctl is-system-running 2>/dev/null) || true
            case $state in running | degraded) break ;; esac
        fi
        sleep 0.05
    done
    case $state in
        running | degraded) ;;
        *)
            tail -20 "$machine_scratch/console" >&2
            machine_fail "it did not come up: ${state:-no answer}"
            return 1
            ;;
    esac
    machine_root=/proc/$machine_init/root
    printf 'booted in %d ms (%s)\n' $((($(date +%s%N) - begun) / 1000000)) "$state"
    if [ "$state" = degraded ]; then inside systemctl --failed --no-legend --plain || true; fi
}

machine_reboot() {
    local before=$machine_init
    kill -s RTMIN+5 "$before" # reboot.target
    machine_await "$before"
}

inside() {
    nsenter --target "$machine_init" --mount --uts --ipc --net --pid --cgroup --root --wd \
        env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM=dumb \
        SYSTEMD_PAGER='' SYSTEMD_COLORS=0 DEBIAN_FRONTEND=noninteractive "$@"
}

machine_stop() {
    local parent
    if [ -n "$machine_supervisor" ]; then
        [ -z "$machine_init" ] || kill -s RTMIN+4 "$machine_init" 2>/dev/null || true # poweroff.target
        for _ in $(seq 200); do
            kill -0 "$machine_supervisor" 2>/dev/null || break
            sleep 0.05
        done
        # Its first process goes with it, and all others with that.
        kill -KILL "$machine_supervisor" 2>/dev/null || true
        wait "$machine_supervisor" 2>/dev/null || true
    fi
    if [ -n "$machine_scratch" ]; then
        for parent in $(machine_groups hybrid); do
            for _ in 1 2 3 4 5; do
                [ -d "$parent/$machine_name" ] || break
                find "$parent/$machine_name" -depth -type d -exec rmdir {} \; 2>/dev/null || true
                [ ! -d "$parent/$machine_name" ] || sleep 0.2
            done
        done
        rm -rf "$machine_scratch"
    fi
    machine_supervisor='' machine_init='' machine_scratch='' machine_root=''
}
