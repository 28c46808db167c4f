//! Runs the configured program: no shell, no inherited environment, the message on its standard input, a time limit, and
//! an end for everything that it started.

use std::{process::Stdio, time::Duration};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{ChildStderr, Command},
};

use super::Failure;

/// Bytes of standard error that are kept.
const STDERR_BYTES: usize = 2048;
/// Time to read what is left of it once the program is gone.
const STDERR_TIME: Duration = Duration::from_millis(200);

/// Ends the process group when dropped: at the time limit, when the daemon stops, and after the program's own end, for
/// what it left running.
struct Group(Pid);

impl Drop for Group {
    fn drop(&mut self) {
        let _ = killpg(self.0, Signal::SIGKILL); // ESRCH: everybody is gone
    }
}

/// Runs `argv` and waits for its end.
pub(super) async fn run(argv: &[String], input: &[u8], limit: Duration) -> Result<(), Failure> {
    let permanent = |reason: String| Failure { reason, temporary: false };
    let Some((program, arguments)) = argv.split_first() else {
        return Err(permanent("no program is configured".into()));
    };
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LANG", "C.UTF-8")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|err| permanent(format!("cannot start {program}: {err}")))?;
    // The leader's id is the group's.
    let group = child.id().and_then(|id| i32::try_from(id).ok()).map(|id| Group(Pid::from_raw(id)));
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());

    let feed = async {
        if let Some(mut stdin) = stdin {
            let _ = stdin.write_all(input).await; // a program that does not read it may still be fine
        }
    };
    let ended = tokio::time::timeout(limit, wait(async { tokio::join!(child.wait(), feed).0 }, stderr)).await;
    drop(group);
    match ended {
        Err(_) => {
            Err(Failure { reason: format!("{program} did not end within {} s", limit.as_secs()), temporary: true })
        }
        Ok((Err(err), _)) => Err(permanent(format!("waiting for {program}: {err}"))),
        Ok((Ok(status), _)) if status.success() => Ok(()),
        Ok((Ok(status), said)) => {
            let said = said.lines().next().unwrap_or_default().trim();
            let said = if said.is_empty() { String::new() } else { format!(": {said}") };
            Err(Failure { reason: format!("{program} ended with {status}{said}"), temporary: true })
        }
    }
}

/// Waits for the program's end, and gives the beginning of what it said on standard error meanwhile. What something else
/// keeps open after that is not waited for.
async fn wait<T>(end: impl Future<Output = T>, stderr: Option<ChildStderr>) -> (T, String) {
    let mut said = Vec::new();
    let status = {
        let listen = listen(stderr, &mut said);
        tokio::pin!(end, listen);
        let mut silent = false;
        let status = loop {
            tokio::select! {
                status = &mut end => break status,
                () = &mut listen, if !silent => silent = true,
            }
        };
        if !silent {
            let _ = tokio::time::timeout(STDERR_TIME, listen).await;
        }
        status
    };
    (status, String::from_utf8_lossy(&said).into_owned())
}

/// Reads to the end, so that the program never waits for us, and keeps the beginning.
async fn listen(stderr: Option<ChildStderr>, said: &mut Vec<u8>) {
    let Some(mut stderr) = stderr else { return };
    let mut buffer = [0; 1024];
    while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
        let room = STDERR_BYTES.saturating_sub(said.len());
        said.extend_from_slice(&buffer[..count.min(room)]);
    }
}
