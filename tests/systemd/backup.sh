# shellcheck shell=bash disable=SC2154 # machine_root is set by machine.sh
# Backups in the booted machine, from the package; sourced by run.sh. Each function is a check, as in checks.sh.

all+=(the_backup_unit_makes_backups a_backup_brings_everything_back)

backups() { inside assistantctl backup list -o json; }
# told JSON PATH: a value of it.
told() { python3 -c 'import json, sys
value = json.load(sys.stdin)
for part in sys.argv[1].split("."):
    value = value[int(part) if part.isdigit() else part]
print(value)' "$1"; }

the_backup_unit_makes_backups() {
    local found
    inside systemctl is-enabled --quiet assistant-backup.timer
    inside systemctl is-active --quiet assistant-backup.timer
    inside systemd-analyze security --no-pager --threshold=13 assistant-backup.service | tail -1
    inside systemctl start assistant-backup.service
    found=$(backups)
    [ "$(told backups.0.kind <<<"$found")" = full ]
    # The timer's backups are restored into a scratch directory, there and as that user.
    [ "$(told backups.0.verified_at <<<"$found")" != None ]
    found=/var/lib/assistant/backups/$(told backups.0.name <<<"$found")
    [ "$(inside stat -c '%U %a' "$found")" = 'assistant 600' ]
    [ "$(inside stat -c '%U %a' /var/lib/assistant/backups)" = 'assistant 700' ]
    inside journalctl --quiet -u assistant-backup.service | grep -q 'restored into a scratch directory and good'
    # The daemon tells of it as well.
    local listed
    listed=$(inside assistantctl query GET /api/backups)
    [ "$(told backups.0.checked_at <<<"$listed")" = "$(told backups.0.verified_at <<<"$listed")" ] || wrong "$listed"
    # Of the members of assistant-users nobody sees them.
    if as_ann assistantctl backup verify "$found" 2>/dev/null; then wrong "ann opens a backup"; fi
    if as_ann assistantctl backup list --state-dir /var/lib/assistant 2>/dev/null; then wrong "ann lists the backups"; fi
    # It has neither a network nor more than its own places.
    found=$(inside systemctl show -p PrivateNetwork,ProtectSystem,CapabilityBoundingSet assistant-backup.service)
    [[ $found == *PrivateNetwork=yes* && $found == *ProtectSystem=strict* && $found == *CapabilityBoundingSet=$'\n'* \
        || $found == *CapabilityBoundingSet= ]] || wrong "$found"
}

a_backup_brings_everything_back() {
    local made name before after
    # What commands leave in units, under users of their own.
    run bash -c 'umask 077; mkdir -p left/shut; echo one >left/shut/file; ln left/shut/file left/linked
        echo two >left/closed; chmod 000 left/closed; ln -s /etc/shadow left/out; mkfifo left/pipe'
    before=$(inside sh -c "cd $workspace/left && find . -type f -exec sha256sum {} + | sort; readlink out")
    # A session may still be there; its files are the daemon's when it has ended.
    settles 10 no_sessions
    made=$(inside assistantctl backup create --verify -o json)
    [ "$(told contents.skipped <<<"$made")" = 1 ] || wrong "$made" # the pipe
    name=$(told path <<<"$made")
    # A daemon that runs keeps its state.
    if inside assistantctl backup restore "$name" --force 2>/dev/null; then wrong "it is in use"; fi
    inside rm -rf "$workspace/left"
    inside systemctl stop assistantd.socket assistantd.service assistant-sandbox.socket
    inside assistantctl backup restore "$name" --force
    inside systemctl start assistant-sandbox.socket assistantd.socket assistantd.service
    after=$(inside sh -c "cd $workspace/left && find . -type f -exec sha256sum {} + | sort; readlink out")
    [ "$before" = "$after" ] || wrong "$before" "$after"
    [ "$(inside stat -c '%U %G' "$workspace/left/shut/file" | uniq)" = 'assistant assistant-work' ]
    [ "$(inside stat -c '%U %G %a' "$workspace")" = 'assistant assistant-work 770' ]
    [ "$(inside stat -c '%h' "$workspace/left/linked")" = 2 ]
    # Nothing is worked on before somebody says so.
    inside assistantctl status -o json | grep -q '"by": *"restore of a backup"'
    inside assistantctl resume
    # Commands go on in what came back, and the daemon erases it.
    [ "$(run cat left/shut/file)" = one ]
    as_ann assistantctl files rm left
    inside sh -c 'rm -r /var/lib/assistant/replaced-*'
}
