//! When the next backup is made by itself: what the service manager says of the timer.

use std::{path::Path, process::Stdio, time::Duration};

use assistant_api::backup::BackupTimer;
use jiff::Timestamp;
use tokio::process::Command;

use crate::cx::Cx;

/// The state that assistant-backup.service keeps safe, and no other.
const STATE: &str = "/var/lib/assistant";
/// How long the service manager may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Asks; nothing where there is nobody who knows.
pub(super) async fn ask(cx: &Cx) -> Option<BackupTimer> {
    if !cx.process.systemd.is_there() || cx.state_dir != Path::new(STATE) {
        return None;
    }
    let asked = Command::new("systemctl")
        .args(["show", "assistant-backup.timer", "--timestamp=unix"])
        .args(["--property=LoadState,ActiveState,NextElapseUSecRealtime,LastTriggerUSec"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, asked).await.ok()?.ok()?;
    read(&String::from_utf8_lossy(&output.stdout))
}

/// Reads properties as systemctl(1) prints them: a time is `@` with seconds, and empty if there is none.
fn read(text: &str) -> Option<BackupTimer> {
    let property = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let at = |name: &str| Timestamp::from_second(property(name)?.strip_prefix('@')?.parse().ok()?).ok();
    (property("LoadState")? == "loaded").then(|| BackupTimer {
        active: property("ActiveState") == Some("active"),
        next_at: at("NextElapseUSecRealtime"),
        last_at: at("LastTriggerUSec").filter(|at| at.as_second() > 0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_is_read_as_systemctl_tells_of_it() {
        let text =
            "LastTriggerUSec=@1763870400\nNextElapseUSecRealtime=@1763957000\nLoadState=loaded\nActiveState=active\n";
        let timer = read(text).unwrap();
        assert!(timer.active);
        assert_eq!(timer.next_at.unwrap().to_string(), "2025-11-24T04:03:20Z");
        assert_eq!(timer.last_at.unwrap().to_string(), "2025-11-23T04:00:00Z");
        let never = "LastTriggerUSec=\nNextElapseUSecRealtime=\nLoadState=loaded\nActiveState=inactive\n";
        assert_eq!(read(never), Some(BackupTimer { active: false, next_at: None, last_at: None }));
        assert_eq!(read("LoadState=not-found\nActiveState=inactive\n"), None);
        assert_eq!(read(""), None);
    }
}
