//! The checks that the sandbox is held to, each by its number.

use std::{
    net::TcpListener,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use assistant_api::sandbox::SandboxStatus;
use serde_json::json;

use super::{CommandResult, ScriptReply, ScriptRequest, empty, idle, inside, person, start, submit, wait, workspace};
use crate::support::until;

/// Our sources below these directories: path from the top, and text.
fn sources(tops: &[&str]) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut dirs: Vec<PathBuf> = tops.iter().map(|top| root.join(top)).collect();
    let mut found = Vec::new();
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().display().to_string();
                found.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(found.len() > 100, "{}", found.len());
    found
}

async fn bash(daemon: &super::Daemon, script: &str) -> CommandResult {
    person(daemon, &["bash", "-c", script]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn s13_the_default_path_has_no_docker_socket() {
    // Only the process that is installed for it knows where an engine listens, and what it speaks.
    for (name, text) in sources(&["src", "ctl/src", "ctl/api/src"]) {
        // The runner looks whether it can be seen; it connects to nothing.
        if !name.starts_with("src/sandbox/broker/")
            && !name.starts_with("src/sandbox/runner/")
            && !name.contains("/tests")
        {
            assert!(!text.contains("docker.sock") && !text.contains("bollard"), "{name}");
        }
    }
    let manifest = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    assert!(!manifest["dependencies"].as_table().unwrap().contains_key("bollard"), "the daemon speaks to no engine");
    let model = idle().await;
    let (daemon, _dir) = start(&model, "").await;
    let status: SandboxStatus = daemon.client().get("/api/sandbox").await.unwrap();
    assert_eq!(status.backend.as_deref(), Some("namespace"), "{:?}", status.refused);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s14_no_new_privileges_no_capabilities_and_a_read_only_root() {
    let model = idle().await;
    let (daemon, _dir) = start(&model, "").await;
    let script =
        "grep -E '^(NoNewPrivs|Cap)' /proc/self/status; echo root $(awk '$2 == \"/\" { print $4 }' /proc/self/mounts)
        for path in / /usr /etc /usr/bin; do touch $path/x 2>/dev/null && echo $path is written; done; touch /tmp/x";
    let ran = bash(&daemon, script).await;
    assert_eq!(ran.exit_code, Some(0), "{}", ran.stderr);
    let said: Vec<Vec<&str>> = ran.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    for sets in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert!(said.contains(&vec![sets, "0000000000000000"]), "{sets} {}", ran.stdout);
    }
    assert!(said.contains(&vec!["NoNewPrivs:", "1"]), "{}", ran.stdout);
    let root = said.iter().find(|line| line[0] == "root").unwrap();
    assert!(root[1].split(',').any(|option| option == "ro"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("is written"), "{}", ran.stdout);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s15_a_command_reaches_neither_the_api_nor_a_database_nor_loopback() {
    let model = idle().await;
    let (daemon, dir) = start(&model, "").await;
    // As a database that listens on every interface, on a path and by an abstract name.
    let database = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = database.local_addr().unwrap().port();
    let path = dir.path().join("database.sock");
    let _on_path = UnixListener::bind(&path).unwrap();
    let name = format!("assistant-test-{}-{port}", std::process::id());
    let _abstract = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    // From outside all of them answer.
    std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    UnixStream::connect(&path).unwrap();
    UnixStream::connect(daemon.socket()).unwrap();
    let script = "import socket, sys
def reach(family, address):
    try:
        socket.socket(family, socket.SOCK_STREAM).connect(address)
        print('reached', address)
    except OSError as error:
        print('refused', error.errno)
for address in [('127.0.0.1', int(sys.argv[1])), ('127.0.0.1', int(sys.argv[2])), ('0.0.0.0', int(sys.argv[1]))]:
    reach(socket.AF_INET, address)
for path in sys.argv[3:]:
    reach(socket.AF_UNIX, path.replace('@', chr(0)))
    if path.startswith('/'):
        reach(socket.AF_UNIX, '/proc/1/root' + path)
";
    let model_port = model.base_url().rsplit(':').next().unwrap().trim_end_matches("/v1").to_owned();
    let (socket, path) = (daemon.socket().display().to_string(), path.display().to_string());
    let ran = person(
        &daemon,
        &["python3", "-c", script, &port.to_string(), &model_port, &socket, &path, &format!("@{name}")],
    )
    .await;
    assert_eq!(ran.exit_code, Some(0), "{}", ran.stderr);
    let said: Vec<_> = ran.stdout.lines().collect();
    assert!(said.len() == 8 && said.iter().all(|line| line.starts_with("refused ")), "{}", ran.stdout);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s16_no_raw_sockets_and_bounds_on_processes_memory_and_processors() {
    let model = idle().await;
    let bounds = "processes = 48\nmemory = \"256MiB\"\ncpus = 1.0\n";
    let (daemon, _dir) = start(&model, bounds).await;
    let raw = "import socket
for kind in [(socket.AF_INET, socket.SOCK_RAW, 1), (socket.AF_PACKET, socket.SOCK_RAW, 0)]:
    try:
        socket.socket(*kind); print('made')
    except OSError as error:
        print(error.errno)
";
    let ran = person(&daemon, &["python3", "-c", raw]).await;
    assert_eq!(ran.stdout, "1\n1\n", "EPERM: {}", ran.stderr);
    let refused = ran.denials.iter().filter(|denied| denied.layer == "seccomp" && denied.target == "socket");
    assert_eq!(refused.map(|denied| denied.count).sum::<u64>(), 2, "{:?}", ran.denials);

    let bomb = "import os, time
made = 0
try:
    while made < 500:
        if os.fork() == 0:
            time.sleep(1000)
        made += 1
except OSError:
    pass
print(made)
";
    let ran = person(&daemon, &["python3", "-c", bomb]).await;
    let made: u32 = ran.stdout.trim().parse().unwrap_or_else(|_| panic!("{ran:?}"));
    assert!((20..52).contains(&made), "{made}");
    assert!(inside(&workspace(&daemon)).is_empty(), "its processes went with it");

    // One that asks for too much, and many that together do.
    let ran = person(&daemon, &["python3", "-c", "kept = [bytearray(1 << 24) for _ in range(64)]"]).await;
    let bounded = ran.outcome == "out_of_memory" || ran.stderr.contains("MemoryError");
    assert!(bounded && ran.peak_bytes <= 256 << 20, "{ran:?}");
    let many = "import os, time
for _ in range(8):
    if os.fork() == 0:
        kept = bytearray(96 << 20); time.sleep(1000)
time.sleep(1000)
";
    let ran = person(&daemon, &["python3", "-c", many]).await;
    assert_eq!(ran.outcome, "out_of_memory", "{ran:?}");

    let spin = "import os, time
end = time.monotonic() + 2
children = []
for _ in range(4):
    child = os.fork()
    if child == 0:
        while time.monotonic() < end: pass
        os._exit(0)
    children.append(child)
for child in children: os.waitpid(child, 0)
";
    let ran = person(&daemon, &["python3", "-c", spin]).await;
    assert_eq!(ran.exit_code, Some(0), "{ran:?}");
    assert!(ran.cpu_ms * 10 <= ran.duration_ms * 13, "one processor: {} ms in {} ms", ran.cpu_ms, ran.duration_ms);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s17_no_docker_socket_in_a_run() {
    let model = idle().await;
    let (daemon, _dir) = start(&model, "").await;
    let ran = bash(
        &daemon,
        "ls -A /run /var/run 2>/dev/null; find / -name '*docker*.sock' 2>/dev/null; ls /var/run/docker.sock",
    )
    .await;
    assert_eq!(ran.stdout, "", "there is nothing at all");
    assert!(ran.exit_code == Some(2) && ran.stderr.contains("No such file"), "{ran:?}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s19_a_weaker_sandbox_is_refused_unless_it_is_accepted() {
    let model = idle().await;
    let (daemon, _dir) = start(&model, "backend = \"landlock\"\n").await;
    let asked = || ScriptRequest { command: vec!["touch".into(), "ran".into()], ..empty() };
    let reply: ScriptReply = daemon.client().post("/api/workspace/script-runs", &asked()).await.unwrap();
    let error = reply.error.unwrap();
    assert!(reply.result.is_none() && error.contains("sandbox.require") && error.contains("write"), "{error}");
    assert!(!workspace(&daemon).join("ran").exists());
    daemon.stop().await;

    let accepted = "backend = \"landlock\"\nrequire = [\"read\", \"network\", \"ipc\", \"syscalls\"]\n";
    let (daemon, _dir) = start(&model, accepted).await;
    let ran = person(&daemon, &["touch", "ran"]).await;
    assert_eq!((ran.exit_code, &*ran.isolation_mode), (Some(0), "landlock"), "{ran:?}");
    let status: SandboxStatus = daemon.client().get("/api/sandbox").await.unwrap();
    let given: Vec<_> = status.guarantees.iter().filter(|one| one.given).map(|one| &*one.name).collect();
    assert!(!given.contains(&"write") && given.contains(&"read"), "what is not given is said: {given:?}");
    daemon.stop().await;
}

/// The daemon starts three programs: the runner, the reader of mail and documents, which confines itself, and the one that
/// its owner named for notices.
#[tokio::test(flavor = "multi_thread")]
async fn s26_commands_never_run_in_the_process_of_the_daemon() {
    const STARTERS: [&str; 6] = [
        "src/convert/reader.rs",
        "src/mail/compose/render.rs",
        "src/mail/intake/names.rs",
        "src/mail/intake/reader.rs",
        "src/notify/command.rs",
        "src/sandbox/session.rs",
    ];
    let starts = |text: &str| {
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        ["Command::new", "posix_spawn", "fork(", "execve", "execvp"].iter().any(|call| code.contains(call))
    };
    // These are programs of their own.
    let others = ["src/sandbox/runner/", "src/sandbox/broker/", "src/backup/archive/"];
    let own = |name: &str| !others.iter().any(|other| name.starts_with(other)) && !name.contains("/tests");
    let mut starters: Vec<_> =
        sources(&["src"]).into_iter().filter(|(name, text)| own(name) && starts(text)).map(|(name, _)| name).collect();
    starters.sort();
    assert_eq!(starters, STARTERS);

    // And while a job's command runs, nobody but runners is this process's child.
    let model = super::ModelServer::start(super::one(json!(["bash", "-c", "touch up; sleep 1000 & wait"]))).await;
    let (daemon, _dir) = start(&model, "").await;
    let job = submit(&daemon, "Sleep.").await;
    let up = workspace(&daemon).join("up");
    until("the command runs", 20, async || up.exists().then_some(())).await;
    let commands = inside(&workspace(&daemon));
    assert!(!commands.is_empty());
    for pid in commands {
        let mut above = pid;
        while parent(above) != std::process::id().cast_signed() {
            above = parent(above);
            assert!(above > 1, "{pid} does not come from here");
        }
        // Where its program lies only root may see: it is not dumpable.
        let name = std::fs::read_to_string(format!("/proc/{above}/comm")).unwrap();
        assert_eq!(name, "assistant-sandb\n");
        assert_ne!(above, pid, "the runner is no command");
    }
    let _: assistant_api::jobs::StatusReply =
        daemon.client().post(&format!("/api/jobs/{job}/cancel"), &json!({})).await.unwrap();
    wait(&daemon, job, assistant_api::jobs::JobStatus::Cancelled).await;
    daemon.stop().await;
}

fn parent(pid: i32) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(") ").next().unwrap().split(' ').nth(1).unwrap().parse().unwrap()
}
