# shellcheck shell=bash disable=SC2154 # machine_root and others are set by machine.sh and checks.sh
# What `assistantctl doctor` finds in a booted machine, and that the command it prints mends it; what the journal is told.
# Sourced by run.sh after checks.sh. Each function is a check, as there.

all+=(a_removed_group_is_found_and_mended a_drop_in_that_weakens_is_found_and_mended
    s6_an_open_state_directory_is_found_and_mended a_wrong_credential_is_found_and_mended
    modes_of_files_are_found_and_mended a_disk_nearly_full_is_found_and_mended a_damaged_database_is_found_and_mended
    a_model_out_of_reach_is_found a_stopped_service_is_found_and_mended variables_of_the_service_are_looked_at the_catalog_is_complete
    the_journal_has_fields)

# mend_of NAME VERDICT TEXT: the command that doctor prints for what it found.
mend_of() {
    inside assistantctl doctor --json >"$machine_root/var/tmp/doctor.json" || true
    python3 - "$machine_root/var/tmp/doctor.json" "$@" <<'PYTHON'
import json, sys
found = json.load(open(sys.argv[1]))["findings"]
name, verdict, text = sys.argv[2:]
for one in found:
    if one["name"] == name and one["verdict"] == verdict and text in one["text"]:
        print(one["mend"])
        break
else:
    sys.exit(f"{name} {verdict} {text!r} is missing in {json.dumps(found, indent=1)}")
PYTHON
}

# To root, whatever became of the groups.
answers() { inside assistantctl status; }

# mends NAME VERDICT TEXT: finds it, runs the printed command, and it is found no more.
mends() {
    local command
    command=$(mend_of "$@")
    echo "$command"
    # There is no sudo, and root runs it.
    printf 'sk-a-secret-that-is-long-enough\n' | inside bash -ec "sudo() { \"\$@\"; }; $command"
    settles 20 answers
    ! mend_of "$@" 2>/dev/null || wrong "it is still found: $*"
}

# Nothing that doctor finds is an error.
is_well() {
    inside assistantctl doctor --json >"$machine_root/var/tmp/doctor.json" || {
        cat "$machine_root/var/tmp/doctor.json"
        wrong "doctor ends with an error"
    }
}

# Called by run.sh before anything is configured.
doctor_is_well_on_a_fresh_host() {
    is_well
    ! grep -q '"verdict": "error"' "$machine_root/var/tmp/doctor.json"
    inside assistantctl doctor
}

a_removed_group_is_found_and_mended() {
    is_well
    inside groupdel assistant-users
    mends groups error "the group assistant-users is missing"
    inside gpasswd -a ann assistant-users
    as_ann assistantctl status >/dev/null
    is_well
}

a_drop_in_that_weakens_is_found_and_mended() {
    local dropped=$machine_root/etc/systemd/system/assistantd.service.d
    inside groupadd -f docker
    mkdir -p "$dropped"
    printf '[Service]\nMemoryHigh=1G\nSupplementaryGroups=docker\n' >"$dropped/x.conf"
    inside sh -ec 'systemctl daemon-reload; systemctl restart assistantd.service'
    mends drop-ins error "SupplementaryGroups=docker"
    ! inside systemctl show --property=SupplementaryGroups assistantd.service | grep docker || wrong "it still has the group"
    # What weakens nothing stays.
    inside systemctl show --property=MemoryHigh assistantd.service | grep -qx MemoryHigh=1073741824
    rm "$dropped/x.conf"
    inside sh -ec 'groupdel docker; systemctl daemon-reload; systemctl restart assistantd.service'
    is_well
}

s6_an_open_state_directory_is_found_and_mended() {
    inside chmod 0755 /var/lib/assistant
    as_ann assistantctl status | grep -q 'the state directory has mode 0755' || wrong "the status does not say it"
    mends state warning "the state directory has mode 0755"
    ! as_ann assistantctl status | grep -q 'has mode 0755' || wrong "the status still says it"
}

a_wrong_credential_is_found_and_mended() {
    install -d -m 700 "$machine_root/etc/credstore.encrypted"
    echo nonsense >"$machine_root/etc/credstore.encrypted/anthropic-api-key"
    chmod 600 "$machine_root/etc/credstore.encrypted/anthropic-api-key"
    ! inside systemctl restart assistantd.service || wrong "it starts with a credential that cannot be decrypted"
    mends credentials error "the credential anthropic-api-key cannot be decrypted"
    is_well
}

modes_of_files_are_found_and_mended() {
    inside chmod 0644 /var/lib/assistant/assistant.db
    as_ann assistantctl status | grep -q 'a file of the database has mode 0644' || wrong "the status does not say it"
    mends state warning "a file of the database has mode 0644"
    [ "$(inside stat -c %a /var/lib/assistant/assistant.db)" = 600 ] || wrong "its mode was not mended"
    # One that somebody laid there by hand.
    inside sh -ec 'mkdir -p -m 755 /etc/credstore; echo sk-laid-there-by-hand >/etc/credstore/anthropic-api-key
        chmod 644 /etc/credstore/anthropic-api-key'
    mends credentials warning "/etc/credstore/anthropic-api-key can be read by others"
    mends credentials warning "/etc/credstore/anthropic-api-key is not encrypted"
    inside sh -ec 'rm /etc/credstore.encrypted/anthropic-api-key; systemctl restart assistantd.service'
    is_well
}

# On a small disk for the state: what doctor prints shows what takes the room.
a_disk_nearly_full_is_found_and_mended() {
    local command said code=0
    # shellcheck disable=SC2016 # in there
    inside sh -ec 'systemctl stop assistantd.socket assistantd.service
        mount -t tmpfs -o "size=400M,mode=700,uid=$(id -u assistant),gid=$(id -g assistant)" tmpfs /var/lib/assistant
        systemctl start assistantd.socket assistantd.service
        mkdir /var/lib/assistant/old; head -c 200M /dev/zero >/var/lib/assistant/old/recording'
    settles 20 answers
    settles 20 mend_of disk error "new work is refused"
    inside assistantctl doctor >/dev/null || code=$?
    [ "$code" = 75 ] || wrong "doctor ended with $code"
    code=0
    as_ann assistantctl submit 'Say hello' >/dev/null 2>&1 || code=$?
    [ "$code" = 75 ] || wrong "a job on a full disk ended with $code"
    command=$(mend_of disk error "new work is refused")
    said=$(inside bash -ec "sudo() { \"\$@\"; }; $command")
    grep -qE '^20[01]M.*/var/lib/assistant/old$' <<<"$said" || wrong "$command does not show what takes the room: $said"
    inside rm -r /var/lib/assistant/old
    settles 20 not_found disk error "new work is refused"
    inside sh -ec 'systemctl stop assistantd.socket assistantd.service; umount /var/lib/assistant
        systemctl start assistantd.socket assistantd.service'
    settles 20 answers
    is_well
}
not_found() { ! mend_of "$@" 2>/dev/null; }

a_damaged_database_is_found_and_mended() {
    local jobs
    inside assistantctl backup create >/dev/null
    jobs=$(ask 'SELECT count(*) FROM jobs')
    inside sh -ec 'systemctl stop assistantd.socket assistantd.service; cd /var/lib/assistant; rm -f assistant.db-wal assistant.db-shm
        head -c 65536 /dev/urandom | dd of=assistant.db conv=notrunc status=none'
    ! inside systemctl start assistantd.service || wrong "it starts"
    mend_of why error "damaged" >/dev/null
    mends schema error "the file of the database is damaged"
    [ "$(ask 'SELECT count(*) FROM jobs')" = "$jobs" ] || wrong "the backup is not in its place"
    # Work goes on when somebody says so.
    mends work warning "all work is stopped"
    inside sh -c 'rm -r /var/lib/assistant/replaced-*'
    is_well
}

a_model_out_of_reach_is_found() {
    configure $'[llm]\nprovider = "openai"\nbase_url = "http://127.0.0.1:7774/v1"\nmodel = "tiny"'
    mend_of servers warning "127.0.0.1:7774 cannot be reached from the daemon" | grep -q 'setup --base-url' || wrong "it does not say how to mend it"
    inside systemd-run --quiet --unit=model-there -p DynamicUser=yes python3 -m http.server --bind 127.0.0.1 7774
    settles 10 not_found servers warning "127.0.0.1:7774 cannot be reached"
    inside systemctl stop model-there
    configure ''
    is_well
}

a_stopped_service_is_found_and_mended() {
    local code=0
    inside systemctl stop assistantd.socket assistantd.service
    inside assistantctl doctor || code=$?
    [ "$code" = 5 ] || wrong "doctor ended with $code"
    mend_of why error "the service is stopped; the journal ends with" >/dev/null
    mend_of units error "assistantd.service is inactive" >/dev/null
    mends units error "assistantd.socket is inactive"
    settles 20 answers
    is_well
}

variables_of_the_service_are_looked_at() {
    local variables=$machine_root/etc/default/assistant
    cp "$variables" "$machine_root/var/tmp/variables"
    printf 'OPENAI_API_KEY=canary7\nDATABASE_URL=postgresql://canary7@x/y\nPOSTGRES_PASSWORD=canary7-canary7\nAGENT_NAM=x\nAGENT_ROLE=api\n' >>"$variables"
    inside systemctl restart assistantd.service
    settles 20 answers
    as_ann assistantctl status --json | grep -q '"weak-secret"' || wrong "the status does not warn"
    mend_of variables warning "did you mean AGENT_NAME?" >/dev/null
    mend_of variables warning "AGENT_ROLE has no effect in this version" >/dev/null
    mend_of variables warning "holds OPENAI_API_KEY and can be read by everybody" >/dev/null
    inside journalctl --unit=assistantd --output=cat MESSAGE_ID=fd3df2cc204a481b8c9a01e10303b4d8 |
        grep 'OPENAI_API_KEY has under 12 characters' || wrong "the journal does not warn"
    ! inside journalctl --output=json --all | grep -q canary7 || wrong "the journal tells a secret"
    ! inside assistantctl doctor --json | grep -q canary7 || wrong "doctor tells a secret"
    mends variables warning "DATABASE_URL is set and not used"
    mend_of variables warning "POSTGRES_PASSWORD stands in the environment" >/dev/null
    mends variables warning "POSTGRES_PASSWORD is set and not used"
    not_found variables warning POSTGRES_PASSWORD || wrong "it still stands there"
    mends variables warning "OPENAI_API_KEY stands in the environment"
    [ -e "$machine_root/etc/credstore.encrypted/openai-api-key" ] || wrong "it did not become a credential"
    cp "$machine_root/var/tmp/variables" "$variables"
    rm "$machine_root/etc/credstore.encrypted/openai-api-key"
    inside systemctl restart assistantd.service
    settles 20 answers
    is_well
}

the_catalog_is_complete() {
    local said id
    said=$(inside journalctl --update-catalog 2>&1)
    [ -z "$said" ] || wrong "$said"
    while read -r id; do
        inside journalctl --dump-catalog "$id" </dev/null | grep -q 'Defined-By: Assistant' || wrong "$id is not explained"
    done < <(sed -n 's/^-- //p' systemd/assistant.catalog)
}

# Fields as people look for them, whole also where a line has more than 64 KiB.
the_journal_has_fields() {
    local long
    as_ann assistantctl submit 'Say hello' >/dev/null || true
    ! as_ann assistantctl stop --all || wrong "ann may stop everything"
    long=$(head -c 100000 /dev/zero | tr '\0' x)
    printf '[limits]\n%s = 1\n' "$long" >"$machine_root/etc/assistant/conf.d/90-long.toml"
    ! inside systemctl reload assistantd.service || wrong "a bad configuration is taken"
    rm "$machine_root/etc/assistant/conf.d/90-long.toml"
    inside systemctl reload assistantd.service
    inside journalctl --sync
    inside journalctl --unit=assistantd --output=json --all >"$machine_root/var/tmp/journal"
    python3 - "$machine_root/var/tmp/journal" <<'PYTHON'
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
own = [line for line in lines if line.get("_COMM") == "assistantd"]
assert own
for line in own:
    assert line["SYSLOG_IDENTIFIER"] == "assistantd" and line["PRIORITY"] in "01234567" and "MESSAGE" in line, line
    for name in line:
        known = name.startswith(("_", "ASSISTANT_", "CODE_", "SYSLOG_", "SPAN_")) or name in (
            "MESSAGE", "MESSAGE_ID", "PRIORITY", "TARGET", "CURSOR")
        assert known, (name, line)
def some(**wanted):
    found = [line for line in own if all(name in line and (value is None or line[name] == value)
                                         for name, value in wanted.items())]
    assert found, wanted
    return found
some(ASSISTANT_JOB_ID=None)
some(TARGET="audit", ASSISTANT_REQUEST_ID=None, ASSISTANT_ROUTE="/api/jobs", ASSISTANT_STATUS=None)
denied = some(MESSAGE_ID="51a3fff94627420aae988257b5770866", ASSISTANT_REQUEST_ID=None, ASSISTANT_UID=None)
assert denied[-1]["ASSISTANT_ROUTE"] == "/api/stop", denied
refused = some(MESSAGE_ID="a3376019b9304f6992824837f94c1fb2")
assert any(len(line["ASSISTANT_ERROR"]) > 65536 for line in refused), [len(str(line)) for line in refused]
PYTHON
}
