//! Commands in the sandbox: many sessions at once, the API beside a fork bomb, and a container that is warm.

use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use assistant_api::sandbox::{ScriptReply, ScriptRequest};
use tokio::{process::Command, task::JoinSet};

use super::{
    load, measure,
    table::{Goal, Table},
};
use crate::support::process::Place;

/// Sessions at the same time.
const SESSIONS: usize = 50;
/// How long the API is asked beside the bomb.
const TIME: Duration = Duration::from_secs(8);
/// Processes that make others without end, within their bound, until they are ended.
const BOMB: &str = "trap '' TERM HUP; touch up; bomb() { bomb | bomb & }; while :; do bomb; done";

/// A daemon whose commands run in this backend; the workspace is the state directory's, so that nothing else is needed.
fn place(more: &str) -> Place {
    let runner = super::program("assistant-sandbox");
    assert!(runner.is_file(), "{} is not built: cargo build --package assistant-sandbox --release", runner.display());
    Place::new(&format!(
        "[llm]\nprovider = \"rehearsal\"\n[log]\nlevel = \"warn\"\n[sandbox]\nrunner = \"{}\"\n{more}",
        runner.display()
    ))
}

fn asked(argv: &[&str], seconds: Option<u64>) -> ScriptRequest {
    let command = argv.iter().map(ToString::to_string).collect();
    ScriptRequest { path: None, command, workdir: None, timeout_seconds: seconds }
}

pub(crate) async fn measure(table: &mut Table) {
    sessions(table).await;
    beside_a_bomb(table).await;
    warm_container(table).await;
}

/// Each has a session of its own; none may fail.
async fn sessions(table: &mut Table) {
    let place = place("backend = \"namespace\"\n");
    let _process = place.start(&[]);
    let begin = Instant::now();
    let mut running = JoinSet::new();
    for number in 0..SESSIONS {
        let client = place.client();
        running.spawn(async move {
            let sum = format!("sleep 1; echo $(({number} * 2))");
            let sent = Instant::now();
            let reply: ScriptReply =
                client.post("/api/workspace/script-runs", &asked(&["bash", "-c", &sum], None)).await.unwrap();
            let result = reply.result.unwrap_or_else(|| panic!("{:?}", reply.error));
            assert_eq!((result.exit_code, result.stdout), (Some(0), format!("{}\n", number * 2)));
            measure::millis(sent.elapsed())
        });
    }
    let mut times = running.join_all().await;
    let all = measure::millis(begin.elapsed());
    table.row(&format!("{SESSIONS} sessions at once that each sleep 1 s, all"), all, "ms", None, Goal::None);
    let slowest = measure::percentile(&mut times, 1.0);
    table.row(&format!("{SESSIONS} sessions at once, the slowest"), slowest, "ms", None, Goal::None);
}

/// The newest jobs, while a bomb goes off again and again in a command.
async fn beside_a_bomb(table: &mut Table) {
    let place = place("backend = \"namespace\"\n");
    let process = place.start(&[]);
    let quiet = load::run(&place.socket(), 4, TIME / 4, "GET", "/api/jobs?limit=20", |_| String::new()).await;
    let (client, mut bombs) = (place.client(), JoinSet::new());
    bombs.spawn(async move {
        loop {
            let bomb = asked(&["bash", "-c", BOMB], Some(3));
            let reply: ScriptReply = client.post("/api/workspace/script-runs", &bomb).await.unwrap();
            assert!(reply.result.is_some(), "{:?}", reply.error);
        }
    });
    let up = place.workspace().join("up");
    while !up.exists() {
        assert!(bombs.try_join_next().is_none(), "the bomb does not go off");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let seen = load::run(&place.socket(), 4, TIME, "GET", "/api/jobs?limit=20", |_| String::new()).await;
    assert!(bombs.try_join_next().is_none(), "the bomb went on all the time");
    bombs.abort_all();
    drop(process);
    let what = "GET /api/jobs beside a fork bomb, 4 connections";
    table.row(&format!("{what}, p50"), seen.p50, "ms", Some(quiet.p50), Goal::None);
    table.row(&format!("{what}, p99"), seen.p99, "ms", Some(quiet.p99), Goal::AtMost(100.0));
}

/// Commands one after another in one container: only where `engine.sh` has started an engine.
async fn warm_container(table: &mut Table) {
    let of = |name| std::env::var(name).ok();
    let (Some(engine), Some(runner), Some(program)) =
        (of("ASSISTANT_TEST_ENGINE"), of("ASSISTANT_TEST_RUNNER"), of("ASSISTANT_TEST_BROKER"))
    else {
        println!("a warm container: not measured, as no engine is there (src/sandbox/broker/tests/docker/engine.sh)");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir(at("workspace")).unwrap();
    std::os::unix::fs::chown(at("workspace"), Some(65534), Some(65534)).unwrap();
    let text = format!(
        "engine = \"{engine}\"\nrunner = \"{runner}\"\nworkspace = \"{}\"\nuser = {{ uid = 65534, gid = 65534 }}\n",
        at("workspace").display()
    );
    std::fs::write(at("docker.toml"), text).unwrap();
    let mut broker = Command::new(program);
    broker.env_clear().stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    broker.arg("--config").arg(at("docker.toml")).arg("--listen").arg(at("run"));
    let _broker = broker.arg("--runtime-dir").arg(at("sessions")).spawn().unwrap();
    let (mut first, mut warm) = (f64::NAN, Vec::new());
    let mut session = container(&at("run"), &mut first).await;
    for _ in 0..100 {
        let begin = Instant::now();
        session.run();
        warm.push(measure::millis(begin.elapsed()));
    }
    table.row("/bin/true in a new container", first, "ms", None, Goal::None);
    table.row("/bin/true in a warm container", measure::median(&mut warm), "ms", None, Goal::AtMost(100.0));
}

/// A session of the broker.
struct Container(std::os::unix::net::UnixStream);

async fn container(socket: &Path, first: &mut f64) -> Container {
    use assistant_broker::container::{Open, open};
    for _ in 0..200 {
        if socket.exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let begin = Instant::now();
    let (stream, _) = open(socket, Open::default(), None).await.unwrap();
    let stream = stream.into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    let mut session = Container(stream);
    assert_eq!(session.next().kind, assistant_sandbox::protocol::Kind::Ready);
    session.run();
    *first = measure::millis(begin.elapsed());
    session
}

impl Container {
    fn next(&mut self) -> assistant_sandbox::protocol::Frame {
        assistant_sandbox::protocol::Frame::read(&mut self.0).unwrap().unwrap()
    }

    /// Runs `/bin/true`.
    fn run(&mut self) {
        use assistant_sandbox::protocol::{Exit, Frame, Kind};
        let exec = serde_json::json!({ "argv": ["/bin/true"] }).to_string().into_bytes();
        Frame { kind: Kind::Exec, body: exec }.write(&mut self.0).unwrap();
        loop {
            let frame = self.next();
            match frame.kind {
                Kind::Exit => break assert_eq!(frame.parse::<Exit>().unwrap().code, Some(0)),
                Kind::Refused => panic!("{}", String::from_utf8_lossy(&frame.body)),
                _ => {}
            }
        }
    }
}
