//! What commands leave belongs to the daemon: however closed it is, it can be listed, read, moved, copied, downloaded and
//! erased, and the next session works on with it.

use assistant_api::workspace::{Content, Deleted, ItemReply, Transfer, Tree};

use super::{Host, Kind, on_every_host};
use crate::work::commands::idle;

on_every_host! {
    closed_files_are_the_daemons
    a_repository_goes_on_in_the_next_session
}

/// Directories and files that are closed to others, some to their owner too, and a hard link.
const CLOSED: &str = "set -e; umask 077
    mkdir -p closed/deep/locked; echo text > closed/deep/file; echo none > closed/none; echo in > closed/deep/locked/in
    ln closed/deep/file closed/linked; chmod 0000 closed/none closed/deep/locked; chmod 0700 closed closed/deep";

async fn closed_files_are_the_daemons(kind: Kind) {
    let model = idle().await;
    let Some(host) = Host::start(kind, &model, "") else { return };
    let ran = host.bash(CLOSED).await;
    assert_eq!(ran.exit_code, Some(0), "{kind:?}: {ran:?}");
    let client = host.client();
    let listed = async |path: &str| {
        let request = client.request("GET", "/api/workspace/tree").query("path", path).query("recursive", true);
        let tree: Tree = request.fetch().await.unwrap_or_else(|err| panic!("{kind:?}: listing {path}: {err}"));
        let mut names: Vec<_> = tree.entries.into_iter().map(|entry| entry.relative_path).collect();
        names.sort();
        names
    };
    let read = async |path: &str| {
        let request = client.request("GET", "/api/workspace/file").query("path", path);
        let content: Content = request.fetch().await.unwrap_or_else(|err| panic!("{kind:?}: reading {path}: {err}"));
        content.content
    };
    let all = |top: &str| {
        ["deep", "deep/file", "deep/locked", "deep/locked/in", "linked", "none"].map(|name| format!("{top}/{name}"))
    };
    assert_eq!(listed("closed").await, all("closed"), "{kind:?}");
    for (path, content) in
        [("deep/file", "text\n"), ("none", "none\n"), ("linked", "text\n"), ("deep/locked/in", "in\n")]
    {
        assert_eq!(read(&format!("closed/{path}")).await, content, "{kind:?}: {path}");
    }
    let transfer = |source: &str, destination: &str| Transfer {
        source_path: source.to_owned(),
        destination_path: destination.to_owned(),
    };
    let _: ItemReply = client.patch("/api/workspace/path", &transfer("closed", "moved")).await.unwrap();
    let _: ItemReply = client.post("/api/workspace/copy", &transfer("moved", "copied")).await.unwrap();
    assert_eq!((listed("moved").await, listed("copied").await), (all("moved").to_vec(), all("copied").to_vec()));
    let mut archive = client.request("GET", "/api/workspace/download").query("path", "moved").stream().await.unwrap();
    let mut zip = Vec::new();
    while let Some(bytes) = archive.next().await.unwrap() {
        zip.extend_from_slice(&bytes);
    }
    for name in ["none", "deep/locked/in"] {
        assert!(zip.windows(name.len()).any(|bytes| bytes == name.as_bytes()), "{kind:?}: {name} is in the archive");
    }
    // The next session changes what the daemon has moved.
    let ran = host
        .bash("chmod -R u+rwX moved && echo more >> moved/none && echo more >> moved/deep/locked/in && cat moved/none")
        .await;
    assert_eq!((ran.exit_code, &*ran.stdout), (Some(0), "none\nmore\n"), "{kind:?}: {ran:?}");
    let erase = async |path: &str| {
        let request = client.request("DELETE", "/api/workspace/file").query("path", path);
        request.fetch::<Deleted>().await.unwrap_or_else(|err| panic!("{kind:?}: erasing {path}: {err}"))
    };
    for path in ["moved", "copied"] {
        let into = erase(path).await.trash_path.unwrap();
        assert!(erase(&into).await.permanent, "{kind:?}: {into}");
        assert!(!host.workspace().join(into).exists());
    }
    let left = listed(".").await.into_iter().filter(|path| !path.starts_with('.') && !path.starts_with("script-runs"));
    assert_eq!(left.collect::<Vec<_>>(), Vec::<String>::new(), "{kind:?}");
}

async fn a_repository_goes_on_in_the_next_session(kind: Kind) {
    let model = idle().await;
    let Some(host) = Host::start(kind, &model, "") else { return };
    let git = "git() { command git -c user.name=a -c user.email=a@example.org \"$@\"; }; set -e; umask 077";
    let first = format!("{git}; git init -q repo; cd repo; echo a > a; git add a; git commit -qm first");
    let ran = host.bash(&first).await;
    assert_eq!(ran.exit_code, Some(0), "{kind:?}: {ran:?}");
    for round in ["second", "third"] {
        let next = format!(
            "{git}; cd repo; echo {round} >> a; git add a; git commit -qm {round}; git checkout -qb {round}; git log --format=%s; git status --short"
        );
        let ran = host.bash(&next).await;
        assert_eq!(ran.exit_code, Some(0), "{kind:?}: {ran:?}");
        assert!(ran.stdout.starts_with(round) && ran.stdout.ends_with("first\n"), "{kind:?}: {ran:?}");
    }
}
