# shellcheck shell=bash
# Mail in the booted machine, from the package; sourced by run.sh. Each function is a check, as in checks.sh.

all+=(the_reader_of_mail_confines_itself_in_the_daemons_unit)

the_reader_of_mail_confines_itself_in_the_daemons_unit() {
    local found
    # The daemon's own unit with the reader in the daemon's place.
    inside bash -c 'printf "Subject: x\r\n\r\nread me\r\n" >/run/trial.eml
        sed -e "s|^ExecStart=.*|ExecStart=/usr/lib/assistant/assistant-mail read|" -e "s|^Type=.*|Type=oneshot|" \
            -e "/^\(WatchdogSec\|NotifyAccess\|ExecReload\|Restart[A-Za-z]*\|Requires\|Wants\|After\|RuntimeDirectory[A-Za-z]*\)=/d" \
            -e "s|^\[Service\]|[Service]\nStandardInput=file:/run/trial.eml\nStandardOutput=truncate:/run/trial.json|" \
            /usr/lib/systemd/system/assistantd.service >/run/systemd/system/reader-trial.service
        systemctl daemon-reload'
    inside systemctl start reader-trial.service || wrong "$(inside journalctl --quiet -u reader-trial.service)"
    found=$(inside cat /run/trial.json)
    [[ $found == *'"message"'*'read me'* ]] || wrong "$found"
    inside rm /run/systemd/system/reader-trial.service /run/trial.eml /run/trial.json
    inside systemctl daemon-reload
}
