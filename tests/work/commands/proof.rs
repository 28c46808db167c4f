//! `assistantctl sandbox test`: what the sandbox promises, tried.

use assistant_sandbox::protocol::Guarantee;

use super::{ctl, idle, runner, start};

/// The lines of the table of guarantees: name, required, state, refused, tried.
fn guarantees(text: &str) -> Vec<(String, String, String, u32, u32)> {
    let line = |line: &str| {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        let at = words.iter().position(|word| word == "of")?;
        let (refused, tried) = (words.get(at - 1)?.parse().ok()?, words.get(at + 1)?.parse().ok()?);
        (words.get(at + 2)? == "refused")
            .then(|| (words[0].clone(), words[1].clone(), words[2].clone(), refused, tried))
    };
    text.lines().filter_map(line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_guarantee_is_tried_and_holds() {
    let model = idle().await;
    let (daemon, _dir) = start(&model, "").await;
    let ran = ctl(&daemon.socket(), &["sandbox", "test"]).output().await.unwrap();
    let text = String::from_utf8(ran.stdout).unwrap();
    let table = guarantees(&text);
    let names = Guarantee::ALL.map(|guarantee| serde_json::to_value(guarantee).unwrap().as_str().unwrap().to_owned());
    assert_eq!(table.iter().map(|row| row.0.clone()).collect::<Vec<_>>(), names, "{text}");
    for (name, required, state, refused, tried) in &table {
        assert!(*tried > 0 && refused == tried && required == "yes" && state == "ok", "{name}: {text}");
    }
    assert_eq!(ran.status.code(), Some(0), "{text}");
    assert!(!text.contains("CAME OUT"), "only what is wrong is listed: {text}");
    daemon.stop().await;
}

/// Landlock alone does not keep what is protected in the workspace: whoever accepts that sees it.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_out_wrong_is_listed() {
    let model = idle().await;
    let accepted = "backend = \"landlock\"\nrequire = [\"read\", \"network\", \"ipc\", \"syscalls\"]\n";
    let (daemon, _dir) = start(&model, accepted).await;
    let ran = ctl(&daemon.socket(), &["sandbox", "test"]).output().await.unwrap();
    let text = String::from_utf8(ran.stdout).unwrap();
    assert_eq!(ran.status.code(), Some(1), "{text}{}", String::from_utf8_lossy(&ran.stderr));
    let table = guarantees(&text);
    let of = |name: &str| table.iter().find(|row| row.0 == name).unwrap_or_else(|| panic!("{name}: {text}"));
    let (_, required, state, refused, tried) = of("write");
    assert!(required == "no" && state == "fail" && refused < tried, "{text}");
    let (_, required, state, refused, tried) = of("network");
    assert!(required == "yes" && state == "ok" && refused == tried, "{text}");
    let listed = text.lines().find(|line| line.starts_with("replace-protected-file ")).unwrap();
    assert!(listed.contains("denied") && listed.contains("allowed"), "{listed}");
    daemon.stop().await;
}

/// Starts a runner for each connection, as systemd does, with a workspace that the daemon cannot choose.
#[expect(clippy::disallowed_methods, reason = "ends with its test")]
fn accept(socket: &std::path::Path, workspace: &std::path::Path) -> tokio::task::JoinHandle<()> {
    let listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::UnixListener::from_std(listener).unwrap();
    let mut arguments =
        ["serve", "--backend", "namespace", "--seconds", "3600", "--workspace"].map(str::to_owned).to_vec();
    arguments.push(workspace.display().to_string());
    if nix::unistd::geteuid().is_root() {
        arguments.extend(["--uid", "65534", "--gid", "65534"].map(str::to_owned));
    }
    tokio::spawn(async move {
        let mut children = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            let stream = stream.into_std().unwrap();
            stream.set_nonblocking(false).unwrap();
            let mut command = tokio::process::Command::new(runner());
            let command = command.args(&arguments).stdin(std::os::fd::OwnedFd::from(stream)).kill_on_drop(true);
            children.push(command.spawn().unwrap());
        }
    })
}

/// Where the workspace is not the daemon's to say, the probe tries in a directory of it, and leaves nothing behind.
#[tokio::test(flavor = "multi_thread")]
async fn a_backend_with_a_workspace_of_its_own_is_tried_there() {
    let model = idle().await;
    let place = tempfile::Builder::new().prefix("assistant-unit-").tempdir().unwrap();
    let socket = place.path().join("run.sock");
    let more = format!("backend = \"unit\"\nunit_socket = \"{}\"\n", socket.display());
    let (daemon, dir) = start(&model, &more).await;
    let workspace = dir.path().join("workspace");
    let accepting = accept(&socket, &workspace);
    let ran = ctl(&daemon.socket(), &["sandbox", "test"]).output().await.unwrap();
    let text = String::from_utf8(ran.stdout).unwrap();
    assert_eq!(ran.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&ran.stderr));
    assert!(text.starts_with("backend unit, level work"), "{text}");
    let table = guarantees(&text);
    assert_eq!(table.len(), Guarantee::ALL.len(), "{text}");
    for (name, _, state, refused, tried) in &table {
        assert!(*tried > 0 && refused == tried && state == "ok", "{name}: {text}");
    }
    crate::support::until("nothing of it is left in the workspace", 10, async || {
        let left = |path: &std::path::Path| {
            let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name());
            entries.filter(|name| name.to_string_lossy().contains("sandbox-test")).count()
        };
        (left(&workspace) + left(&workspace.join(".assistant")) == 0).then_some(())
    })
    .await;
    daemon.stop().await;
    accepting.abort();
}
