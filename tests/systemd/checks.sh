# shellcheck shell=bash disable=SC2034,SC2154 # what is set here is for whoever sources it, and machine_root is set by machine.sh
# What must hold on a host with systemd; sourced by run.sh, with a machine booted and everything installed in it.
# Each function is a check: its first command that fails, or `wrong`, ends it. `all` has them in their order.

all=(units_are_sound who_may_use_the_socket doctor_says_what_is)

wrong() { printf '%s\n' "$*" >&2; exit 1; }

# A user of the API, and one who is none.
as_ann() { inside runuser -u ann -- "$@"; }
as_bob() { inside runuser -u bob -- "$@"; }
as_daemon() { inside runuser -u assistant -- "$@"; }
run() { as_ann assistantctl sandbox run -- "$@"; }

workspace=/var/lib/assistant/workspace
tools=/usr/lib/assistant

# settles SECONDS COMMAND...: asks again until it is so.
settles() {
    local until=$((SECONDS + $1))
    shift
    while ! "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$until" ] || wrong "not within its time: $*"
        sleep 0.1
    done
}

no_sessions() { [ -z "$(inside systemctl list-units --plain --no-legend 'assistant-sandbox@*')" ]; }
nobody_runs() { ! inside pgrep -f "$1"; }
is_ready() { as_ann assistantctl status; }

# configure TEXT: the rest of the configuration, and a reload.
configure() {
    printf '%s\n' "$1" >"$machine_root/etc/assistant/conf.d/50-check.toml"
    inside systemctl reload assistantd.service
}

units_are_sound() {
    local said
    said=$(inside bash -c 'systemd-analyze verify /usr/lib/systemd/system/assistant*' 2>&1 | grep -v "Command 'man" || true)
    [ -z "$said" ] || wrong "$said"
    inside systemd-analyze security --no-pager --threshold=5 assistant-sandbox@1.service >/dev/null
    inside systemd-analyze security --no-pager --threshold=13 assistantd.service >/dev/null
    inside systemd-analyze security --no-pager --threshold=13 assistant-egress.service >/dev/null
    # Nothing of the service may do what only a container engine or root could undo.
    ! grep -hE '^(SupplementaryGroups|Group)=.*(docker|root)|^(Ambient|Bounding).*=CAP_' \
        "$machine_root"/usr/lib/systemd/system/assistant*.service || wrong "a unit has too much"
}

who_may_use_the_socket() {
    as_ann assistantctl status >/dev/null
    as_bob assistantctl status && wrong "a stranger reached the API"
    [ "$(inside stat -c '%U:%G %a' /run/assistant/api.sock)" = "root:assistant-users 660" ] || wrong "the socket's mode"
    inside systemctl restart assistantd.service
    as_ann assistantctl status >/dev/null
    [ "$(inside stat -c '%U:%G %a' /run/assistant/api.sock)" = "root:assistant-users 660" ] || wrong "after a restart"
}

doctor_says_what_is() {
    as_ann assistantctl doctor | tee /dev/stderr | grep -qiE 'sandbox.*unit' || wrong "doctor does not name the backend"
}
