//! Starts `assistant-mail` for one message, and answers what it asks.

use std::{
    os::{fd::OwnedFd, unix::net::UnixStream as Pair},
    path::Path,
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use assistant_mail::protocol::{Message, Said};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
    process::Command,
    time::{Instant, timeout},
};

use super::{names, unready};
use crate::{cx::Cx, error::Result, sandbox};

pub(super) const PROGRAM: &str = "assistant-mail";
/// Bytes of all that it says of one message.
const MOST: u64 = 32 << 20;
/// Bytes of why it ended that are kept.
const REASON: u64 = 2000;
/// Rounds of questions about names.
const MAX_ROUNDS: usize = 8;

/// What came of reading a message.
pub enum Read {
    Message(Arc<Message>),
    /// It never will be read, and why.
    Unreadable(String),
}

/// Reads a message within `mail.parse_memory` and `mail.parse_time`; the time that names take does not count.
///
/// # Errors
/// When the program cannot be started.
pub(super) async fn read(cx: &Cx, path: &Path) -> Result<Read> {
    let config = cx.config.load_full();
    let program = sandbox::program_beside_runner(&config.sandbox, PROGRAM)?;
    let file = std::fs::File::open(path).map_err(unready)?;
    let (ours, theirs) = Pair::pair().map_err(unready)?;
    ours.set_nonblocking(true).map_err(unready)?;
    let time = config.mail.parse_time.0;
    let mut child = Command::new(program)
        .args(["read", "--memory", &config.mail.parse_memory.0.to_string()])
        .args(["--seconds", &time.as_secs().max(1).to_string()])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(file))
        .stdout(Stdio::from(OwnedFd::from(theirs)))
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(unready)?;
    let (from, mut to) = UnixStream::from_std(ours).map_err(unready)?.into_split();
    let mut lines = BufReader::new(from.take(MOST));
    let mut left = time;
    let mut line = Vec::new();
    for _ in 0..MAX_ROUNDS {
        line.clear();
        let began = Instant::now();
        let Ok(read) = timeout(left, lines.read_until(b'\n', &mut line)).await else {
            return Ok(Read::Unreadable(format!("reading it took longer than {} s", time.as_secs())));
        };
        left = left.saturating_sub(began.elapsed()).max(Duration::from_millis(100));
        if read.unwrap_or(0) == 0 || line.last() != Some(&b'\n') {
            break;
        }
        match serde_json::from_slice(&line) {
            Ok(Said::Message(message)) => return Ok(Read::Message(Arc::from(message))),
            Ok(Said::Failed(reason)) => return Ok(Read::Unreadable(reason)),
            Ok(Said::Names(asked)) => {
                let mut answer = serde_json::to_vec(&names::records(cx, asked).await)?;
                answer.push(b'\n');
                if to.write_all(&answer).await.is_err() {
                    break;
                }
            }
            Err(_) => return Ok(Read::Unreadable("the reader said something that nobody understands".into())),
        }
    }
    drop(to);
    Ok(Read::Unreadable(reason(&mut child).await))
}

/// Why it ended without an answer.
async fn reason(child: &mut tokio::process::Child) -> String {
    let mut said = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        let _ = timeout(Duration::from_secs(1), stderr.take(REASON).read_to_end(&mut said)).await; // what came is enough
    }
    let _ = child.start_kill(); // it may have ended
    let status = child.wait().await;
    let said = String::from_utf8_lossy(&said);
    let last = said.lines().find_map(|line| line.strip_prefix("assistant-mail: "));
    match (last, status) {
        (Some(last), _) => last.to_owned(),
        (None, Ok(status)) => format!("reading it took too much memory or time, or the reader broke: {status}"),
        (None, Err(err)) => format!("the reader broke: {err}"),
    }
}
