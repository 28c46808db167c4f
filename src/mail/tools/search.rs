//! `email_search`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{GROUP, NO_MAILBOX, has_mailbox};
use crate::{
    agent::tools::{Call, Tool},
    cx::Cx,
    error::{Error, Result},
    mail::store::sight::{self, Found},
    policy::{Access, Origin},
};

const MAX_QUERY: usize = 200;

/// Find mail by words in its subject, text or sender, newest first. A job that the owner asked for finds all mail; any
/// other finds that of its own thread.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EmailSearch {
    /// Words that all have to occur; empty: the newest mail.
    #[serde(default)]
    query: String,
    /// 1 to 50, default 10.
    #[serde(default)]
    limit: Option<i64>,
}

#[derive(Serialize)]
pub(super) struct Searched {
    emails: Vec<Found>,
    /// Whether only mail of this job's own thread was looked at.
    own_thread_only: bool,
    #[serde(skip)]
    origin: Origin,
}

impl Tool for EmailSearch {
    const NAME: &'static str = "email_search";
    const ACCESS: Access = Access::Read;
    const GROUP: &'static str = GROUP;
    const ABSENT: Option<&'static str> = Some(NO_MAILBOX);
    type Output = Searched;

    fn origin(searched: &Searched) -> Origin {
        searched.origin
    }

    fn exists(cx: &Cx) -> bool {
        has_mailbox(cx)
    }

    async fn run(self, cx: &Cx, call: &Call) -> Result<Searched> {
        let words: Vec<String> = self.query.split_whitespace().map(str::to_lowercase).collect();
        if self.query.chars().count() > MAX_QUERY {
            return Err(Error::validation(format!("query takes up to {MAX_QUERY} characters")).field("query"));
        }
        let (job, limit) = (call.job_id, self.limit.unwrap_or(10).clamp(1, 50));
        cx.store
            .read(move |conn| {
                let sight = sight::of(conn, job)?;
                let emails = sight::search(conn, &sight, &words, limit)?;
                let origin = emails.iter().map(|found| found.origin).fold(Self::RESULT_ORIGIN, Origin::least);
                Ok(Searched { emails, own_thread_only: !sight.everything, origin })
            })
            .await
    }
}
