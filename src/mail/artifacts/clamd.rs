//! A client of clamd: one file, one answer (clamd(8), INSTREAM).

use std::{io, path::Path};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
};

use crate::mail::config::Clamav;

/// Bytes of one chunk.
const CHUNK: usize = 1 << 20;
/// Bytes of an answer.
const ANSWER: u64 = 4096;

/// What the scanner says of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Clean,
    /// The name of what was found.
    Infected(String),
    /// It was not scanned, and why.
    Unknown(String),
}

/// Has a file scanned, from its beginning.
pub(super) async fn scan(config: &Clamav, file: &std::fs::File) -> Verdict {
    let time = config.timeout_seconds.0;
    match tokio::time::timeout(time, ask(config, file)).await {
        Ok(Ok(answer)) => verdict(&answer),
        Ok(Err(err)) => Verdict::Unknown(format!("the virus scanner cannot be asked: {err}")),
        Err(_) => Verdict::Unknown(format!("the virus scanner did not answer within {} s", time.as_secs())),
    }
}

async fn ask(config: &Clamav, file: &std::fs::File) -> io::Result<String> {
    if config.host.starts_with('/') {
        stream(UnixStream::connect(Path::new(&config.host)).await?, file).await
    } else {
        stream(TcpStream::connect((config.host.as_str(), config.port)).await?, file).await
    }
}

async fn stream(mut clamd: impl AsyncRead + AsyncWrite + Unpin, file: &std::fs::File) -> io::Result<String> {
    let sent = send(&mut clamd, file).await;
    // It answers before the end, and closes, when there is more than it takes.
    let mut answer = Vec::new();
    let heard = (&mut clamd).take(ANSWER).read_to_end(&mut answer).await;
    if answer.is_empty() {
        sent?;
        heard?;
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed without an answer"));
    }
    Ok(String::from_utf8_lossy(&answer).trim_end_matches(['\0', '\n']).to_owned())
}

async fn send(clamd: &mut (impl AsyncWrite + Unpin), file: &std::fs::File) -> io::Result<()> {
    use std::os::unix::fs::FileExt as _;
    clamd.write_all(b"zINSTREAM\0").await?;
    let mut at = 0;
    loop {
        let file = file.try_clone()?;
        let read = tokio::task::spawn_blocking(move || {
            let mut chunk = vec![0; CHUNK];
            file.read_at(&mut chunk, at).map(|length| {
                chunk.truncate(length);
                chunk
            })
        });
        let chunk = read.await.map_err(io::Error::other)??;
        let length = u32::try_from(chunk.len()).map_err(io::Error::other)?;
        clamd.write_all(&length.to_be_bytes()).await?;
        if chunk.is_empty() {
            return clamd.flush().await;
        }
        clamd.write_all(&chunk).await?;
        at += u64::from(length);
    }
}

/// Anything but a clear word counts as none.
pub(super) fn verdict(answer: &str) -> Verdict {
    let said = answer.strip_prefix("stream: ").unwrap_or(answer);
    match said.strip_suffix(" FOUND") {
        Some(name) => Verdict::Infected(name.chars().filter(|c| !c.is_control()).take(200).collect()),
        None if said == "OK" => Verdict::Clean,
        None => Verdict::Unknown(format!(
            "the virus scanner said: {}",
            said.chars().filter(|c| !c.is_control()).take(200).collect::<String>()
        )),
    }
}
