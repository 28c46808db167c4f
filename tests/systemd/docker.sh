# shellcheck shell=bash disable=SC2154 # machine_root is set by machine.sh
# What the package assistant-docker promises, before a real engine in the booted machine; sourced by run.sh.
# Each function is a check, as in checks.sh; they build on each other.

all+=(the_docker_package_installs the_broker_sees_nothing_else commands_run_in_containers
    containers_go_with_the_broker the_docker_package_is_purged)

# The engine's packages, which the machine without a network cannot fetch: once, for machines made from the same system.
engine_packages() {
    local kept=$machine_system.docker
    if [ ! -d "$kept" ]; then
        mkdir -p "$kept.new/partial"
        apt-get -qq -y --no-install-recommends --download-only -o Debug::NoLocking=1 \
            -o "Dir::State::status=$machine_system/var/lib/dpkg/status" -o "Dir::Cache::archives=$kept.new" \
            install docker.io
        rm -rf "$kept.new/partial"
        mv "$kept.new" "$kept"
    fi
    cp -r "$kept" "$machine_root/var/tmp/engine"
}

# An image that holds a shell and its usual commands.
small_image() {
    local root name
    root=$(mktemp -d /dev/shm/assistant-image.XXXXXX)
    mkdir -p "$root/bin" "$root/tmp" "$root/workspace" "$root/assistant-session"
    chmod 1777 "$root/tmp"
    touch "$root/assistant-sandbox"
    cp "$(command -v busybox)" "$root/bin/busybox"
    for name in $("$root/bin/busybox" --list); do
        ln -s busybox "$root/bin/$name" 2>/dev/null || true
    done
    tar -C "$root" -c . | inside docker import - assistant-work:1
    rm -rf "$root"
}

# of_process PID FIELD: of what the kernel says of it.
of_process() { sed -n "s/^$2:[[:space:]]*//p" "$machine_root/proc/$1/status"; }
broker() { inside systemctl show --property "$1" --value assistant-docker.service; }
containers() { inside docker ps --all --quiet --filter label=assistant.docker; }
no_containers() { [ -z "$(containers)" ]; }

the_docker_package_installs() {
    need_debian busybox=busybox-static
    engine_packages
    # No link and no rule of the network is needed, for containers have none. Layers do not lie on the machine's own.
    mkdir -p "$machine_root/etc/docker"
    echo '{"bridge": "none", "iptables": false, "ip6tables": false}' >"$machine_root/etc/docker/daemon.json"
    inside sh -ec 'mkdir -p /var/lib/docker; mount -t tmpfs tmpfs /var/lib/docker'
    install "$CARGO_TARGET_DIR"/deb/assistant-docker_*.deb "$machine_root/var/tmp/engine/"
    inside sh -ec 'apt-get install --quiet --yes --no-install-recommends /var/tmp/engine/*.deb'
    inside systemctl is-active docker.service
    for unit in assistant-docker.socket assistant-docker.service; do
        [ "$(inside systemctl is-enabled "$unit") $(inside systemctl is-active "$unit")" = "enabled active" ] || wrong "$unit"
    done
    small_image
    local said
    said=$(inside bash -c 'systemd-analyze verify /usr/lib/systemd/system/assistant-docker*' 2>&1 | grep -v "Command 'man" || true)
    [ -z "$said" ] || wrong "$said"
    said=$(inside systemd-analyze security --no-pager --threshold=13 assistant-docker.service | tail -1)
    echo "figure: ${said#*Overall }"
}

# The engine's group, and with it its socket, is this process's alone; of the assistant it sees its own configuration.
the_broker_sees_nothing_else() {
    local pid docker own unit user hidden group set
    pid=$(broker MainPID)
    docker=$(inside getent group docker | cut -d: -f3)
    own=$(of_process "$pid" Gid | cut -f 1)
    [ "$own" -ge 61184 ] || wrong "it runs as $own"
    for group in $(of_process "$pid" Groups); do
        [ "$group" = "$docker" ] || [ "$group" = "$own" ] || wrong "it is in the group $group"
    done
    for set in CapInh CapPrm CapEff CapBnd CapAmb; do
        [ "$(of_process "$pid" $set)" = 0000000000000000 ] || wrong "it has capabilities"
    done
    in_broker() { inside nsenter --target "$pid" --mount --setuid "$own" --setgid "$own" -- "$@"; }
    for hidden in /run/assistant /run/assistantd /run/assistant-sandbox /run/assistant-egress /var/lib/assistant; do
        in_broker ls "$hidden" && wrong "it sees $hidden"
    done
    [ "$(in_broker ls /etc/assistant)" = docker.toml ] || wrong "it sees more of /etc/assistant"
    in_broker cat /etc/assistant/docker.toml >/dev/null
    for hidden in /etc /usr /run /etc/assistant; do
        in_broker touch "$hidden/x" && wrong "it writes $hidden"
    done
    # Nobody else of the assistant: neither by a unit nor by membership.
    for unit in $(inside dpkg -L assistant | grep '/systemd/system/assistant'); do
        ! grep -E 'docker' "$machine_root$unit" || wrong "$unit"
    done
    inside id assistant | grep docker && wrong "the daemon's user is in the group"
    [ "$(inside stat -c '%U:%G %a' /run/assistant-docker/run.sock)" = "assistant:assistant 600" ] || wrong "the socket's mode"
    for user in ann bob; do
        inside runuser -u "$user" -- python3 -c 'import socket
socket.socket(socket.AF_UNIX).connect("/run/assistant-docker/run.sock")' && wrong "$user reached the broker"
    done
    true
}

commands_run_in_containers() {
    configure '[sandbox]
level = "container"
memory = "256MiB"'
    local said code=0
    said=$(run sh -c 'id -u; echo kept > kept; test -f /.dockerenv && test ! -e /usr && echo inside')
    [ "$said" = "$(inside id -u assistant)
inside" ] || wrong "$said"
    [ "$(inside stat -c '%U:%G' "$workspace/kept")" = assistant:assistant-work ] || wrong "whose is what it left"
    run sh -c 'exit 7' || code=$?
    [ "$code" = 7 ] || wrong "exit code $code"
    run sh -c 'touch /x || touch .assistant/x' && wrong "it wrote outside of the workspace"
    run wget -q -T 2 -O - http://93.184.216.34/ && wrong "it has a network"
    as_ann assistantctl status | grep -q 'backend docker' || wrong "$(as_ann assistantctl status)"
    settles 5 no_containers
    # The docker backend is the last resort: at the usual level a unit is taken.
    configure ''
    run true
    as_ann assistantctl status | grep -q 'backend unit' || wrong "$(as_ann assistantctl status)"
}

containers_go_with_the_broker() {
    configure '[sandbox]
level = "container"
memory = "256MiB"'
    run sh -c 'touch up; sleep 1000' >/dev/null 2>&1 &
    settles 10 inside test -e "$workspace/up"
    [ -n "$(containers)" ] || wrong "it runs elsewhere"
    inside systemctl kill --signal SIGKILL assistant-docker.service
    wait $! && wrong "the command went on"
    settles 5 no_containers
    # What nobody has removed goes when the next one starts, which systemd does.
    settles 10 inside systemctl is-active assistant-docker.service
    inside docker run --detach --network none --label assistant.docker=/run/assistant-docker-sessions assistant-work:1 sleep 1000
    inside systemctl restart assistant-docker.service
    settles 10 no_containers
    run true
    settles 5 no_containers
    [ -z "$(inside pgrep -f containerd-shim)" ] || wrong "processes of the engine are left: $(inside pgrep -af containerd-shim)"
}

the_docker_package_is_purged() {
    inside apt-get purge --quiet --yes assistant-docker
    for left in /etc/assistant/docker.toml /run/assistant-docker /run/assistant-docker-sessions /usr/lib/assistant/assistant-docker; do
        [ ! -e "$machine_root$left" ] || wrong "$left is left"
    done
    [ -z "$(inside systemctl list-unit-files --no-legend 'assistant-docker*')" ] || wrong "a unit is left"
    inside systemctl is-active docker.service assistantd.service
    # The daemon says what is missing, and goes on with everything else.
    local said
    said=$(run true 2>&1) && wrong "it ran"
    grep -q 'assistant-docker' <<<"$said" || wrong "$said"
    configure ''
    run true
    as_ann assistantctl status | grep -q 'backend unit' || wrong "$(as_ann assistantctl status)"
}
