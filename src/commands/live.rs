//! What a running command says, for those who follow its job: rows of the task log, gathered so that a chatty command
//! costs a few.

use std::time::Duration;

use assistant_api::JobId;
use serde_json::json;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use crate::{
    cx::Cx,
    jobs::log::{self, NewLog},
    sandbox::Output,
};

/// The shortest time between two rows, and before the first.
const PAUSE: Duration = Duration::from_secs(1);
/// Bytes of one row.
const ROW: usize = 4 << 10;
/// Bytes that one command writes into the log in all; the answer has more.
const MOST: usize = 64 << 10;

/// The log of one command. A command that ends within [`PAUSE`] leaves no rows: its result says it all.
pub(super) struct Live {
    lines: mpsc::Sender<Vec<u8>>,
    writer: JoinHandle<()>,
}

impl Live {
    pub(super) fn new(cx: &Cx, job: JobId, tool: &'static str) -> Self {
        let (lines, incoming) = mpsc::channel(16);
        let writer = cx.tasks.spawn(write(cx.clone(), job, tool, incoming));
        Self { lines, writer }
    }

    /// Takes output; what comes faster than it can be written is left out here.
    pub(super) fn see(&self, output: &Output) {
        if let Output::Stdout(bytes) | Output::Stderr(bytes) = output {
            let _ = self.lines.try_send(bytes[..bytes.len().min(ROW)].to_vec()); // full: left out
        }
    }

    /// Waits until what was taken is written.
    pub(super) async fn end(self) {
        drop(self.lines);
        let _ = self.writer.await; // it panics never, and is cancelled only with the daemon
    }
}

async fn write(cx: Cx, job: JobId, tool: &'static str, mut incoming: mpsc::Receiver<Vec<u8>>) {
    let (mut waiting, mut written) = (Vec::new(), 0);
    let mut due = Instant::now() + PAUSE;
    let mut open = true;
    while open && written < MOST {
        tokio::select! {
            bytes = incoming.recv() => match bytes {
                Some(bytes) => {
                    let room = ROW.min(MOST - written).saturating_sub(waiting.len());
                    waiting.extend_from_slice(&bytes[..bytes.len().min(room)]);
                    continue;
                }
                None => open = false,
            },
            () = sleep_until(due), if !waiting.is_empty() => {}
        }
        if waiting.is_empty() || (!open && written == 0) {
            continue;
        }
        written += waiting.len();
        append(&cx, job, tool, String::from_utf8_lossy(&waiting).into_owned()).await;
        waiting.clear();
        due = Instant::now() + PAUSE;
    }
    // The sender does not wait for rows that nobody writes any more.
    incoming.close();
}

async fn append(cx: &Cx, job: JobId, tool: &'static str, text: String) {
    let now = cx.clock.now();
    let write = cx.store.write(move |tx| {
        let output_data = Some(json!({ "text": text }));
        let row = NewLog { event_type: "tool_output", tool_name: Some(tool), output_data, ..NewLog::default() };
        log::append(tx, now, job, &row)
    });
    match write.await {
        Ok(_) => cx.wake.announce(),
        Err(err) => tracing::warn!(job_id = job.0, error = err.chain(), "output of a command was not logged"),
    }
}
