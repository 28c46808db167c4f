#!/usr/bin/env bash
# A mail server on loopback: Dovecot (IMAP with IDLE, MOVE, UIDPLUS) and Exim (submission), for one test.
#   tests/mail/servers.sh DIR
# Runs until its standard input ends, with everything below DIR. Says "ready" when mail can be sent and read; DIR/env then
# has the addresses. Mail for example.test goes to its two users, mail for other domains into the Maildir DIR/outbound.
# Exim says of senders below verified.test that they are who they say (Authentication-Results), and of no other.
set -euo pipefail
PATH="$PATH:/usr/sbin:/sbin"
dir=$1
bind=${MAIL_BIND:-127.0.0.1} # 127.0.0.2 makes Dovecot refuse logins without TLS, which it allows to its own address
user=assistant@example.test owner=owner@example.test password=secret-for-tests
mkdir -p "$dir"/{outbound,mail,run,spool,tls}
chmod 755 "$dir"

port_used() {
    local port
    port=$(printf ':%04X' "$1")
    awk -v port="$port" '$4 == "0A" && substr($2, length($2) - 4) == port { used = 1 } END { exit !used }' \
        /proc/net/tcp /proc/net/tcp6 2>/dev/null
}
free_port() {
    local port
    while port=$((20000 + $(od -An -N2 -tu2 /dev/urandom) % 12000)); port_used "$port"; do :; done
    printf '%s\n' "$port"
}
imap=$(free_port) imaps=$(free_port) smtp=$(free_port) smtps=$(free_port)

(
    cd "$dir/tls"
    new=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
    openssl req -x509 "${new[@]}" -days 30 -subj "/CN=authority of a test" -keyout ca.key -out ca.pem
    openssl req "${new[@]}" -subj /CN=localhost -keyout key.pem -out request
    printf '%s\n' subjectAltName=DNS:localhost,DNS:mail.example.test,IP:127.0.0.1,IP:127.0.0.2 \
        basicConstraints=CA:FALSE extendedKeyUsage=serverAuth >extensions
    openssl x509 -req -in request -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile extensions -out leaf.pem
    cat leaf.pem ca.pem >certificate.pem
) >"$dir/openssl.log" 2>&1

printf '%s:{PLAIN}%s\n' "$user" "$password" "$owner" "$password" >"$dir/users"
chown root:dovecot "$dir/users"
chmod 640 "$dir/users"
chown -R mail:mail "$dir/mail"
chown -R Debian-exim "$dir/spool" "$dir/outbound"
chown root:Debian-exim "$dir/tls/key.pem"
chmod 640 "$dir/tls/key.pem"

cat >"$dir/dovecot.conf" <<END
protocols = imap lmtp
listen = $bind
base_dir = $dir/run
state_dir = $dir/run
log_path = $dir/dovecot.log
ssl = required
ssl_cert = <$dir/tls/certificate.pem
ssl_key = <$dir/tls/key.pem
disable_plaintext_auth = yes
auth_mechanisms = plain login
mail_max_userip_connections = 100
passdb {
  driver = passwd-file
  args = scheme=plain username_format=%u $dir/users
}
userdb {
  driver = static
  args = uid=mail gid=mail home=$dir/mail/%u
}
first_valid_uid = 8
first_valid_gid = 8
mail_location = maildir:~/Maildir
namespace inbox {
  inbox = yes
  separator = /
}
protocol lmtp {
  postmaster_address = postmaster@example.test
}
service imap-login {
  inet_listener imap {
    address = $bind
    port = $imap
  }
  inet_listener imaps {
    address = $bind
    port = $imaps
    ssl = yes
  }
}
service lmtp {
  unix_listener $dir/lmtp {
    user = Debian-exim
    mode = 0600
  }
}
service stats {
  unix_listener stats-writer {
    mode = 0666
  }
}
END

cat >"$dir/exim.conf" <<END
exim_user = Debian-exim
exim_group = Debian-exim
spool_directory = $dir/spool
log_file_path = $dir/spool/exim-%s.log
pid_file_path = $dir/exim.pid
primary_hostname = mail.example.test
daemon_smtp_ports = $smtp : $smtps
tls_on_connect_ports = $smtps
local_interfaces = <; $bind
tls_advertise_hosts = *
tls_certificate = $dir/tls/certificate.pem
tls_privatekey = $dir/tls/key.pem
auth_advertise_hosts = \${if eq{\$tls_in_cipher}{}{}{*}}
host_lookup =
rfc1413_hosts =
keep_environment =
smtp_accept_max = 100
smtp_accept_max_per_connection = 100000
smtp_accept_queue_per_connection = 0
message_size_limit = 100M
queue_run_max = 2
deliver_drop_privilege = true
acl_smtp_rcpt = check_rcpt
acl_smtp_data = check_data
begin acl
check_rcpt:
  deny    !authenticated = *
          message = authentication required
  require verify = recipient
          message = no such user
  accept
check_data:
  warn    condition = \${if match{\$sender_address_domain}{(^|\\\\.)verified\\\\.test\\\$}}
          add_header = :at_start:Authentication-Results: mail.example.test; spf=pass smtp.mailfrom=\$sender_address
  accept
begin routers
local:
  driver = accept
  domains = ${user#*@}
  local_parts = ${user%@*} : ${owner%@*}
  transport = to_dovecot
elsewhere:
  driver = accept
  domains = ! ${user#*@}
  transport = outbound
begin transports
outbound:
  driver = appendfile
  directory = $dir/outbound
  maildir_format
  user = Debian-exim
  group = Debian-exim
  envelope_to_add
  return_path_add
  delivery_date_add
to_dovecot:
  driver = lmtp
  socket = $dir/lmtp
  user = Debian-exim
  batch_max = 10
  return_path_add
begin retry
* * F,2h,1m
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = \${if and{{eq{\$auth2}{$user}}{eq{\$auth3}{$password}}}}
  server_set_id = \$auth2
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = <| Username: | Password:
  server_condition = \${if and{{eq{\$auth1}{$user}}{eq{\$auth2}{$password}}}}
  server_set_id = \$auth1
END
chown root:root "$dir/exim.conf"
chmod 644 "$dir/exim.conf"

cat >"$dir/env" <<END
MAIL_HOST=$bind
IMAP_PORT=$imap
IMAPS_PORT=$imaps
SMTP_PORT=$smtp
SMTPS_PORT=$smtps
MAIL_USER=$user
MAIL_OWNER=$owner
MAIL_PASSWORD=$password
MAIL_CA=$dir/tls/ca.pem
END

dovecot -F -c "$dir/dovecot.conf" >"$dir/dovecot.out" 2>&1 </dev/null &
dovecot=$!
exim4 -bdf -q1m -C "$dir/exim.conf" >"$dir/exim.out" 2>&1 </dev/null &
exim=$!
finish() {
    trap '' EXIT TERM INT
    kill "$dovecot" "$exim" 2>/dev/null || true
    wait "$dovecot" "$exim" 2>/dev/null || true
}
trap finish EXIT
trap 'exit 1' TERM INT

up() { (exec 3<>"/dev/tcp/$bind/$1") 2>/dev/null; }
deadline=$((SECONDS + 30))
until [ -S "$dir/lmtp" ] && up "$imap" && up "$imaps" && up "$smtp" && up "$smtps"; do
    if ! kill -0 "$dovecot" 2>/dev/null || ! kill -0 "$exim" 2>/dev/null || [ "$SECONDS" -gt "$deadline" ]; then
        tail -n 20 "$dir"/*.log "$dir"/*.out "$dir"/spool/*.log >&2 || true
        exit 1
    fi
    sleep 0.05
done
echo ready
cat >/dev/null || true # until whoever started this is gone
