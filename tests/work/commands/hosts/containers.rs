//! What is there of containers only.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use assistant_api::sandbox::SandboxStatus;

use super::{Broker, Host, Kind, engine, sessions, start, text};
use crate::{
    support::{process::Place, until},
    work::commands::{
        ctl, idle,
        net::{World, reach},
    },
};

/// What the engine says to this, in words.
fn docker(arguments: &[&str]) -> Vec<String> {
    let [engine, ..] = engine().unwrap();
    let mut command = Command::new("docker");
    let done = command.env("DOCKER_HOST", format!("unix://{engine}")).args(arguments).output().unwrap();
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap().split_whitespace().map(str::to_owned).collect()
}

impl Host {
    /// Containers of this host, in whatever state.
    fn containers(&self) -> Vec<String> {
        let label = format!("label=assistant.docker={}", sessions(self.dir.path()).display());
        docker(&["ps", "--all", "--quiet", "--filter", &label])
    }

    /// Waits until there is none; how long that took.
    async fn cleared(&self) -> Duration {
        let began = Instant::now();
        until("no container is left", 20, async || self.containers().is_empty().then_some(())).await;
        began.elapsed()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_of_the_level_container_runs_in_the_image() {
    let model = idle().await;
    let Some(host) = Host::start(Kind::Docker, &model, "level = \"container\"\n") else { return };
    host.check().await;
    let status: SandboxStatus = host.client().get("/api/sandbox").await.unwrap();
    assert!(status.guarantees.iter().all(|one| one.given && one.required), "{status:?}");
    let ran = host.bash("test -f /.dockerenv && id -u && pwd && echo made > here && uname -n").await;
    assert_eq!(
        (ran.exit_code, &*ran.stdout, &*ran.isolation_mode),
        (Some(0), "65534\n/workspace\nsandbox\n", "docker")
    );
    assert_eq!(std::fs::read_to_string(host.workspace().join("here")).unwrap(), "made\n");
    // What the image is for: each of these is there and works.
    let tools = "python3 -c 'print(6 * 7)' && node -e 'console.log(7 * 6)' && git --version >/dev/null && pip list >/dev/null
        printf 'int main(void){return 0;}' > x.c && make -s x && ./x && jq -n 1 && rg --version >/dev/null && TZ=Asia/Tokyo date -d @0 +%H";
    let ran = host.bash(tools).await;
    assert_eq!((ran.exit_code, &*ran.stdout), (Some(0), "42\n42\n1\n09\n"), "{ran:?}");

    let socket = host.place.socket();
    let arguments = ["sandbox", "run", "--", "bash", "-c", "cat /proc/1/comm; echo oops >&2; exit 7"];
    let output = ctl(&socket, &arguments).output().await.unwrap();
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "oops\n", "{output:?}");
    let took = host.cleared().await;
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_goes_within_a_second_of_every_end() {
    let model = idle().await;
    let Some(mut host) = Host::start(Kind::Docker, &model, "memory = \"256MiB\"\n") else { return };
    host.check().await;
    host.cleared().await;
    let second = Duration::from_secs(1);
    // Each of these commands of a person has a container of its own.
    let many = "import os, time
for _ in range(8):
    if os.fork() == 0:
        kept = bytearray(96 << 20); time.sleep(1000)
time.sleep(1000)
";
    for (argv, outcome) in [(["bash", "-c", "exit 3"], "exited"), (["python3", "-c", many], "out_of_memory")] {
        let result = host.person(&argv).await;
        assert_eq!(result.outcome, outcome, "{result:?}");
        let took = host.cleared().await;
        assert!(took < second, "{outcome}: {took:?}");
    }
    let asked = host.ask(&["sleep", "1000"], Some(1)).await.unwrap();
    assert!(asked.result.unwrap().timed_out);
    let took = host.cleared().await;
    assert!(took < second, "timed out: {took:?}");

    let sleeps = ["sandbox", "run", "--", "bash", "-c", "touch up; sleep 1000"];
    let (up, socket) = (host.workspace().join("up"), host.place.socket());
    let mut asking = ctl(&socket, &sleeps).spawn().unwrap();
    until("the command runs", 20, async || up.exists().then_some(())).await;
    assert_eq!(host.containers().len(), 1);
    asking.start_kill().unwrap();
    let took = host.cleared().await;
    assert!(took < second, "cancelled: {took:?}");

    std::fs::remove_file(&up).unwrap();
    let _asking = ctl(&socket, &sleeps).stderr(std::process::Stdio::null()).spawn().unwrap();
    until("the command runs", 20, async || up.exists().then_some(())).await;
    host.process.kill();
    let took = host.cleared().await;
    assert!(took < second, "the daemon was killed: {took:?}");
}

/// What the kernel ends for want of memory takes neither the runner nor the session along.
#[tokio::test(flavor = "multi_thread")]
async fn memory_that_nobody_holds_is_bounded_too() {
    let model = idle().await;
    let Some(host) = Host::start(Kind::Docker, &model, "memory = \"128MiB\"\n") else { return };
    let files = "import os
kept = [os.memfd_create('x') for _ in range(64)]
for one in kept: os.write(one, bytes(8 << 20))
print('all of it')
";
    let result = host.person(&["python3", "-c", files]).await;
    assert_eq!((&*result.outcome, &*result.stdout), ("out_of_memory", ""), "{result:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_image_is_refused_with_the_command_that_builds_it() {
    let model = idle().await;
    let Some(mut host) = Host::start(Kind::Docker, &model, "image = \"not-there:1\"\n") else { return };
    host.broker = None;
    let _ = std::fs::remove_file(host.dir.path().join("docker.sock"));
    host.broker = Broker::start_with(host.dir.path(), "images = [\"assistant-work:1\", \"not-there:1\"]\n");
    let reply = host.ask(&["touch", "ran"], None).await.unwrap();
    let error = reply.error.unwrap();
    assert!(error.contains("build-work-image.sh not-there:1") && reply.result.is_none(), "{error}");
    let status: SandboxStatus = host.client().get("/api/sandbox").await.unwrap();
    assert_eq!(status.backend, None);
    assert!(status.problem.unwrap().contains("build-work-image.sh not-there:1"));
    assert!(!host.workspace().join("ran").exists() && host.containers().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_are_removed_at_the_start() {
    let model = idle().await;
    let Some(mut host) = Host::start(Kind::Docker, &model, "") else { return };
    host.broker = None;
    let label = format!("assistant.docker={}", sessions(host.dir.path()).display());
    docker(&["run", "--detach", "--network", "none", "--label", &label, "assistant-work:1", "sleep", "1000"]);
    docker(&["create", "--network", "none", "--label", &label, "assistant-work:1", "sleep", "1000"]);
    assert_eq!(host.containers().len(), 2);
    let _ = std::fs::remove_file(host.dir.path().join("docker.sock"));
    host.broker = Broker::start(host.dir.path());
    host.cleared().await;
    assert_eq!(host.bash("echo on").await.stdout, "on\n");
}

/// An engine is the last resort: what does without is taken first.
#[tokio::test(flavor = "multi_thread")]
async fn docker_is_not_chosen_while_another_backend_gives_everything() {
    let model = idle().await;
    let Some(mut host) = Host::start(Kind::Docker, &model, "") else { return };
    host.process.kill();
    let auto = text(host.kind, &model, host.dir.path(), "").replace("backend = \"docker\"", "backend = \"auto\"");
    host.place = Place::new(&auto);
    host.process = start(host.kind, &host.place, host.dir.path());
    let ran = host.bash("true").await;
    assert_eq!((ran.exit_code, &*ran.isolation_mode), (Some(0), "namespace"));
    // But for the level that only it can give.
    host.process.kill();
    host.place = Place::new(&auto.replace("[sandbox]\n", "[sandbox]\nlevel = \"container\"\n"));
    host.process = start(host.kind, &host.place, host.dir.path());
    let ran = host.bash("true").await;
    assert_eq!((ran.exit_code, &*ran.isolation_mode), (Some(0), "docker"));
}

/// The way out of a container is the egress proxy, and a token of one is of no use in another.
#[tokio::test(flavor = "multi_thread")]
async fn at_level_work_net_listed_hosts_are_reached() {
    let Some(world) = World::new().await else { return };
    let model = idle().await;
    let Some(host) = Host::start(Kind::Docker, &model, &world.config("work+net")) else { return };
    host.check().await;
    std::fs::copy(world.path("cert.pem"), host.workspace().join("ca.pem")).unwrap();
    reach(async |script| host.bash(script).await).await;

    let refused = host.bash("curl --silent http://unlisted.example/; ls /sys/class/net; ls -A /run").await;
    assert_eq!(refused.denials.len(), 1, "{refused:#?}");
    assert!(refused.stdout.contains("add `allow = [\"unlisted.example\"]`"), "{refused:#?}");

    let holding = async {
        let script =
            "printf %s $http_proxy > login; until [ -e go ]; do sleep 0.05; done; curl --silent http://example.org/";
        host.bash(script).await
    };
    let using = async {
        let file = host.workspace().join("login");
        let url =
            until("it runs", 20, async || std::fs::read_to_string(&file).ok().filter(|url| !url.is_empty())).await;
        let login = url.strip_prefix("http://").unwrap().strip_suffix("@127.0.0.1:3128").unwrap();
        assert!(world.ask(login).await.starts_with("HTTP/1.0 407 "), "from outside of its container");
        let other = host.bash(&format!("curl --silent --proxy {url} http://example.org/")).await;
        assert!(other.stdout.contains("no granted token came with it"), "in another container: {other:#?}");
        std::fs::write(host.workspace().join("go"), "").unwrap();
    };
    let (held, ()) = tokio::join!(holding, using);
    assert_eq!(held.stdout, "hello from outside\n", "in its own: {held:#?}");
}
