//! `GET /api/log` and `GET /api/log/stream`: the newest lines of the daemon's own log.

use assistant_api::{
    ErrorKind, EventId, JobId, Role,
    events::Event,
    log::{LogLevel, LogLine, LogList},
};
use axum::{body::Body, http::Method};
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;

use super::{
    events::{HEARTBEAT, RETRY, frame, server_sent},
    route::{Json, Raw, Req, Route},
};
use crate::{
    cx::Cx,
    error::{Error, Result},
    logging::recent::Wanted,
};

/// Lines of one answer, unless the query says otherwise.
const LIMIT: usize = 200;
const MAX_LIMIT: usize = 2000;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(Method::GET, "/api/log", Role::Admin, "The newest lines of the daemon's own log.", list)
            .errors(&[ErrorKind::Validation]),
        Route::new(
            Method::GET,
            "/api/log/stream",
            Role::Admin,
            "Lines of the log as they are written, as server-sent events of the kind `log`.",
            follow,
        )
        .stream()
        .produces("text/event-stream")
        .errors(&[ErrorKind::Validation]),
    ]
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Query {
    /// Not lines that matter less than this.
    #[serde(default)]
    level: Option<LogLevel>,
    /// Only lines about this job.
    #[serde(default)]
    job: Option<JobId>,
    /// Only lines with this text in them, in whatever case.
    #[serde(default)]
    text: Option<String>,
    /// Lines at most: 1 to 2000, default 200. The stream begins with so many, or without it with what comes next.
    #[serde(default)]
    limit: Option<usize>,
    /// Only lines behind this one; of the stream the header `Last-Event-ID` wins.
    #[serde(default)]
    last_event_id: Option<i64>,
}

impl Query {
    fn limit(&self) -> Result<Option<usize>> {
        match self.limit {
            Some(limit) if !(1..=MAX_LIMIT).contains(&limit) => {
                let message = format!("limit is {limit}; it goes from 1 to {MAX_LIMIT}");
                Err(Error::validation(message).field("query.limit"))
            }
            limit => Ok(limit),
        }
    }

    fn wanted(self) -> Wanted {
        let text = self.text.filter(|text| !text.is_empty());
        Wanted { level: self.level, job: self.job, text }
    }
}

async fn list(req: Req<(), Query>) -> Result<Json<LogList>> {
    let (limit, after) = (req.query.limit()?.unwrap_or(LIMIT), req.query.last_event_id.unwrap_or(0));
    let lines = req.cx.process.logging.recent().newest(after, limit, &req.query.wanted());
    let level = req.cx.config.load().log.level.parse().unwrap_or(LogLevel::Info);
    Ok(Json(LogList { lines, level }))
}

async fn follow(req: Req<(), Query>) -> Result<Raw> {
    let last = super::events::last_seen(&req.headers, req.query.last_event_id)?;
    let limit = req.query.limit()?;
    let cx = req.cx;
    let news = cx.process.logging.recent().news();
    let after = match (last, limit) {
        (Some(last), _) => last,
        (None, Some(_)) => 0,
        (None, None) => *news.borrow(),
    };
    let wanted = req.query.wanted();
    let listener = Listener { cx, news, after, limit: limit.unwrap_or(MAX_LIMIT), wanted, greeted: false, done: false };
    Ok(server_sent(Body::from_stream(stream::unfold(listener, Listener::next))))
}

struct Listener {
    cx: Cx,
    news: watch::Receiver<i64>,
    /// Everything up to here has been sent, or is not wanted.
    after: i64,
    /// Lines of the next look; those before them are left out.
    limit: usize,
    wanted: Wanted,
    greeted: bool,
    done: bool,
}

impl Listener {
    async fn next(mut self) -> Option<(Result<Bytes>, Self)> {
        if self.done {
            return None;
        }
        let sent = self.wait().await;
        Some((sent, self))
    }

    async fn wait(&mut self) -> Result<Bytes> {
        let mut text = BytesMut::new();
        if !std::mem::replace(&mut self.greeted, true) {
            text.put_slice(RETRY.as_bytes());
        }
        loop {
            let stopping = self.cx.stop.is_cancelled();
            let newest = *self.news.borrow_and_update();
            let lines = self.cx.process.logging.recent().newest(self.after, self.limit, &self.wanted);
            self.limit = MAX_LIMIT;
            self.after = lines.last().map_or(newest, |line| line.id.max(newest));
            for line in lines {
                let id = EventId(line.id);
                frame(&mut text, Some(id), "log", &event(line))?;
            }
            if stopping {
                self.done = true;
                let bye = Event {
                    id: EventId(self.after),
                    kind: "shutdown".into(),
                    job_id: None,
                    data: json!({}),
                    at: self.cx.clock.now(),
                };
                frame(&mut text, None, "shutdown", &bye)?;
            }
            if !text.is_empty() {
                return Ok(text.freeze());
            }
            tokio::select! {
                changed = self.news.changed() => changed.map_err(Error::internal)?,
                () = self.cx.stop.cancelled() => {}
                () = tokio::time::sleep(HEARTBEAT) => return Ok(Bytes::from_static(b": alive\n\n")),
            }
        }
    }
}

/// A line as an event, so that who follows either needs one way.
fn event(line: LogLine) -> Event {
    let LogLine { id, at, level, target, text, job_id, fields } = line;
    let data = json!({ "level": level, "target": target, "text": text, "fields": fields });
    Event { id: EventId(id), kind: "log".into(), job_id, data, at }
}
