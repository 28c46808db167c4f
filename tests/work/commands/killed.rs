//! The daemon as a process, killed while a command runs.

use std::time::{Duration, Instant};

use super::{confined, ctl, inside};
use crate::support::{process::Place, until};

/// Nobody is left to end the command but the runner, which sees that its socket has closed.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_command_outlives_a_killed_daemon() {
    let (dir, sandbox) = confined();
    let workspace = dir.path().join("workspace");
    let place = Place::new(&format!("[llm]\nprovider = \"rehearsal\"\n{sandbox}"));
    let mut daemon = place.start(&[]);
    assert!(daemon.ready, "{}", place.log());
    // Children that ignore what can be ignored, in sessions of their own, one of them stopped, one made twice over.
    let script = "trap '' TERM HUP INT PIPE
        for n in 1 2 3; do setsid sh -c 'trap \"\" TERM HUP; sleep 1000' & done
        setsid sh -c 'kill -STOP $$' &
        (sh -c 'sleep 1000 &' &)
        sleep 0.2; touch up; sleep 1000";
    let arguments = ["sandbox", "run", "--", "bash", "-c", script];
    let mut asking = ctl(&place.socket(), &arguments).stderr(std::process::Stdio::piped()).spawn().unwrap();
    until("the command runs", 20, async || workspace.join("up").exists().then_some(())).await;
    assert!(inside(&workspace).len() >= 6, "{:?}", inside(&workspace));

    let began = Instant::now();
    daemon.kill();
    until("every process is gone", 5, async || inside(&workspace).is_empty().then_some(())).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    let status = asking.wait().await.unwrap();
    assert!(matches!(status.code(), Some(1 | 5)), "nobody says that it went well: {status}");
}
