# shellcheck shell=bash disable=SC2154 # machine_root and workspace are set by run.sh and checks.sh
# Mail in the booted machine, from the package; sourced by run.sh. Each function is a check, as in checks.sh.

all+=(the_reader_of_mail_confines_itself_in_the_daemons_unit documents_are_read_and_made_in_units)

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

# By pandoc and pdftotext in units of the sandbox, and by the reader in the daemon's own.
documents_are_read_and_made_in_units() {
    local name papers=$machine_root$workspace/papers
    inside sh -c 'printf "# Report\n\nAll is *well*.\n" | pandoc --from=gfm --to=docx --output=/var/tmp/report.docx
        printf "thing,price\nlamp,40\n" >/var/tmp/prices.csv
        printf "%%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 100]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>endobj\n4 0 obj<</Length 41>>stream\nBT /F 12 Tf 20 50 Td (Paid in full) Tj ET\nendstream endobj\n5 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>endobj\ntrailer<</Root 1 0 R>>\n%%%%EOF\n" >/var/tmp/bill.pdf'
    for name in report.docx prices.csv bill.pdf; do
        as_ann assistantctl files put "/var/tmp/$name" --to papers
        as_ann assistantctl files convert "papers/$name" markdown
        inside rm "/var/tmp/$name"
    done
    grep -q 'All is \*well\*' "$papers/report.md" || wrong "$(cat "$papers/report.md")"
    grep -q 'lamp.*40' "$papers/prices.md" || wrong "$(cat "$papers/prices.md")"
    grep -q 'Paid in full' "$papers/bill.md" || wrong "$(cat "$papers/bill.md")"
    as_ann assistantctl files convert papers/report.md html
    grep -q '<em>well</em>' "$papers/report.html" || wrong "$(cat "$papers/report.html")"
    as_ann assistantctl status | grep -q 'backend unit' || wrong "$(as_ann assistantctl status)"
    as_ann assistantctl files rm papers
}
