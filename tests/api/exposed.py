"""Starts assistantd once for each case, in a network that is nobody's, and tells what became of it.

Standard input: a list of {environment, inherited}. Standard output: the same with exit, stderr, database, listening,
answers.
"""
import http.client, json, os, shutil, signal, socket, subprocess, sys, tempfile, time

assistantd = sys.argv[1]


def quiet(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


quiet("ip", "link", "set", "lo", "up")
for address in ("192.168.77.5/32", "203.0.113.9/32"):
    quiet("ip", "address", "add", address, "dev", "lo")
quiet("ip", "address", "add", "2001:db8::9/128", "dev", "lo", "nodad")
place = tempfile.mkdtemp()
with open(place + "/hosts", "w") as hosts:
    hosts.write("127.0.0.1 localhost\n::1 localhost\n203.0.113.9 public.test\n0.0.0.0 every.test\n"
                "192.168.77.5 both.test\n203.0.113.9 both.test\n")
quiet("mount", "--make-rprivate", "/")
quiet("mount", "--bind", place + "/hosts", "/etc/hosts")


def split(address):
    host, port = address.rsplit(":", 1)
    return host.strip("[]"), int(port)


def inherited(address):
    host, port = split(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen()
    return listener


def listening():
    """Every TCP address that is listened on here (/proc/net/tcp, state 0A)."""
    found = []
    for name, size in (("tcp", 4), ("tcp6", 16)):
        with open("/proc/net/" + name) as table:
            for line in list(table)[1:]:
                fields = line.split()
                if fields[3] != "0A":
                    continue
                address, port = fields[1].split(":")
                raw = bytes.fromhex(address)
                raw = b"".join(raw[at:at + 4][::-1] for at in range(0, size, 4))
                text = socket.inet_ntop(socket.AF_INET if size == 4 else socket.AF_INET6, raw)
                found.append(("%s:%d" if size == 4 else "[%s]:%d") % (text, int(port, 16)))
    return sorted(found)


def answers(address):
    host, port = split(address)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    statuses = {}
    for path in ("/health", "/api/jobs", "/nothing"):
        connection = http.client.HTTPConnection(host, port, timeout=20)
        name = "[%s]:%d" % (host, port) if ":" in host else "%s:%d" % (host, port)
        name = name.replace("[::ffff:192.168.77.5]", "192.168.77.5")
        connection.request("GET", path, headers={"Host": name})
        statuses[path] = connection.getresponse().status
        connection.close()
    return statuses


def ready(runtime, child):
    """Until it serves its own socket, or has ended."""
    while child.poll() is None:
        try:
            with socket.socket(socket.AF_UNIX) as stream:
                stream.connect(runtime + "/api.sock")
                return
        except OSError:
            time.sleep(0.005)


def run(case):
    home = tempfile.mkdtemp(dir=place)
    runtime = home + "/run"
    os.mkdir(runtime)
    listeners = [inherited(address) for address in case["inherited"]]
    names = ["web"] * len(listeners)
    if listeners:
        api = socket.socket(socket.AF_UNIX)
        api.bind(runtime + "/api.sock")
        api.listen()
        listeners.append(api)
        names.append("api")
    environment = {"HOME": home, "PATH": os.environ["PATH"], **case["environment"]}
    program = [assistantd, "--config", home + "/assistant.toml", "--state-dir", home + "/state", "--runtime-dir", runtime]
    open(home + "/assistant.toml", "w").close()

    def take_over():
        for at, listener in enumerate(listeners):
            os.dup2(listener.fileno(), 100 + at)
        for at in range(len(listeners)):
            os.dup2(100 + at, 3 + at)
            os.set_inheritable(3 + at, True)
            os.close(100 + at)

    if listeners:
        environment.update(LISTEN_FDS=str(len(listeners)), LISTEN_FDNAMES=":".join(names))
        program = ["sh", "-c", 'export LISTEN_PID=$$; exec "$@"', "sh", *program]
    errors = open(home + "/stderr", "w+")
    child = subprocess.Popen(program, env=environment, stdout=subprocess.DEVNULL, stderr=errors,
                             preexec_fn=take_over, close_fds=False)
    for listener in listeners:
        listener.close()
    ready(runtime, child)
    found = dict(case, listening=[], answers=[])
    if child.poll() is None:
        # With an inherited socket a connection waits in the backlog: the answers tell that it runs.
        found["listening"] = listening()
        try:
            found["answers"] = [answers(address) for address in found["listening"]]
        except OSError as error:
            found["answers"] = [str(error)]
        child.send_signal(signal.SIGTERM)
    found["exit"] = child.wait(timeout=60)
    errors.seek(0)
    found["stderr"] = errors.read()
    found["database"] = os.path.exists(home + "/state/assistant.db")
    shutil.rmtree(home)
    return found


print(json.dumps([run(case) for case in json.load(sys.stdin)]))
