//! Starts `assistant-mail` for one message or document.

use std::{
    fs::File,
    io::{Seek as _, SeekFrom},
    process::Stdio,
    time::Duration,
};

use assistant_mail::document::Kind;
use tokio::{io::AsyncReadExt as _, process::Command};

use crate::{
    cx::Cx,
    error::{Error, Result},
    sandbox,
};

const PROGRAM: &str = "assistant-mail";
/// What it gets beyond its time of the processor, on a busy machine.
const MARGIN: Duration = Duration::from_secs(10);
/// Bytes of its reason for failing that are read.
const REASON: u64 = 2000;
/// Memory for reading a document, beyond the document itself.
const MEMORY: u64 = 512 << 20;

/// What a document says, as Markdown; `assistant-mail` reads it.
pub(super) async fn markdown(cx: &Cx, kind: Kind, input: File) -> Result<File> {
    let (output, seconds) = {
        let config = &cx.config.load().conversion;
        (config.max_output_bytes.0, config.timeout_seconds.0)
    };
    let memory = MEMORY + super::size(&input)?;
    run(cx, ["convert".to_owned(), kind.as_str().to_owned()], memory, seconds, output, input).await
}

/// The attachment with this number of a message, as a file without a name, at its beginning.
///
/// # Errors
/// `invalid` with the reason: there is none, or it is larger than `most` bytes; `unavailable` when the reader is not
/// installed.
pub async fn extract(cx: &Cx, message: File, index: u32, most: u64) -> Result<File> {
    let (memory, seconds) = {
        let config = &cx.config.load().mail;
        (config.parse_memory.0, config.parse_time.0)
    };
    let memory = memory + 2 * super::size(&message)?;
    run(cx, ["extract".to_owned(), index.to_string()], memory, seconds, most, message).await
}

async fn run(cx: &Cx, what: [String; 2], memory: u64, time: Duration, most: u64, mut input: File) -> Result<File> {
    let program = sandbox::program_beside_runner(&cx.config.load().sandbox, PROGRAM)?;
    let unready = |err: std::io::Error| Error::unavailable("the reader of documents cannot be started").source(err);
    input.seek(SeekFrom::Start(0)).map_err(unready)?;
    let mut output = tempfile::tempfile_in(&cx.state_dir).map_err(unready)?;
    let mut child = Command::new(program)
        .args(what)
        .args(["--memory".to_owned(), memory.to_string(), "--output".to_owned(), most.to_string()])
        .args(["--seconds".to_owned(), time.as_secs().max(1).to_string()])
        .env_clear()
        .stdin(Stdio::from(input))
        .stdout(Stdio::from(output.try_clone().map_err(unready)?))
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(unready)?;
    let said = child.stderr.take();
    let reason = async {
        let mut reason = Vec::new();
        if let Some(said) = said {
            let _ = said.take(REASON).read_to_end(&mut reason).await; // what came is enough
        }
        String::from_utf8_lossy(&reason).trim().to_owned()
    };
    let ended = tokio::time::timeout(time + MARGIN, async { tokio::join!(child.wait(), reason) }).await;
    let (status, reason) = ended.map_err(|_| Error::invalid(format!("it took longer than {} s", time.as_secs())))?;
    let status = status.map_err(unready)?;
    if !status.success() {
        let reason = reason.lines().last().unwrap_or_default();
        let reason = reason.strip_prefix(PROGRAM).map_or(reason, |reason| reason.trim_start_matches([':', ' ']));
        return Err(Error::invalid(match status.code() {
            Some(1) if !reason.is_empty() => reason.to_owned(),
            _ => "reading it took too much memory or time".to_owned(),
        }));
    }
    output.seek(SeekFrom::Start(0)).map_err(unready)?;
    Ok(output)
}
