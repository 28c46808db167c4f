//! Two sessions at once do not meet; and the daemon is after a command what it was before it.

use std::{collections::BTreeMap, fs, path::Path};

use super::{Host, Kind, inside, on_every_host};
use crate::{support::until, work::commands::idle};

on_every_host! {
    two_sessions_at_once_do_not_meet
    the_daemon_is_no_more_restricted_after_a_command
}

/// Has everything that another session might be after, says where its temporary files are, and waits.
const VICTIM: &str = "
import multiprocessing.shared_memory, os, signal, socket, tempfile, time
tmp = tempfile.gettempdir()
open(tmp + '/mine', 'w').write('a secret of the first')
path = socket.socket(socket.AF_UNIX); path.bind(tmp + '/socket'); path.listen()
name = socket.socket(socket.AF_UNIX); name.bind('\\0of-the-first'); name.listen()
os.environ['MINE'] = 'x'
os.makedirs(tmp + '/d', exist_ok=True)
open('place', 'w').write(tmp)
signal.signal(signal.SIGTERM, lambda *_: None)
while not os.path.exists('go'): time.sleep(0.02)
path.setblocking(False); name.setblocking(False)
for listener in (path, name):
    try: listener.accept(); print('somebody connected')
    except BlockingIOError: pass
print(open(tmp + '/mine').read(), 'and nobody else')
";

/// Is after it. Its arguments: the temporary directory of the other, and the numbers that its processes have outside.
const INTRUDER: &str = "
import ctypes, os, signal, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
tmp, pids = sys.argv[1], [int(pid) for pid in sys.argv[2:]]
def names(path):
    try: return os.listdir(path)
    except OSError: return []
seen = [int(name) for name in names('/proc') if name.isdigit()]
for pid in seen:
    try: line = open(f'/proc/{pid}/cmdline').read()
    except OSError: continue
    if 'a secret of the first' in line and 'INTRUDER' not in line: print('saw', pid)
for pid in set(pids + seen) - {os.getpid(), os.getppid(), 1}:
    try: os.kill(pid, signal.SIGTERM); print('signalled', pid)
    except OSError: pass
    if libc.ptrace(16, pid, 0, 0) == 0: print('traced', pid)
    for name in ('environ', 'mem', 'cwd', 'root', 'maps', 'fd/1'):
        try:
            os.readlink(f'/proc/{pid}/{name}') if name in ('cwd', 'root', 'fd/1') else open(f'/proc/{pid}/{name}', 'rb').read(1)
            print('read', pid, name)
        except OSError: pass
try: os.kill(-1, signal.SIGTERM)
except OSError: pass
for name in ('mine', 'd', 'socket'):
    path = tmp + '/' + name
    try: print('read', path, open(path).read() if name == 'mine' else os.listdir(path))
    except OSError: pass
    try: open(path, 'r+').write('x'); print('wrote', path)
    except OSError: pass
for address in (tmp + '/socket', '\\0of-the-first'):
    try: socket.socket(socket.AF_UNIX).connect(address); print('connected to', address)
    except OSError: pass
for name in names('/dev/shm'): print('saw in /dev/shm', name)
print('done')
# INTRUDER
";

async fn two_sessions_at_once_do_not_meet(kind: Kind) {
    let model = idle().await;
    let Some(host) = Host::start(kind, &model, "") else { return };
    let place = host.workspace();
    let first = ["python3", "-c", VICTIM];
    let both = async {
        let tmp = until("the first is up", 30, async || {
            fs::read_to_string(place.join("place")).ok().filter(|text| !text.is_empty())
        })
        .await;
        let pids: Vec<_> = inside(&place).iter().map(ToString::to_string).collect();
        assert!(!pids.is_empty());
        // Where both have a temporary directory of the same name, one's own is what is found there.
        let script = format!(
            "import os\nfor name in ('mine', 'socket', 'd'): assert not os.path.exists({tmp:?} + '/' + name)\n"
        );
        let hidden = host.person(&["python3", "-c", &script]).await;
        let mut argv = vec!["python3", "-c", INTRUDER, &tmp];
        argv.extend(pids.iter().map(String::as_str));
        let intruded = host.person(&argv).await;
        fs::write(place.join("go"), "").unwrap();
        (hidden, intruded)
    };
    let (victim, (hidden, intruded)) = tokio::join!(host.person(&first), both);
    // Landlock lets the names of files be seen that are not to be read.
    assert!(hidden.exit_code == Some(0) || kind == Kind::Landlock, "{kind:?}: {hidden:?}");
    let connects = "connected to ";
    let said: Vec<_> = intruded.stdout.lines().collect();
    match kind {
        // It says that it does not keep sockets in the file system apart; these it does, by its rules for files.
        Kind::Landlock => {
            let other: Vec<_> = said.iter().filter(|line| !line.starts_with(connects)).collect();
            assert_eq!(other, [&"done"], "{intruded:?}");
            assert!(!intruded.stdout.contains("connected to \0"), "{intruded:?}");
        }
        _ => assert_eq!(said, ["done"], "{kind:?}: {intruded:?}"),
    }
    assert_eq!(victim.exit_code, Some(0), "{kind:?}: {victim:?}");
    assert!(victim.stdout.ends_with("a secret of the first and nobody else\n"), "{kind:?}: {victim:?}");
}

/// What the kernel says of a process that a restriction would change.
fn restrictions(pid: i32) -> BTreeMap<String, String> {
    let proc = Path::new("/proc").join(pid.to_string());
    let mut all = BTreeMap::new();
    let fields = [
        "Uid",
        "Gid",
        "Groups",
        "CapInh",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "CapAmb",
        "NoNewPrivs",
        "Seccomp",
        "Seccomp_filters",
        "Cpus_allowed",
        "Umask",
        "SigIgn",
    ];
    for line in fs::read_to_string(proc.join("status")).unwrap().lines() {
        let (name, value) = line.split_once(':').unwrap();
        if fields.contains(&name) {
            all.insert(name.to_owned(), value.trim().to_owned());
        }
    }
    assert_eq!(all.len(), fields.len(), "{all:?}");
    for name in ["limits", "cgroup", "oom_score_adj", "mountinfo", "timerslack_ns", "personality"] {
        all.insert(name.to_owned(), fs::read_to_string(proc.join(name)).unwrap());
    }
    for link in fs::read_dir(proc.join("ns")).unwrap().map(|entry| entry.unwrap().path()) {
        all.insert(link.display().to_string(), fs::read_link(&link).unwrap().display().to_string());
    }
    for link in ["root", "cwd"] {
        all.insert(link.to_owned(), fs::read_link(proc.join(link)).unwrap().display().to_string());
    }
    let nice = fs::read_to_string(proc.join("stat")).unwrap();
    all.insert("nice".to_owned(), nice.rsplit(") ").next().unwrap().split(' ').nth(16).unwrap().to_owned());
    all
}

async fn the_daemon_is_no_more_restricted_after_a_command(kind: Kind) {
    let model = idle().await;
    let Some(host) = Host::start(kind, &model, "") else { return };
    let daemon = host.process.pid().as_raw();
    let threads = || {
        let tasks = fs::read_dir(format!("/proc/{daemon}/task")).unwrap();
        let pids = tasks.map(|task| task.unwrap().file_name().to_str().unwrap().parse::<i32>().unwrap());
        pids.map(restrictions).collect::<std::collections::BTreeSet<_>>()
    };
    let children = || runners_of(daemon);
    let before = restrictions(daemon);
    for script in ["exit 3", "kill -9 $$", "unshare -U true; echo x > /etc/x; ulimit -n 3"] {
        host.bash(script).await;
    }
    host.ask(&["no-such-program"], None).await.unwrap();
    host.ask(&["sleep", "1000"], Some(1)).await.unwrap();
    assert_eq!(restrictions(daemon), before, "{kind:?}");
    for thread in threads() {
        assert_eq!(thread["Seccomp"], before["Seccomp"], "{kind:?}");
        assert_eq!(thread["CapEff"], before["CapEff"], "{kind:?}");
    }
    // Landlock is not to be seen from outside: but whoever had it could not mount, nor start one who mounts.
    until("no runner is left", 10, async || children().is_empty().then_some(())).await;
    host.check().await;
    let again = host.bash("echo still").await;
    assert_eq!((again.exit_code, &*again.stdout), (Some(0), "still\n"), "{kind:?}: {again:?}");
}

fn runners_of(daemon: i32) -> Vec<i32> {
    super::kills::runners(daemon).collect()
}

/// The daemon of this test is the test's own process: what it starts afterwards may still do what Landlock, a filter of
/// system calls or lost capabilities would refuse.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_daemon_starts_afterwards_may_still_mount() {
    if !nix::unistd::geteuid().is_root() {
        crate::support::skip("only root may mount");
        return;
    }
    let model = idle().await;
    for backend in ["namespace", "landlock"] {
        let accepted = format!("backend = \"{backend}\"\nrequire = [\"read\", \"syscalls\"]\n");
        let (daemon, _dir) = crate::work::commands::start(&model, &accepted).await;
        let ran = crate::work::commands::person(&daemon, &["true"]).await;
        assert_eq!((ran.exit_code, &*ran.isolation_mode), (Some(0), backend));
        let mounts =
            "mount -t tmpfs none /mnt && touch /mnt/x && head -c 1 /etc/shadow && grep -c ^Seccomp: /proc/self/status";
        let done = std::process::Command::new("unshare").args(["--mount", "sh", "-c", mounts]).output().unwrap();
        assert!(done.status.success(), "{backend}: {done:?}");
        daemon.stop().await;
    }
}
