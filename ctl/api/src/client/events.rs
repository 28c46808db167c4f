//! The event stream: server-sent events, taken up again after the last one that was seen.

use std::{pin::pin, time::Duration};

use bytes::{Buf as _, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::{Client, Error, Result};
use crate::{ErrorKind, EventId, events::Event};

/// Pause before the first attempt to connect again; doubles up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(2);
/// How long a daemon that went away is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of one event that are taken at most.
const MAX_EVENT: usize = 16 << 20;

/// The events of a daemon, in order, none twice. After a broken connection it goes on behind the last one, and gives
/// up when the daemon stays away for 30 seconds.
pub struct Events {
    client: Client,
    path: String,
    last: Option<EventId>,
    stream: Option<Incoming>,
    buffer: BytesMut,
    connected: bool,
}

impl Events {
    pub(super) fn new(client: Client, path: String, since: Option<EventId>) -> Self {
        Self { client, path, last: since, stream: None, buffer: BytesMut::new(), connected: false }
    }

    /// The id of the newest event that was seen.
    pub fn last_id(&self) -> Option<EventId> {
        self.last
    }

    /// Connects, if that has not been done; what happens from now on will not be missed. Safe to drop and call again.
    pub async fn connect(&mut self) -> Result<()> {
        if self.stream.is_some() {
            return Ok(());
        }
        let mut pause = FIRST_PAUSE;
        let mut patience = pin!(tokio::time::sleep(PATIENCE));
        loop {
            let mut request = self.client.request("GET", self.path.as_str()).header("accept", "text/event-stream");
            if let Some(last) = self.last {
                request = request.header("last-event-id", &last.to_string());
            }
            match request.open().await {
                Ok(answer) => {
                    self.buffer.clear();
                    self.stream = Some(answer.into_body());
                    self.connected = true;
                    return Ok(());
                }
                // The first connection fails at once: there a wrong path is more likely than a restart.
                Err(err) if self.connected && may_pass(&err) => tokio::select! {
                    () = &mut patience => return Err(err),
                    () = tokio::time::sleep(pause) => pause = (pause * 2).min(MAX_PAUSE),
                },
                Err(err) => return Err(err),
            }
        }
    }

    /// The next event. Safe to drop and call again.
    pub async fn next(&mut self) -> Result<Event> {
        loop {
            while let Some(block) = take_block(&mut self.buffer) {
                let (id, event) = parse(&block)?;
                let old = self.last;
                self.last = self.last.max(id).max(event.as_ref().map(|event| event.id));
                match event {
                    // Says only where to go on, which is what happens.
                    Some(event) if event.kind == "shutdown" => {}
                    Some(event) if Some(event.id) > old || event.kind == "gap" => return Ok(event),
                    _ => {}
                }
            }
            if self.buffer.len() > MAX_EVENT {
                return Err(Error::Protocol(format!("an event is larger than {MAX_EVENT} bytes")));
            }
            self.connect().await?;
            let Some(stream) = &mut self.stream else { continue };
            if let Some(Ok(frame)) = stream.frame().await {
                self.buffer.extend(frame.into_data().ok());
            } else {
                self.stream = None;
                // A daemon that closes at once must not be asked in a tight loop.
                tokio::time::sleep(FIRST_PAUSE).await;
            }
        }
    }
}

fn may_pass(err: &Error) -> bool {
    err.is_unreachable() || matches!(err, Error::Timeout(_)) || err.kind() == Some(ErrorKind::Unavailable)
}

/// Takes the bytes up to and with the next empty line off the buffer.
fn take_block(buffer: &mut BytesMut) -> Option<BytesMut> {
    let mut start = 0;
    while let Some(length) = buffer[start..].iter().position(|byte| *byte == b'\n') {
        if matches!(&buffer[start..start + length], b"" | b"\r") {
            let block = buffer.split_to(start);
            buffer.advance(length + 1);
            return Some(block);
        }
        start += length + 1;
    }
    None
}

/// Reads one block. The id may stand alone: it is where the stream begins.
fn parse(block: &[u8]) -> Result<(Option<EventId>, Option<Event>)> {
    let mut data = String::new();
    let mut id = None;
    for line in String::from_utf8_lossy(block).lines() {
        if let Some(rest) = line.strip_prefix("data:") {
            if !data.is_empty() {
                data.push('\n');
            }
            data.push_str(rest.strip_prefix(' ').unwrap_or(rest));
        } else if let Some(rest) = line.strip_prefix("id:") {
            id = rest.trim().parse().ok();
        }
    }
    if data.is_empty() {
        return Ok((id, None));
    }
    let event = serde_json::from_str(&data).map_err(|err| Error::Protocol(format!("an event does not fit: {err}")))?;
    Ok((id, Some(event)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(chunks: &[&str]) -> Vec<i64> {
        let mut buffer = BytesMut::new();
        let mut ids = Vec::new();
        for chunk in chunks {
            buffer.extend_from_slice(chunk.as_bytes());
            while let Some(block) = take_block(&mut buffer) {
                ids.extend(parse(&block).unwrap().1.map(|event| event.id.0));
            }
        }
        ids
    }

    #[test]
    fn events_survive_any_chunking() {
        let one = r#"{"id":1,"kind":"stop","job_id":null,"data":{},"at":"2026-11-22T12:00:00Z"}"#;
        let two = r#"{"id":2,"kind":"job.log","job_id":7,"data":{"a":"b"},"at":"2026-11-22T12:00:00Z"}"#;
        let text =
            format!(": hello\n\nid: 1\nevent: stop\ndata: {one}\n\n:\n\nid: 2\r\ndata:{two}\r\n\r\nid: 3\ndata: {{");
        assert_eq!(ids(&[&text]), [1, 2]);
        let split: Vec<&str> = text.split_inclusive(|_: char| true).collect();
        assert_eq!(ids(&split), [1, 2]);
    }

    #[test]
    fn data_over_several_lines_is_joined() {
        let text = "data: {\"id\":4,\"kind\":\"stop\",\ndata: \"job_id\":null,\"data\":{},\"at\":\"2026-11-22T12:00:00Z\"}\n\n";
        assert_eq!(ids(&[text]), [4]);
    }

    #[test]
    fn an_event_that_does_not_fit_is_an_error() {
        assert!(parse(b"data: {\"id\":\"x\"}").is_err());
        assert!(parse(b": ping").unwrap().1.is_none());
        assert_eq!(parse(b"id: 9").unwrap().0, Some(EventId(9)));
    }
}
