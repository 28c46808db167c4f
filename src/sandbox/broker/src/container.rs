//! What the daemon and `assistant-docker` say to each other: a line of JSON each, then the runner's protocol.
//!
//! The daemon opens a connection and sends one [`Request`]; the answer is one [`Reply`]. After [`Reply::Opened`] the
//! connection is the session: its next byte, either way, is the first of a frame of [`assistant_sandbox::protocol`]. The
//! end of the connection ends the container. After any other reply the connection is closed.
//!
//! A request names an image of the list, bounds and paths to protect, and nothing else: what a container may is fixed.
//! The egress proxy's socket comes along as a descriptor, because the broker itself has no way there.

use std::{
    collections::BTreeMap,
    io::{self, IoSlice},
    os::fd::{AsRawFd as _, BorrowedFd},
    path::Path,
};

pub use assistant_sandbox::protocol::Limits;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, Interest},
    net::UnixStream,
};

/// Longest line, in bytes, either way.
pub const MAX_LINE: usize = 64 << 10;

/// From the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Starts a session.
    Open(Open),
    /// Asks whether one could be started; nothing is.
    Check(Check),
}

/// One session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Open {
    /// One of the configured images, by the name that it has there; unset: the first.
    pub image: Option<String>,
    /// Bounds of the session; none goes above those of the configuration.
    pub limits: Limits,
    /// Paths in the workspace that no command writes, for the runner's `--protect`.
    pub protect: Vec<String>,
    /// Whether commands get a way to the egress proxy; a descriptor of its socket, opened with `O_PATH`, comes with the line.
    pub net: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {}

/// From `assistant-docker`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    Opened(Opened),
    /// What there is; whether it will do is for the caller to say.
    Checked {
        /// Version of the engine.
        engine: String,
        /// The configured images, and whether each is there.
        images: BTreeMap<String, bool>,
    },
    Refused(Refused),
}

/// A session that has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// Name of the container.
    pub container: String,
    /// Version of the engine.
    pub engine: String,
    /// The image by its content, `sha256:…`.
    pub image: String,
    /// The bounds that hold.
    pub limits: Limits,
    /// The runner's process, as the machine counts; unset where the engine is on another one.
    #[serde(default)]
    pub process: Option<u32>,
}

/// Why nothing was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    pub kind: RefusedKind,
    /// As a person reads it.
    pub message: String,
    /// What would mend it, often a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Refused {
    /// With what would mend it.
    #[must_use]
    pub fn with_remedy(mut self, remedy: &str) -> Self {
        self.remedy = Some(remedy.to_owned());
        self
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusedKind {
    /// The request was not understood.
    Malformed,
    /// The image is not of the list.
    ImageNotAllowed,
    /// The image is of the list, and the engine does not have it.
    ImageMissing,
    /// The engine does not answer.
    EngineUnavailable,
    /// The engine would start containers without its own filter of system calls.
    EngineUnsafe,
    TooManySessions,
    /// The container was not started, or its runner did not come up.
    StartFailed,
}

/// Why there is no answer to a request, or none that was hoped for.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("asking assistant-docker: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Refused(Refused),
}

/// Opens a session by the socket at `path`; the stream speaks the runner's protocol. With a descriptor of the egress proxy's
/// socket its commands get a way there.
pub async fn open(path: &Path, open: Open, proxy: Option<BorrowedFd<'_>>) -> Result<(UnixStream, Opened), Fault> {
    let open = Open { net: proxy.is_some(), ..open };
    match ask(path, &Request::Open(open), proxy).await? {
        (stream, Reply::Opened(opened)) => Ok((stream, opened)),
        (_, reply) => Err(other(reply)),
    }
}

/// Asks by the socket at `path` for the engine's version and which images are there.
pub async fn check(path: &Path) -> Result<(String, BTreeMap<String, bool>), Fault> {
    match ask(path, &Request::Check(Check {}), None).await? {
        (_, Reply::Checked { engine, images }) => Ok((engine, images)),
        (_, reply) => Err(other(reply)),
    }
}

fn other(reply: Reply) -> Fault {
    match reply {
        Reply::Refused(refused) => Fault::Refused(refused),
        reply => Fault::Io(io::Error::other(format!("it answered what nobody asked: {reply:?}"))),
    }
}

async fn ask(path: &Path, request: &Request, proxy: Option<BorrowedFd<'_>>) -> io::Result<(UnixStream, Reply)> {
    let mut stream = UnixStream::connect(path).await?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    let mut sent = 0;
    if let Some(proxy) = proxy {
        let (fd, descriptors) = (stream.as_raw_fd(), [proxy.as_raw_fd()]);
        let rights = [ControlMessage::ScmRights(&descriptors)];
        let pass = || Ok(sendmsg::<()>(fd, &[IoSlice::new(&line)], &rights, MsgFlags::MSG_NOSIGNAL, None)?);
        sent = stream.async_io(Interest::WRITABLE, pass).await?;
    }
    stream.write_all(&line[sent..]).await?;
    let line = read_line(&mut stream).await?;
    Ok((stream, serde_json::from_slice(&line)?))
}

/// Reads up to the first line feed and not a byte further: what follows is the runner's.
async fn read_line(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    loop {
        match stream.read_u8().await? {
            b'\n' => return Ok(line),
            _ if line.len() == MAX_LINE => return Err(io::Error::other("a line is too long")),
            byte => line.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_read_as_documented() {
        assert_eq!(serde_json::from_str::<Request>(r#"{"open":{}}"#).unwrap(), Request::Open(Open::default()));
        assert_eq!(serde_json::from_str::<Request>(r#"{"check":{}}"#).unwrap(), Request::Check(Check {}));
        let open: Request =
            serde_json::from_str(r#"{"open":{"image":"a:1","limits":{"seconds":5},"protect":["x"]}}"#).unwrap();
        let Request::Open(open) = open else { panic!("{open:?}") };
        assert_eq!((open.image.as_deref(), open.limits.seconds), (Some("a:1"), 5));
        for line in [
            r#"{"open":{"binds":["/:/host"]}}"#,
            r#"{"open":{"privileged":true}}"#,
            r#"{"open":{"workspace":"/"}}"#,
            r#"{"check":{"more":1}}"#,
            r#"{"run":{}}"#,
        ] {
            serde_json::from_str::<Request>(line).unwrap_err();
        }
    }
}
