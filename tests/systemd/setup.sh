# shellcheck shell=bash disable=SC2154 # machine_root is set by machine.sh
# Checks of the set-up and of secrets; sourced by run.sh. They go from one to the next, with a model server that knows one
# key; the last puts everything back.

all+=(setup_by_options what_is_set_up_works secrets_are_nowhere_else a_second_setup_keeps_what_stands
    a_setup_that_fails_says_what_stands setup_asks_a_person secrets_come_and_go what_lacks_a_secret_is_named
    a_credential_of_another_machine_is_named the_setup_is_undone)

canary='canary-5f1d7c0a93e84b62'
setup_file=/etc/assistant/conf.d/10-setup.toml
credential=/etc/credstore.encrypted/llm-api-key
key_file=/var/tmp/key

as_carol() { inside runuser -u carol -- "$@"; }
secret_of() { inside assistantctl secret list -o json | python3 -c 'import json,sys
print(next(s for s in json.load(sys.stdin)["secrets"] if s["name"] == sys.argv[1])[sys.argv[2]])' "$1" "$2"; }

setup_by_options() {
    local said
    install -m 644 tests/systemd/model.py tests/systemd/person.py "$machine_root/usr/local/lib/"
    inside systemd-run --quiet --unit=model -p DynamicUser=yes \
        python3 /usr/local/lib/model.py 8123 "$(printf %s "$canary" | sha256sum | cut -d' ' -f1)"
    settles 10 inside bash -c 'echo >/dev/tcp/127.0.0.1/8123'
    inside sh -ec 'useradd -m carol; useradd -m dave'
    (umask 077; echo "$canary" >"$machine_root$key_file")
    said=$(inside env SUDO_USER=carol sh -c "assistantctl setup --yes --provider openai --base-url http://127.0.0.1:8123/v1 \
        --model tiny --key-file - --admin-address carol@example.org --work <$key_file" 2>&1) || wrong "$said"
    [[ $said == *'tiny at 127.0.0.1'*'answered in'* ]] || wrong "no call: $said"
    [[ $said == *'newgrp assistant-users'* ]] || wrong "no way in: $said"
    [[ $(tail -1 <<<"$said") == *'assistantctl submit'*'--follow' ]] || wrong "no next command: $said"
    [[ $said != *"$canary"* ]] || wrong "the key is shown"
    [ "$(inside stat -c '%U:%G %a' "$setup_file")" = 'root:assistant 640' ] || wrong "$(inside stat "$setup_file")"
    [ "$(inside stat -c '%U:%G %a' "$credential")" = 'root:root 600' ] || wrong "$(inside stat "$credential")"
    [ "$(inside stat -c %a /etc/credstore.encrypted)" = 700 ] || wrong "others see which credentials there are"
    [ "$(inside id -nG carol | tr ' ' '\n' | sort | paste -sd' ')" = 'assistant-users assistant-work carol' ] || wrong "$(inside id carol)"
    [ "$(secret_of llm-api-key stored) $(secret_of llm-api-key daemon) $(secret_of llm-api-key seen)" = 'encrypted credential True' ] ||
        wrong "$(inside assistantctl secret list)"
}

what_is_set_up_works() {
    [[ $(as_carol assistantctl submit 'Say hello.' --wait) == *Hello.* ]] || wrong "the job did not complete"
}

secrets_are_nowhere_else() {
    local found said
    # Not found by its own argument.
    found=$(inside sh -c "grep -la '${canary%2}[2]' /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null || true")
    [ -z "$found" ] || wrong "it is in $found"
    inside journalctl --sync
    ! inside journalctl --no-pager -o export | grep -qa "$canary" || wrong "the journal has it"
    found=$(inside grep -rla "$canary" /etc /var/lib /var/log /run/assistantd /tmp /usr/local 2>/dev/null || true)
    [ -z "$found" ] || wrong "it lies in $found"
    no_backup_has "$canary"
    for said in status config/status config models; do
        ! inside assistantctl query GET "/api/$said" 2>/dev/null | grep -q "$canary" || wrong "/api/$said tells it"
    done
    ! inside assistantctl secret list -o json | grep -q "$canary" || wrong "the list tells it"
}

a_second_setup_keeps_what_stands() {
    local pid said
    pid=$(inside systemctl show -p MainPID --value assistantd)
    said=$(inside assistantctl setup --yes --admin-name Carol 2>&1) || wrong "$said"
    [ "$(grep -cE '^(provider = "openai"|base_url = |model = "tiny"|email = "carol@example.org"|name = "Carol")' "$machine_root$setup_file")" = 5 ] ||
        wrong "$(cat "$machine_root$setup_file")"
    [ "$pid" = "$(inside systemctl show -p MainPID --value assistantd)" ] || wrong "it was restarted for nothing"
    [[ $said == *'answered in'* ]] || wrong "$said"
    [[ $(as_carol assistantctl config show admin.name) == *Carol* ]] || wrong "the daemon does not know"
}

a_setup_that_fails_says_what_stands() {
    local said before code=0
    before=$(cat "$machine_root$setup_file")
    said=$(inside assistantctl setup --yes --base-url 'http://[' 2>&1) || code=$?
    [ "$code" = 78 ] || wrong "exit code $code: $said"
    [[ $said == *'llm.base_url'*'what stands: nothing new'* ]] || wrong "$said"
    [ "$before" = "$(cat "$machine_root$setup_file")" ] || wrong "it was written"
    code=0
    said=$(inside sh -c 'echo another-key-than-this | assistantctl setup --yes --key-file -' 2>&1) || code=$?
    [ "$code" = 1 ] || wrong "exit code $code: $said"
    [[ $said == *'did not answer'*'what stands: llm-api-key is in'*'what does not: a call to the model'* ]] || wrong "$said"
    inside assistantctl setup --yes --key-file "$key_file" >/dev/null
    said=$(as_bob assistantctl setup --yes 2>&1) && wrong "a user set it up"
    [[ $said == *'sudo assistantctl setup'* ]] || wrong "$said"
}

setup_asks_a_person() {
    local said
    printf '%s\t%s\n' 'Provider [openai]' '' 'Address of the API' '' 'Model' '' 'not shown' "$canary" 'Your name' Dave \
        'Your mail address' dave 'Your mail address' dave@example.org "assistant's own" '' 'IMAP' '' 'use the assistant' '' \
        'administer it' y 'files of its workspace' '' 'Go on?' '' >"$machine_root/var/tmp/answers"
    said=$(inside env SUDO_USER=dave python3 /usr/local/lib/person.py /var/tmp/answers assistantctl setup) || wrong "$said"
    rm "$machine_root/var/tmp/answers"
    [[ $said != *"$canary"* ]] || wrong "the key is shown: $said"
    [[ $said == *'expected a mail address'*'To be changed:'*'the secret llm-api-key'*'answered in'* ]] || wrong "$said"
    [ "$(inside id -nG dave | tr ' ' '\n' | sort | paste -sd' ')" = 'assistant-admin assistant-users dave' ] || wrong "$(inside id dave)"
    grep -qx 'email = "dave@example.org"' "$machine_root$setup_file" || wrong "$(cat "$machine_root$setup_file")"
}

secrets_come_and_go() {
    local said
    said=$(inside assistantctl secret rm llm-api-key 2>&1) || wrong "$said"
    [[ $said == *'is without it'* ]] || wrong "$said"
    inside assistantctl models test && wrong "it answers without its key"
    inside sh -c "assistantctl secret set llm-api-key --no-restart <$key_file"
    [ "$(secret_of llm-api-key seen)" = False ] || wrong "$(inside assistantctl secret list)"
    said=$(inside sh -c "assistantctl secret set llm-api-key <$key_file" 2>&1) || wrong "$said"
    [[ $said == *'restarted and has it'* && $said != *"$canary"* ]] || wrong "$said"
    inside assistantctl models test >/dev/null
    said=$(as_carol assistantctl secret list)
    [[ $said == *'has it'* ]] || wrong "a user is not told what the daemon has: $said"
    said=$(inside assistantctl secret set lm-api-key 2>&1 </dev/null) && wrong "there is no such name"
    [[ $said == *'did you mean llm-api-key?'* ]] || wrong "$said"
}

what_lacks_a_secret_is_named() {
    configure '[llm]
provider = "anthropic"
base_url = ""
model = ""'
    inside systemctl restart assistantd
    as_carol assistantctl status -o json | grep -q 'sudo assistantctl secret set anthropic-api-key' || wrong "$(as_carol assistantctl status)"
    inside journalctl --no-pager -b MESSAGE_ID=0a1ce42d65a5441ebfccd92ba43db71d | grep -q anthropic-api-key || wrong "the journal does not know"
    as_carol assistantctl files ls >/dev/null
    configure ''
}

# What systemd makes of it: the service does not start, whichever of the two keys is the wrong one.
a_credential_of_another_machine_is_named() {
    local said secret=/var/lib/systemd/credential.secret
    inside sh -ec "mv $secret /var/tmp/host-key; printf %s $canary | systemd-creds encrypt --name=llm-api-key - $credential --with-key=host
        mv /var/tmp/host-key $secret"
    inside systemctl restart assistantd && wrong "it started"
    said=$(inside journalctl --no-pager -b -u assistantd -n 40)
    [[ $said == *'status=243/CREDENTIALS'* ]] || wrong "$said"
    inside systemctl is-active --quiet assistantd && wrong "it runs"
    [ "$(secret_of llm-api-key stored)" = undecryptable ] || wrong "$(inside assistantctl secret list)"
    [[ $(inside assistantctl secret list 2>&1) == *'the daemon cannot start'* ]] || wrong "$(inside assistantctl secret list)"
    said=$(inside sh -c "assistantctl secret set llm-api-key <$key_file" 2>&1) || wrong "$said"
    inside assistantctl models test >/dev/null
}

the_setup_is_undone() {
    inside sh -ec "systemctl stop model; rm -f $setup_file $credential $key_file; systemctl reset-failed assistantd.service assistantd.socket 2>/dev/null || true
        systemctl restart assistantd"
    as_ann assistantctl status | grep -q rehearsal || wrong "the rehearsal does not play again"
}
