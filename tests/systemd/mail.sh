# shellcheck shell=bash disable=SC2154 # machine_root and workspace are set by run.sh and checks.sh
# Mail in the booted machine, from the package; sourced by run.sh. Each function is a check, as in checks.sh.

all+=(the_reader_of_mail_confines_itself_in_the_daemons_unit documents_are_read_and_made_in_units
    what_is_said_in_a_video_is_fetched_where_commands_reach_it)

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

# By a program in a unit that reaches what the egress proxy lets commands reach. The program is a stand-in: nobody here
# reaches the real host.
what_is_said_in_a_video_is_fetched_where_commands_reach_it() {
    public_server
    echo '93.184.216.34 www.youtube.com. www.youtube.com' >>"$machine_root/etc/hosts"
    configure '[sandbox]
level = "work+net"'
    inside install -m 755 /dev/stdin /usr/local/bin/yt-dlp <<'END'
#!/usr/bin/python3
import sys, urllib.parse, urllib.request
host = urllib.parse.urlsplit(sys.argv[-1]).hostname
try:
    said = urllib.request.urlopen(f"http://{host}/repo.git/HEAD").read().decode()
except OSError as error:
    sys.exit(str(error))
open("text.en.vtt", "w").write("WEBVTT\n\n00:00.000 --> 00:01.000\n" + said + "\n")
END
    # video ID: a mail with its address has come, and somebody acts on it.
    video() {
        inside systemctl stop assistantd.service
        as_daemon python3 - "$1" <<'END'
import sqlite3, sys
number = int(sys.argv[1])
with sqlite3.connect("/var/lib/assistant/assistant.db") as db:
    db.execute("INSERT INTO emails (id, message_id, thread_id, from_address, to_addresses, subject, origin, received_at, downloaded_at, created_at) "
               "VALUES (?, ?, 'video', 'ann@example.org', '[]', 'A video', 'owner', 1, 1, 1)", (number, f"<{number}@example.org>"))
    db.execute("INSERT INTO artifacts (email_id, source_type, source_label, source_uri, scan_status, conversion_status, created_at, updated_at) "
               "VALUES (?, 'youtube_url', ?, ?, 'not_applicable', 'pending', 1, 1)", (number, *(["https://www.youtube.com/watch?v=abcdef-" + sys.argv[1]] * 2)))
END
        inside systemctl start assistantd.service
    }
    # shellcheck disable=SC2317 # settles calls it
    is_done() { inside assistantctl query GET "/api/emails/$1" | grep -q "\"conversion_status\": *\"$2\""; }
    video 901
    settles 20 is_done 901 failed
    inside assistantctl query GET /api/emails/901 | grep -q 'yt-dlp ended with 1' || wrong "$(inside assistantctl query GET /api/emails/901)"
    echo 'allow = ["www.youtube.com"]' >"$machine_root/etc/assistant/egress.toml"
    inside systemctl reload assistant-egress
    video 902
    settles 20 is_done 902 ready
    is_done 902 ready
    grep -q 'refs/heads' "$machine_root$workspace/processed/email/902/youtube-abcdef-902.md"
    inside rm /usr/local/bin/yt-dlp
    video 903
    settles 20 is_done 903 skipped
    inside assistantctl query GET /api/emails/903 | grep -q 'install the package yt-dlp' || wrong "$(inside assistantctl query GET /api/emails/903)"
    : >"$machine_root/etc/assistant/egress.toml"
    inside systemctl reload assistant-egress
}
