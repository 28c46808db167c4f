//! What a signature covers, and whether that is enough to say who wrote what to whom.

use std::collections::BTreeMap;

use mail_auth::AuthenticatedMessage;

/// Headers of which every instance must be signed. Without `Message-ID` and `To` a copy could be sent again as something
/// new, or to somebody else.
const NEEDED: &[&str] = &["from", "subject", "date", "message-id", "to", "cc"];
/// Headers that may be there once: a second one would change what is shown of a body that is signed.
const SINGLE: &[&str] = &["from", "content-type", "content-transfer-encoding", "mime-version"];

/// How often each header stands in a message, and how long its body is.
pub(super) struct Covered {
    counts: BTreeMap<String, usize>,
    body: u64,
    one_sender: bool,
}

impl Covered {
    pub(super) fn new(parsed: &AuthenticatedMessage<'_>, one_sender: bool) -> Self {
        let mut counts = BTreeMap::new();
        for (name, _) in &parsed.headers {
            *counts.entry(String::from_utf8_lossy(name).trim().to_ascii_lowercase()).or_default() += 1;
        }
        Self { counts, body: parsed.raw_body().len() as u64, one_sender }
    }

    /// What is wrong with a signature of these headers and, if not 0, so many bytes of the body.
    pub(super) fn flaw(&self, signed: &[String], length: u64) -> Option<&'static str> {
        if !self.one_sender {
            return Some("the message does not have exactly one sender");
        }
        if length != 0 && length < self.body {
            return Some("it covers only the beginning of the body");
        }
        let count = |name: &str| self.counts.get(name).copied().unwrap_or(0);
        if SINGLE.iter().any(|name| count(name) > 1) {
            return Some("a header that may stand once stands twice");
        }
        let covered = |name: &str| {
            signed.iter().filter(|one| one.trim().eq_ignore_ascii_case(name)).count()
                >= count(name).max(usize::from(name == "from"))
        };
        match NEEDED.iter().find(|name| !covered(name)) {
            None => None,
            Some(&"from") => Some("it does not cover From"),
            Some(&"subject") => Some("it does not cover Subject"),
            Some(&"date") => Some("it does not cover Date"),
            Some(&"message-id") => Some("it does not cover Message-ID"),
            Some(_) => Some("it does not cover To and Cc"),
        }
    }
}
