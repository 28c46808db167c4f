//! What commands leave is the daemon's afterwards, also when it is an ordinary user who may not read everything anyway.

use std::os::unix::fs::{PermissionsExt as _, chown};

use assistant_api::{
    sandbox::{ScriptReply, ScriptRequest},
    workspace::{Content, Deleted, ItemReply, Transfer, Tree},
};

use super::{config, empty, idle, runner};
use crate::support::{
    process::{Place, Process},
    skip, until,
};

const LEAVE: &str = "umask 077
    mkdir private closed closed/below && echo a > private/file && echo b > closed/below/file && ln private/file linked
    echo c > unreadable && chmod 000 unreadable closed/below/file closed/below closed && echo left";

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_without_privileges_lists_reads_moves_copies_and_erases_what_commands_leave() {
    if !nix::unistd::geteuid().is_root() {
        skip("only root can start the daemon as another user");
        return;
    }
    let model = idle().await;
    let place = Place::new(&config(&model));
    let top = place.config_file().parent().unwrap().to_owned();
    std::fs::set_permissions(&top, std::fs::Permissions::from_mode(0o755)).unwrap();
    for path in [place.state(), top.join("run"), top.join("bin")] {
        std::fs::create_dir_all(&path).unwrap();
        chown(&path, Some(65534), Some(65534)).unwrap();
    }
    // The programs where any user may start them, and the daemon as that user.
    std::fs::copy(runner(), top.join("bin/assistant-sandbox")).unwrap();
    let own = top.join("bin/assistantd").display().to_string();
    let start = "cp \"$1\" \"$0\" && program=$0 && shift && \
                 exec setpriv --reuid=65534 --regid=65534 --clear-groups \"$program\" \"$@\"";
    let _process = Process::of(place.command_through(&["sh", "-c", start, &own]).spawn().unwrap());
    let client = place.client();
    until("the daemon answers", 30, async || client.get::<serde_json::Value>("/api/status").await.ok()).await;

    let run = async |script: &str| {
        let command = ["sh", "-c", script].map(str::to_owned).to_vec();
        let reply: ScriptReply =
            client.post("/api/workspace/script-runs", &ScriptRequest { command, ..empty() }).await.unwrap();
        reply.result.unwrap_or_else(|| panic!("{:?}", reply.error))
    };
    let left = run(LEAVE).await;
    assert_eq!(left.stdout, "left\n", "{left:?}");

    let tree: Tree = client.get("/api/workspace/tree?path=.&recursive=true").await.unwrap();
    let found: Vec<_> = tree.entries.iter().map(|entry| entry.relative_path.as_str()).collect();
    for path in ["closed", "closed/below", "closed/below/file", "linked", "private/file", "unreadable"] {
        assert!(found.contains(&path), "{path} is not in {found:?}");
    }
    for (path, text) in [("closed/below/file", "b\n"), ("unreadable", "c\n"), ("linked", "a\n")] {
        let read: Content = client.get(&format!("/api/workspace/file?path={path}")).await.unwrap();
        assert_eq!(read.content, text, "{path}");
    }
    let transfer = |from: &str, to: &str| Transfer { source_path: from.into(), destination_path: to.into() };
    let _: ItemReply = client.patch("/api/workspace/path", &transfer("private", "moved")).await.unwrap();
    let _: ItemReply = client.post("/api/workspace/copy", &transfer("closed", "copied")).await.unwrap();
    let read: Content = client.get("/api/workspace/file?path=copied/below/file").await.unwrap();
    assert_eq!(read.content, "b\n");
    for path in ["moved", "copied", "closed", "linked", "unreadable"] {
        let _: Deleted = client.delete(&format!("/api/workspace/file?path={path}")).await.unwrap();
        assert!(!place.workspace().join(path).exists(), "{path}");
    }
    // What sets modes of directories works in a workspace that the daemon has made.
    let archived =
        run("mkdir -p a/b && chmod 755 a a/b && cp -a a c && tar -cf - c | tar -xf - -C a && rm -r a c && echo done");
    let archived = archived.await;
    assert_eq!(archived.stdout, "done\n", "{archived:?}");
    assert_eq!(run("ls").await.stdout.lines().filter(|line| *line != "script-runs").count(), 0);
}
