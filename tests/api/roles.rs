//! Who may do what: every route, for every role, through the socket.
//!
//! The kernel decides who is asking, so the callers are real: this program starts itself again under other ids.

use std::{
    io::{BufRead as _, Read as _, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::{fs::PermissionsExt as _, net::UnixStream, process::CommandExt as _},
    },
    process::{Command, Stdio},
};

use assistant_api::Role;
use assistantd::http;
use axum::http::Method;
use nix::unistd::{Gid, Group, getuid};

use super::served::{Served, request};
use crate::support::skip;

/// Where the caller finds the socket; set only in the child.
const SOCKET: &str = "ASSISTANT_TEST_CALLER_SOCKET";
const STRANGER: u32 = 65534;

/// The child: sends one request per line of its input and prints the status of each answer.
#[test]
fn caller() {
    let Ok(socket) = std::env::var(SOCKET) else { return };
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let (method, path) = line.split_once(' ').unwrap();
        let body = if method == "GET" { "" } else { "{}" };
        let Ok(mut stream) = UnixStream::connect(&socket) else {
            println!("status=0 {line}");
            continue;
        };
        stream.write_all(request(method, path, "", body).as_bytes()).unwrap();
        let mut answer = Vec::new();
        let mut chunk = [0; 512];
        // A stream of events has no end: the first line is enough.
        while !answer.contains(&b'\n') {
            let count = stream.read(&mut chunk).unwrap();
            if count == 0 {
                break;
            }
            answer.extend_from_slice(&chunk[..count]);
        }
        let text = String::from_utf8_lossy(&answer).into_owned();
        println!("status={} {line}", text.split(' ').nth(1).unwrap_or("none"));
    }
}

/// Sends `requests` as another user; the statuses in their order.
fn as_user(served: &Served, uid: u32, gid: u32, requests: &[String]) -> Vec<u16> {
    // By its descriptor: the way to the file need not be open to that user.
    let program = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
    let mut child = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()))
        .args(["--exact", "api::roles::caller", "--nocapture", "--test-threads=1"])
        .env(SOCKET, &served.socket)
        .uid(uid)
        .gid(gid)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all((requests.join("\n") + "\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let statuses: Vec<u16> =
        text.lines().filter_map(|line| line.split("status=").nth(1)?.split(' ').next()?.parse().ok()).collect();
    assert_eq!(statuses.len(), requests.len(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    statuses
}

/// Four groups that exist and give roles: viewer, operator, admin, none. Any but root's own will do.
fn groups() -> [Group; 4] {
    let text = std::fs::read_to_string("/etc/group").unwrap();
    let names = text.lines().filter_map(|line| line.split(':').next());
    let found = names.filter_map(|name| Group::from_name(name).ok().flatten());
    let usable = found.filter(|group| group.gid.as_raw() != 0 && group.gid.as_raw() != STRANGER);
    let four: Vec<_> = usable.take(4).collect();
    four.try_into().unwrap_or_else(|few| panic!("this system has too few groups: {few:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_lets_in_the_roles_it_declares_and_nobody_else() {
    if !getuid().is_root() {
        return skip("roles of other users: only root can ask as somebody else");
    }
    let [viewer, operator, admin, none] = groups();
    let served = Served::with(|config| {
        config.api.viewer_group = Some(viewer.name.clone());
        config.api.operator_group = operator.name.clone();
        config.api.admin_group = admin.name.clone();
    });
    std::fs::set_permissions(served.dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::set_permissions(&served.socket, std::fs::Permissions::from_mode(0o666)).unwrap();
    let mut table: Vec<(String, Option<Role>)> = http::routes(served.cx.subsystems)
        .iter()
        .map(|route| (format!("{} {}", route.method, concrete(route.path)), route.role))
        .collect();
    // Reloading reads the configuration anew, and with it the groups: that comes last.
    table.sort_by_key(|(line, _)| line.ends_with("/api/reload"));
    let requests: Vec<String> = table.iter().map(|(line, _)| line.clone()).collect();
    for (gid, role) in [
        (none.gid, None),
        (Gid::from_raw(STRANGER), None),
        (viewer.gid, Some(Role::Viewer)),
        (operator.gid, Some(Role::Operator)),
        (admin.gid, Some(Role::Admin)),
    ] {
        let statuses = tokio::task::block_in_place(|| as_user(&served, STRANGER, gid.as_raw(), &requests));
        for ((line, least), status) in table.iter().zip(statuses) {
            let allowed = least.is_none_or(|least| role.is_some_and(|role| role >= least));
            assert_eq!(status != 403, allowed, "{line} as {role:?} gave {status}, needs {least:?}");
        }
    }
    // Root and the daemon's own user are admin without any group.
    for line in &requests {
        let (method, path) = line.split_once(' ').unwrap();
        if ["/api/events", "/api/log/stream"].contains(&path) {
            continue;
        }
        let body = if method == "GET" { "" } else { "{}" };
        assert_ne!(served.call(method, path, "", body).await.status, 403, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_hears_how_to_get_in_and_an_operator_what_is_missing() {
    if !getuid().is_root() {
        return skip("what a stranger hears: only root can ask as somebody else");
    }
    let served = Served::start();
    std::fs::set_permissions(served.dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let lines = ["GET /api".to_owned(), "GET /nothing/here".to_owned(), "GET /health".to_owned()];
    // The mode of the socket keeps others out before anything is asked.
    let statuses = tokio::task::block_in_place(|| as_user(&served, STRANGER, STRANGER, &lines));
    assert_eq!(statuses, [0, 0, 0], "0660, and not a member");
    std::fs::set_permissions(&served.socket, std::fs::Permissions::from_mode(0o666)).unwrap();
    let statuses = tokio::task::block_in_place(|| as_user(&served, STRANGER, STRANGER, &lines));
    assert_eq!(statuses, [403, 403, 200], "what is there is nobody's business but health");
}

#[tokio::test]
async fn the_table_is_declared_whole() {
    let served = Served::start();
    let mut seen = std::collections::BTreeSet::new();
    for route in http::routes(served.cx.subsystems) {
        let name = format!("{} {}", route.method, route.path);
        assert!(seen.insert(name.clone()), "{name} is declared twice");
        assert!(route.summary.ends_with('.'), "{name}: {}", route.summary);
        let open = [
            "GET /health",
            "GET /health/live",
            "GET /health/ready",
            "GET /login",
            "GET /assets/{file}",
            "POST /api/login",
        ];
        assert_eq!(route.role.is_none(), open.contains(&&*name), "{name} is open to everybody, or should be");
        // To log out, and what one was told, concerns nobody else.
        let own = ["POST /api/logout", "POST /api/notifications/untold"].contains(&&*name);
        if route.method != Method::GET && !open.contains(&&*name) && !own {
            assert!(route.role > Some(Role::Viewer), "{name} changes something and a viewer may do it");
        }
    }
}

pub(super) fn concrete(path: &str) -> String {
    path.split('/').map(|part| if part.starts_with('{') { "999999" } else { part }).collect::<Vec<_>>().join("/")
}
