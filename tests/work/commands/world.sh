#!/usr/bin/env bash
# world.sh DIR PROGRAM: a world of its own for the egress proxy PROGRAM, of which no packet leaves the machine: two networks
# with public addresses and a link between them, the proxy in the one, servers for HTTP and HTTPS in the other, and their
# names. Runs as root of a network and a mount namespace of its own. Whoever ends the proxy ends all of it.
set -euo pipefail
dir=$1 program=$2
beside() { setpriv --pdeathsig KILL "$@" & }
cd "$dir"

# The proxy asks for names with a dot at the end.
cat >hosts <<END
127.0.0.1 localhost
93.184.216.34 example.org. unlisted.example.
10.0.0.1 private.example.
END
echo "hosts: files" >nsswitch.conf
mount --bind hosts /etc/hosts
mount --bind nsswitch.conf /etc/nsswitch.conf

mkdir -p www/simple/greeting
echo "hello from outside" >www/index.html
git init --quiet --initial-branch main work
echo "text" >work/file
git -C work add file
git -C work -c user.name=a -c user.email=a@example.org commit --quiet --message first
git clone --quiet --bare work www/repo.git
git -C www/repo.git update-server-info
openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=example.org -addext subjectAltName=DNS:example.org \
    -days 2 -keyout key.pem -out cert.pem 2>/dev/null
cat >servers.py <<'END'
import http.server, ssl, sys, threading, zipfile

name, info = "greeting-1.0-py3-none-any.whl", "greeting-1.0.dist-info"
with zipfile.ZipFile(f"www/simple/greeting/{name}", "w") as wheel:
    wheel.writestr("greeting.py", "print('greetings')\n")
    wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n")
    wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: none\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(f"{info}/RECORD", "")
with open("www/simple/greeting/index.html", "w") as index:
    index.write(f'<a href="{name}">{name}</a>')

class Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *args):
        super().__init__(*args, directory="www")
    def log_message(self, *args):
        pass

plain = http.server.ThreadingHTTPServer(("", 80), Handler)
secure = http.server.ThreadingHTTPServer(("", 443), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("cert.pem", "key.pem")
secure.socket = context.wrap_socket(secure.socket, server_side=True)
threading.Thread(target=plain.serve_forever, daemon=True).start()
open("serving", "w").close()
secure.serve_forever()
END

beside unshare --net sleep infinity
peer=$!
until [ "$(readlink /proc/$peer/ns/net)" != "$(readlink /proc/$$/ns/net)" ]; do sleep 0.01; done
ip link set lo up
ip link add out type veth peer name in netns "$peer"
ip addr add 93.184.216.1/24 dev out
ip link set out up
there() { nsenter --target "$peer" --net "$@"; }
there ip addr add 93.184.216.34/24 dev in
there ip link set in up
beside nsenter --target "$peer" --net python3 servers.py
until [ -e serving ]; do sleep 0.01; done
exec "$program" --config egress.toml --listen proxy.sock --control control.sock
