//! The level `work+net`: commands of jobs and people reach listed hosts through the real egress proxy, and nothing else.
//! The proxy stands in a world of its own (`world.sh`), because it goes to public addresses only.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Stdio, time::Duration};

use assistant_api::{
    effects::EffectState,
    jobs::JobStatus,
    sandbox::{CommandResult, SandboxStatus, SandboxTest},
    status::Status,
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    process::{Child, Command},
};

use super::{Path, PathBuf, TempDir, ctl, idle, one, person, start, submit, told, wait, workspace};
use crate::support::{daemon::Daemon, model::ModelServer, skip, until};

/// A proxy with its world.
pub(super) struct World {
    dir: TempDir,
    proxy: Child,
}

impl World {
    /// One that allows `example.org`; none where the kernel gives no namespaces to make it of.
    pub(super) async fn new() -> Option<Self> {
        let program = Path::new(env!("CARGO_BIN_EXE_assistantd")).with_file_name("assistant-egress");
        assert!(program.is_file(), "{} is not built: cargo build --package assistant-broker", program.display());
        let dir = tempfile::Builder::new().prefix("assistant-world-").tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(dir.path().join("egress.toml"), "allow = [\"example.org\", \"private.example\"]\n").unwrap();
        let root = nix::unistd::geteuid().is_root();
        let namespaces: &[&str] =
            if root { &["--net", "--mount"] } else { &["--user", "--map-root-user", "--net", "--mount"] };
        let possible = Command::new("unshare").args(namespaces).arg("true").stderr(Stdio::null()).status().await;
        if !possible.unwrap().success() {
            skip("a network for the egress proxy: the kernel gives no namespaces");
            return None;
        }
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/work/commands/world.sh");
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let mut command = Command::new("unshare");
        command.args(namespaces).args(["bash", script]).arg(dir.path()).arg(program);
        let proxy = command.stdin(Stdio::null()).stderr(log).kill_on_drop(true).spawn().unwrap();
        let mut world = Self { dir, proxy };
        let control = world.path("control.sock");
        until("the proxy listens", 30, async || {
            let ended = world.proxy.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", fs::read_to_string(world.path("log")).unwrap());
            UnixStream::connect(&control).await.ok()
        })
        .await;
        Some(world)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What the daemon is configured with, at this level.
    pub(super) fn config(&self, level: &str) -> String {
        let (proxy, control) = (self.path("proxy.sock"), self.path("control.sock"));
        format!(
            "level = \"{level}\"\negress_socket = \"{}\"\negress_control = \"{}\"\n",
            proxy.display(),
            control.display()
        )
    }

    /// What the proxy says to a request that shows this, from outside of every sandbox.
    pub(super) async fn ask(&self, login: &str) -> String {
        let mut stream = UnixStream::connect(self.path("proxy.sock")).await.unwrap();
        let shell = Command::new("base64").arg("-w0").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut shell = shell.unwrap();
        shell.stdin.take().unwrap().write_all(login.as_bytes()).await.unwrap();
        let encoded = String::from_utf8(shell.wait_with_output().await.unwrap().stdout).unwrap();
        let request = format!("GET http://example.org/ HTTP/1.0\r\nproxy-authorization: Basic {encoded}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

async fn start_with(model: &ModelServer, world: &World, level: &str) -> (Daemon, TempDir) {
    let (daemon, dir) = start(model, &world.config(level)).await;
    fs::copy(world.path("cert.pem"), workspace(&daemon).join("ca.pem")).unwrap();
    (daemon, dir)
}

fn bash(script: &str) -> [&str; 3] {
    ["bash", "-c", script]
}

/// What has to be reached at this level, with the usual programs, and what must not be.
pub(super) async fn reach(run: impl AsyncFn(&str) -> CommandResult) {
    for (script, says) in [
        ("curl --silent --show-error http://example.org/", "hello from outside\n"),
        ("curl --silent --show-error --cacert ca.pem https://example.org/", "hello from outside\n"),
        ("git clone --quiet http://example.org/repo.git plain && cat plain/file", "text\n"),
        ("git -c http.sslCAInfo=$PWD/ca.pem clone --quiet https://example.org/repo.git tls && cat tls/file", "text\n"),
        (
            "/usr/bin/python3 -c \"import urllib.request as r; print(r.urlopen('http://example.org/').read().decode(), end='')\"",
            "hello from outside\n",
        ),
        (
            "/usr/bin/python3 -m pip --version >/dev/null 2>&1 || { echo greetings; exit; }; /usr/bin/python3 -m pip install \
             --quiet --no-input --disable-pip-version-check --target /tmp/t --cert ca.pem --index-url \
             https://example.org/simple greeting && PYTHONPATH=/tmp/t /usr/bin/python3 -m greeting",
            "greetings\n",
        ),
    ] {
        let result = run(script).await;
        assert_eq!((result.exit_code, &*result.stdout), (Some(0), says), "{script}: {result:#?}");
        assert!(result.denials.is_empty(), "{script}: {:?}", result.denials);
    }
    for script in [
        "curl --silent --max-time 3 --noproxy '*' http://93.184.216.34/",
        "curl --silent --max-time 3 --noproxy '*' http://127.0.0.1:80/",
        "getent hosts example.org",
        "echo > /dev/udp/93.184.216.34/53",
    ] {
        let result = run(script).await;
        assert!(result.exit_code != Some(0) && result.stdout.is_empty(), "{script}: {result:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_reach_listed_hosts() {
    let Some(world) = World::new().await else { return };
    let model = idle().await;
    let (daemon, _dir) = start_with(&model, &world, "work+net").await;
    let run = async |script: &str| -> CommandResult { person(&daemon, &bash(script)).await };
    reach(run).await;
    let status: SandboxStatus = daemon.client().get("/api/sandbox").await.unwrap();
    assert!(status.problem.is_none() && status.egress.is_some_and(|egress| egress.answers));
    let status: Status = daemon.client().get("/api/status").await.unwrap();
    assert!(status.sandbox.egress.is_some_and(|egress| egress.answers));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_host_is_told_with_the_line_to_add() {
    let Some(world) = World::new().await else { return };
    let script = "curl --silent http://unlisted.example/; curl --silent https://unlisted.example/; \
                  curl --silent --fail http://private.example/; curl --silent http://unlisted.example/x >&2";
    let model = ModelServer::start(one(json!(bash(script)))).await;
    let (daemon, _dir) = start_with(&model, &world, "work+net").await;
    let job = submit(&daemon, "Fetch.").await;
    let done = wait(&daemon, job, JobStatus::Completed).await;
    let line = format!("add `allow = [\"unlisted.example\"]` to {}", "egress.toml");

    // To the program itself, the model, the effect, and people.
    let result = told(&done);
    assert!(result["stdout"].as_str().unwrap().contains(&line), "{result}");
    let hint = result["hint"].as_str().unwrap();
    assert!(hint.contains("the sandbox refused unlisted.example:80 (proxy, host_not_listed)"), "{hint}");
    assert!(hint.contains(&line), "{hint}");
    let effect = &done.effects[0];
    assert_eq!(effect.state, EffectState::Confirmed);
    let denials: Vec<_> = effect.detail["denials"].as_array().unwrap().iter().collect();
    let find = |target: &str| denials.iter().find(|denial| denial["target"] == target).unwrap();
    assert_eq!(
        (&find("unlisted.example:80")["count"], &find("unlisted.example:80")["layer"]),
        (&json!(2), &json!("proxy"))
    );
    assert_eq!(find("unlisted.example:443")["rule"], "host_not_listed");
    assert_eq!(find("private.example:80")["rule"], "address_not_public: private");
    let explained = ctl(&daemon.socket(), &["sandbox", "explain", "--job", &job.to_string()]).output().await.unwrap();
    let text = String::from_utf8(explained.stdout).unwrap();
    assert!(text.contains("unlisted.example:443") && text.contains("host_not_listed"), "{text}");
    // The proxy's own line says for which job it was.
    let log = fs::read_to_string(world.path("log")).unwrap();
    assert!(log.contains(&format!("job_id=\"{job}\"")) && log.contains("unlisted.example is refused"), "{log}");
    daemon.stop().await;
}

/// A token counts for its own session, as long as that lasts.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_of_no_use_elsewhere_or_afterwards() {
    let Some(world) = World::new().await else { return };
    let script =
        "printf %s $http_proxy > login; until [ -e go ]; do sleep 0.05; done; curl --silent http://example.org/";
    let model = ModelServer::start(one(json!(bash(script)))).await;
    let (daemon, _dir) = start_with(&model, &world, "work+net").await;
    let place = workspace(&daemon);
    let job = submit(&daemon, "Wait.").await;
    let url =
        until("it runs", 20, async || fs::read_to_string(place.join("login")).ok().filter(|url| !url.is_empty())).await;
    let login = url.strip_prefix("http://").unwrap().strip_suffix("@127.0.0.1:3128").unwrap();
    assert!(login.starts_with("job:") && login.len() > 64, "{login}");

    assert!(world.ask(login).await.starts_with("HTTP/1.0 407 "), "from outside of its session");
    let other = person(&daemon, &["curl", "--silent", "--proxy", &url, "http://example.org/"]).await;
    assert!(other.stdout.contains("no granted token came with it"), "in another session: {other:#?}");
    let own = person(&daemon, &["curl", "--silent", "http://example.org/"]).await;
    assert_eq!(own.stdout, "hello from outside\n", "two sessions at once");
    fs::write(place.join("go"), "").unwrap();
    let done = wait(&daemon, job, JobStatus::Completed).await;
    assert_eq!(told(&done)["stdout"], "hello from outside\n");

    let again = person(&daemon, &["curl", "--silent", "--proxy", &url, "http://example.org/"]).await;
    assert!(again.stdout.contains("no granted token came with it"), "after its session: {again:#?}");
    daemon.stop().await;
    let log = fs::read_to_string(world.path("log")).unwrap();
    assert!(!log.contains(&login[4..]), "no token is logged");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_ends_with_the_command() {
    let Some(world) = World::new().await else { return };
    let model = idle().await;
    let (daemon, _dir) = start_with(&model, &world, "work+net").await;
    // A tunnel that would stay for minutes.
    let script = "exec 3<>/dev/tcp/127.0.0.1/3128; printf 'CONNECT example.org:443 HTTP/1.1\\r\\nproxy-authorization: Basic \
                  %s\\r\\n\\r\\n' $(printf %s ${http_proxy#http://} | cut -d@ -f1 | tr -d '\\n' | base64 -w0) >&3; read -r line <&3; \
                  echo $line; sleep 1000 & exit 0";
    let result = person(&daemon, &bash(script)).await;
    assert!(result.stdout.starts_with("HTTP/1.1 200 "), "{result:#?}");
    until("the proxy saw its end", 5, async || {
        let log = fs::read_to_string(world.path("log")).unwrap();
        log.contains("client_gone").then_some(())
    })
    .await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_proxy_nothing_runs_and_the_way_out_is_named() {
    let model = ModelServer::start(one(json!(["touch", "ran"]))).await;
    let dir = tempfile::tempdir().unwrap();
    let control = dir.path().join("control.sock");
    let config = format!("level = \"work+net\"\negress_control = \"{}\"\n", control.display());
    let (daemon, _dir) = start(&model, &config).await;
    let job = submit(&daemon, "Touch.").await;
    let done = wait(&daemon, job, JobStatus::Completed).await;
    let error = told(&done)["error"].as_str().unwrap().to_owned();
    let reason = format!("the level work+net needs the egress proxy: not installed: there is no {}", control.display());
    assert!(error.contains(&reason), "{error}");
    assert!(!workspace(&daemon).join("ran").exists());
    let status: Status = daemon.client().get("/api/status").await.unwrap();
    let problem = status.sandbox.problem.unwrap();
    assert!(problem.contains(&reason) && problem.contains("systemctl start assistant-egress"), "{problem}");
    assert!(status.sandbox.egress.is_some_and(|egress| !egress.answers));
    // Who asks for less gets it.
    let less =
        ctl(&daemon.socket(), &["sandbox", "run", "--level", "work", "--", "echo", "less"]).output().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&less.stdout), "less\n");
    // Somebody listens there who is no proxy.
    let listener = tokio::net::UnixListener::bind(&control).unwrap();
    let accept = async { drop(listener.accept().await.unwrap()) };
    let run = ctl(&daemon.socket(), &["sandbox", "run", "--", "true"]).output();
    let (output, ()) = tokio::join!(run, accept);
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() != Some(0) && said.contains("--control-user"), "{said}");
    daemon.stop().await;
}

/// Another level than that of jobs, asked for by an admin, and what the sandbox proves of it.
#[tokio::test(flavor = "multi_thread")]
async fn an_admin_asks_for_it_by_hand() {
    let Some(world) = World::new().await else { return };
    let model = idle().await;
    let (daemon, _dir) = start_with(&model, &world, "work").await;
    let fetch = ["--", "curl", "--silent", "http://example.org/"];
    let run = async |more: &[&str]| {
        let arguments = [&["sandbox", "run"], more, &fetch].concat();
        ctl(&daemon.socket(), &arguments).output().await.unwrap()
    };
    let output = run(&["--level", "work+net"]).await;
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello from outside\n", "{output:?}");
    let output = run(&[]).await;
    assert!(output.status.code() != Some(0) && output.stdout.is_empty(), "{output:?}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sandbox_proves_itself_at_this_level() {
    let Some(world) = World::new().await else { return };
    let model = idle().await;
    let (daemon, _dir) = start_with(&model, &world, "work+net").await;
    let client = daemon.client();
    let request = client.request("POST", "/api/sandbox/test").timeout(Some(Duration::from_secs(120)));
    let test: SandboxTest = request.fetch().await.unwrap();
    assert_eq!((test.level.as_str(), test.sandbox.problem), ("work+net", None));
    let wrong: Vec<_> = test.attempts.iter().filter(|attempt| !attempt.good).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let outcome = |name: &str| &test.attempts.iter().find(|attempt| attempt.name == name).unwrap().outcome;
    assert_eq!(outcome("connect-port-of-the-egress-proxy"), "works");
    assert_eq!(outcome("connect-other-ports-of-loopback"), "denied");
    daemon.stop().await;
}
