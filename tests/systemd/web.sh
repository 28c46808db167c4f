# shellcheck shell=bash disable=SC2154,SC2034 # machine_root and others are set by machine.sh and checks.sh, and load_at is for package.sh
# The listener on the network: its socket unit, in the network of the machine, from which no packet leaves.
# Sourced by run.sh after setup.sh.

all+=(s3_a_lan_address_is_all_that_is_listened_on requests_wait_on_the_network_too an_address_that_all_can_reach_stops_the_start
    the_network_goes_on_and_off_by_command what_somebody_else_set_is_seen who_guesses_is_banned https_with_a_key_that_root_alone_reads)

# The network of the machine, with the programs of this one.
there() { nsenter --net="/proc/$machine_init/ns/net" "$@"; }
# Sockets that systemd holds for the service, or the service itself; other checks have servers of their own.
listening() {
    inside ss --no-header --listening --tcp --numeric --processes | awk '/"(systemd|assistantd)"/ {print $4}' | sort | paste -sd ' '
}
# status_of ADDRESS PATH: of the answer; 000 without one.
status_of() { there curl --silent --output /dev/null --max-time 10 --write-out '%{http_code}' "http://$1$2" || true; }
is_banned() { inside fail2ban-client status assistant | grep -q "Banned IP list:.*$1"; }
web_address() {
    inside systemctl stop assistantd-web.socket assistantd.service
    inside mkdir -p /etc/systemd/system/assistantd-web.socket.d
    printf '[Socket]\nListenStream=\nListenStream=%s\n' "$1" \
        >"$machine_root/etc/systemd/system/assistantd-web.socket.d/address.conf"
    inside systemctl daemon-reload
}
no_web() {
    inside systemctl disable --quiet --now assistantd-web.socket
    rm -r "$machine_root/etc/systemd/system/assistantd-web.socket.d"
    inside systemctl daemon-reload
    inside systemctl restart assistantd.service
}

s3_a_lan_address_is_all_that_is_listened_on() {
    local lan=192.168.77.5:8000
    # The address comes up later than the socket.
    web_address "$lan"
    inside systemctl enable --quiet --now assistantd-web.socket
    inside systemctl start assistantd.service
    [ "$(listening)" = "$lan" ] || wrong "listening on: $(listening)"
    there ip addr add 192.168.77.5/32 dev lo
    there ip addr add 192.168.77.6/32 dev lo
    [ "$(status_of "$lan" /health) $(status_of "$lan" /api/jobs)" = "200 401" ] || wrong "$lan answers otherwise"
    [ "$(status_of 127.0.0.1:8000 /health) $(status_of 192.168.77.6:8000 /health)" = "000 000" ] || wrong "others answer"
    # While the service is away, its socket keeps who comes; the API's own is as it was.
    first_answer there curl --silent --fail --max-time 10 "http://$lan/health"
    as_ann assistantctl status >/dev/null
    inside systemctl restart assistantd.service
    [ "$(status_of "$lan" /health) $(listening)" = "200 $lan" ] || wrong "after a restart: $(listening)"
    no_web
    [ -z "$(listening)" ] || wrong "still listening on: $(listening)"
    as_ann assistantctl status >/dev/null
    there ip addr del 192.168.77.5/32 dev lo
    there ip addr del 192.168.77.6/32 dev lo
}

# As at the API's own socket: none is refused, cut off or answered with an error while the service restarts.
requests_wait_on_the_network_too() {
    local lan=192.168.77.5:8000 said
    there ip addr add 192.168.77.5/32 dev lo
    inside assistantctl web enable --bind "$lan" >/dev/null
    # A password that nobody had to think of lets a person in.
    said=$(inside assistantctl web password --generate 2>/dev/null)
    [ "$(there curl --silent --max-time 10 --output /dev/null --write-out '%{http_code}' --header 'Content-Type: application/json' --header "Origin: http://$lan" \
        --data "{\"password\": \"$said\"}" "http://$lan/api/login")" = 200 ] || wrong "the generated password lets nobody in"
    inside assistantctl web password --remove >/dev/null
    load_at=("$lan" "$(inside assistantctl token create load --role viewer -o json | told secret)")
    said=$(under_load 4 restarts "${ASSISTANT_RESTARTS:-10}") || wrong "$said"
    echo "$said"
    [ "$(sed -E 's/^figure: ([0-9]+) .*/\1/' <<<"$said")" -ge $((100 * ${ASSISTANT_RESTARTS:-10})) ] || wrong "too few came"
    inside assistantctl token revoke load >/dev/null
    inside assistantctl web disable >/dev/null
    there ip addr del 192.168.77.5/32 dev lo
}

an_address_that_all_can_reach_stops_the_start() {
    local status
    web_address 0.0.0.0:8000
    inside systemctl start assistantd-web.socket
    ! inside systemctl start assistantd.service || wrong "it starts on 0.0.0.0"
    status=$(inside systemctl show --property ExecMainStatus --value assistantd.service)
    [ "$status" = 78 ] || wrong "it ended with $status"
    inside journalctl --quiet --unit assistantd.service --grep 'would listen on 0\.0\.0\.0:8000.*allow_public_bind' ||
        wrong "the journal does not name the address and what to set"
    inside systemctl stop assistantd-web.socket assistantd.socket
    inside systemctl reset-failed assistantd.service
    inside systemctl start assistantd.socket
    no_web
    as_ann assistantctl status >/dev/null
}

the_network_goes_on_and_off_by_command() {
    local lan=192.168.77.5:8000 said
    there ip addr add 192.168.77.5/32 dev lo
    # What would be refused is refused before anything is written, and the service goes on.
    ! inside assistantctl web enable --bind 0.0.0.0:8000 || wrong "0.0.0.0 is accepted"
    [ ! -e "$machine_root/etc/systemd/system/assistantd-web.socket.d" ] || wrong "something was written"
    inside assistantctl web enable --bind "$lan"
    [ "$(listening)" = "$lan" ] || wrong "listening on: $(listening)"
    [ "$(status_of "$lan" /health) $(status_of "$lan" /api/jobs)" = "200 401" ] || wrong "$lan answers otherwise"
    said=$(inside assistantctl web status)
    [[ $said == *"$lan (private)"* ]] || wrong "the status says: $said"
    inside assistantctl web enable --bind 0.0.0.0:8000 --allow-public-bind
    [ "$(listening)" = 0.0.0.0:8000 ] || wrong "listening on: $(listening)"
    inside assistantctl status | grep -q 'can be reached from outside' || wrong "the status does not warn"
    inside journalctl --quiet --unit assistantd.service --grep 'can be reached from outside' >/dev/null || wrong "nor does the journal"
    # Also while the daemon is down.
    inside systemctl stop assistantd.service
    inside assistantctl web disable
    [ -z "$(listening)" ] || wrong "still listening on: $(listening)"
    [ "$(inside systemctl is-enabled assistantd-web.socket || true)" = disabled ] || wrong "it is still enabled"
    [ ! -e "$machine_root/etc/systemd/system/assistantd-web.socket.d/60-address.conf" ] || wrong "the address is still there"
    as_ann assistantctl status >/dev/null
    there ip addr del 192.168.77.5/32 dev lo
}

# As `systemctl edit` writes it, which has the last word: seen by the status, and nothing claims to have changed it.
what_somebody_else_set_is_seen() {
    local dropped=/etc/systemd/system/assistantd-web.socket.d said
    inside mkdir -p "$dropped"
    printf '[Socket]\nListenStream=\nListenStream=127.0.0.1:8123\nListenStream=/run/assistant-web.sock\n' >"$machine_root$dropped/override.conf"
    inside systemctl daemon-reload
    ! said=$(inside assistantctl web enable --bind 127.0.0.1:8001 2>&1) || wrong "it claims to listen there: $said"
    [[ $said == *"$dropped/override.conf"*"all is as it was"* ]] || wrong "the file is not named: $said"
    [ ! -e "$machine_root$dropped/60-address.conf" ] || wrong "an address was left there"
    inside systemctl stop assistantd.service
    inside systemctl enable --quiet --now assistantd-web.socket
    inside systemctl start assistantd.service
    [ "$(listening)" = 127.0.0.1:8123 ] || wrong "listening on: $(listening)"
    said=$(inside assistantctl web status)
    [[ $said == *"configured"*"/run/assistant-web.sock and 127.0.0.1:8123"*"127.0.0.1:8123 (loopback)"*"/run/assistant-web.sock"* ]] ||
        wrong "the status says: $said"
    no_web
    [ -z "$(listening)" ] || wrong "still listening on: $(listening)"
    as_ann assistantctl status >/dev/null
}

# With the files of the package as docs/web.md says, the journal and a firewall.
who_guesses_is_banned() {
    local lan=192.168.77.5:8000 guesser=192.168.77.6 other=192.168.77.7 address said archives
    for address in 192.168.77.5 "$guesser" "$other"; do there ip addr add "$address/32" dev lo; done
    inside assistantctl web enable --bind "$lan" >/dev/null
    # The machine leaves out what packages have below /usr/share/doc.
    archives=("$machine_root"/var/tmp/assistant_*.deb)
    inside sh -c "dpkg-deb --fsys-tarfile ${archives[0]#"$machine_root"} |
        tar --extract --directory /etc/fail2ban --strip-components 7 ./usr/share/doc/assistant/examples/fail2ban"
    printf '[sshd]\nenabled = false\n' >"$machine_root/etc/fail2ban/jail.local"
    inside fail2ban-client --test >/dev/null || wrong "fail2ban does not take the files"
    inside systemctl start fail2ban.service
    settles 20 inside fail2ban-client status assistant
    for _ in $(seq 10); do
        there curl --silent --output /dev/null --max-time 10 --interface "$guesser" --header 'Authorization: Bearer wrong' "http://$lan/api/jobs"
    done
    settles 20 is_banned "$guesser"
    ! there curl --silent --output /dev/null --max-time 3 --interface "$guesser" "http://$lan/health" || wrong "it still connects"
    there curl --silent --fail --output /dev/null --max-time 10 --interface "$other" "http://$lan/health" || wrong "another one is kept out"
    said=$(inside fail2ban-client status assistant)
    [[ $said == *"Currently banned:"*1* && $said != *"$other"* ]] || wrong "the jail says: $said"
    inside fail2ban-client set assistant unbanip "$guesser" >/dev/null
    there curl --silent --fail --output /dev/null --max-time 10 --interface "$guesser" "http://$lan/health" || wrong "the ban is not lifted"
    inside systemctl stop fail2ban.service
    inside rm /etc/fail2ban/jail.local /etc/fail2ban/jail.d/assistant.conf /etc/fail2ban/filter.d/assistant.conf
    inside assistantctl web disable >/dev/null
    rmdir "$machine_root/etc/systemd/system/assistantd-web.socket.d"
    for address in 192.168.77.5 "$guesser" "$other"; do there ip addr del "$address/32" dev lo; done
}

# certificate NAME: one of its own for the machine's address, as root alone may read it there.
certificate() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 90 -subj "/CN=$1" \
        -addext subjectAltName=IP:192.168.77.5 -keyout "$machine_root/etc/tls/$1-key.pem" -out "$machine_root/etc/tls/$1.pem" 2>/dev/null
    cp "$machine_root/etc/tls/$1-key.pem" "$machine_root/etc/tls/key.pem"
    cp "$machine_root/etc/tls/$1.pem" "$machine_root/etc/tls/certificate.pem"
    chmod 600 "$machine_root"/etc/tls/*
}
# secure NAME PATH: the status of an answer, trusting this certificate alone.
secure() {
    there curl --silent --output /dev/null --max-time 10 --write-out '%{http_code}' --cacert "$machine_root/etc/tls/$1.pem" \
        "https://192.168.77.5:8443$2" || true
}

# As docs/web.md says for files such as those of certbot: the daemon's user cannot read them, systemd passes them on.
https_with_a_key_that_root_alone_reads() {
    local lan=192.168.77.5:8443 said before
    there ip addr add 192.168.77.5/32 dev lo
    install -d -m 700 "$machine_root/etc/tls"
    certificate first
    drop_in assistantd.service $'[Service]\nLoadCredential=tls-certificate:/etc/tls/certificate.pem\nLoadCredential=tls-key:/etc/tls/key.pem'
    inside assistantctl web enable --bind "$lan"
    ! as_daemon cat /etc/tls/key.pem 2>/dev/null || wrong "the daemon's user reads the key where it lies"
    [ "$(secure first /health) $(secure first /api/jobs)" = "200 401" ] || wrong "it answers otherwise: $(secure first /health)"
    [ "$(status_of "$lan" /health)" = 400 ] || wrong "who speaks HTTP to it hears $(status_of "$lan" /health)"
    before=$(inside assistantctl doctor --json || true)
    grep -q 'a login, by HTTPS' <<<"$before" || wrong "doctor does not say that it is HTTPS: $before"
    # Renewed, and the service restarted as certbot's hook does: the socket stays, and the new one is served.
    certificate second
    [ "$(secure first /health)" = 200 ] || wrong "the old one is gone before the restart"
    inside systemctl try-restart assistantd.service
    [ "$(secure second /health) $(secure first /health)" = "200 000" ] || wrong "the new one is not served"
    # A key of another certificate is refused at the start, with the reason.
    cp "$machine_root/etc/tls/first-key.pem" "$machine_root/etc/tls/key.pem"
    ! inside systemctl restart assistantd.service || wrong "it starts with another one's key"
    [ "$(inside systemctl show --property ExecMainStatus --value assistantd.service)" = 78 ] || wrong "it ended otherwise"
    said=$(inside journalctl --no-pager --unit assistantd.service --lines 20)
    grep -q 'tls-key' <<<"$said" || wrong "the journal does not name the key: $said"
    ! grep -q 'BEGIN' <<<"$said" || wrong "the journal has a key"
    drop_in assistantd.service
    inside systemctl reset-failed assistantd.service assistantd.socket assistantd-web.socket 2>/dev/null || true
    inside assistantctl web disable
    inside systemctl restart assistantd.service
    rm -r "$machine_root/etc/tls" "$machine_root/etc/systemd/system/assistantd-web.socket.d"
    as_ann assistantctl status >/dev/null
    there ip addr del 192.168.77.5/32 dev lo
}
