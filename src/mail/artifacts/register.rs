//! What is to be made of a message, written down with the decision about it.

use assistant_mail::protocol::{Message, Part};
use jiff::Timestamp;
use rusqlite::Connection;

use super::{
    store::{self, NewArtifact},
    youtube,
};
use crate::{config::Config, error::Result};

/// Links of one message that are written down.
const MAX_LINKS: usize = 20;
/// Messages within messages whose attachments are looked into.
const MAX_DEPTH: u32 = 3;

/// Why an attachment waits for a person.
pub(super) const NOT_ACTED_ON: &str = "nobody acts on this mail; its attachments are read once a person accepts it";

/// Writes down what is to be made of the attachments and links of a message: to be done at once if somebody acts on it,
/// else once a person accepts it. Whether there is something to be done.
///
/// # Errors
/// What the database says.
pub(crate) fn register(
    tx: &Connection,
    now: Timestamp,
    config: &Config,
    email_id: i64,
    message: &Message,
    raw_name: &str,
    acts: bool,
) -> Result<bool> {
    if !config.artifacts.enabled {
        return Ok(false);
    }
    let mut total = 0_u64;
    for (at, part) in message.parts.iter().enumerate() {
        let new = attachment(config, at, part, raw_name, &mut total, acts);
        store::insert(tx, now, email_id, &new)?;
    }
    if config.artifacts.youtube_links {
        let html = message.html.as_deref().unwrap_or_default();
        for link in youtube::links(&[&message.text, html]).into_iter().take(MAX_LINKS) {
            store::insert(tx, now, email_id, &NewArtifact::link(link, (!acts).then_some(NOT_ACTED_ON)))?;
        }
    }
    store::show(tx, email_id)?;
    store::is_pending(tx, email_id)
}

/// A person accepted the mail: what waited for that is to be done now. Whether there is something.
///
/// # Errors
/// What the database says.
pub(crate) fn take_up(tx: &Connection, now: Timestamp, email_id: i64) -> Result<bool> {
    store::take_up(tx, now, email_id)?;
    store::show(tx, email_id)?;
    store::is_pending(tx, email_id)
}

fn attachment(config: &Config, at: usize, part: &Part, raw_name: &str, total: &mut u64, acts: bool) -> NewArtifact {
    let limits = &config.artifacts;
    let too_many = limits.max_attachment_count as usize;
    let skip = if at >= too_many {
        Some(format!("the mail has more than {too_many} attachments (artifacts.max_attachment_count)"))
    } else if part.size_bytes > limits.max_attachment_bytes.0 {
        let most = limits.max_attachment_bytes.0;
        Some(format!("it is larger than {most} bytes (artifacts.max_attachment_bytes)"))
    } else if part.depth > MAX_DEPTH {
        Some(format!("it lies in more than {MAX_DEPTH} messages"))
    } else {
        *total += part.size_bytes;
        let most = limits.max_total_bytes.0;
        (*total > most)
            .then(|| format!("the attachments are larger than {most} bytes together (artifacts.max_total_bytes)"))
    };
    let skip = skip.or_else(|| (!acts).then(|| NOT_ACTED_ON.to_owned()));
    NewArtifact {
        source: "attachment",
        label: clean(part.name.as_deref(), part.index),
        uri: None,
        filename: part.name.as_deref().map(|name| clean(Some(name), part.index)),
        content_type: Some(part.content_type.clone()),
        raw_name: Some(raw_name.to_owned()),
        part: Some(part.index),
        size: Some(part.size_bytes),
        scan: if skip.is_some() { "skipped" } else { "pending" },
        conversion: if skip.is_some() { "skipped" } else { "pending" },
        error: skip,
    }
}

/// A name that is nothing but a name: no directory, no control, nothing that shows it in another order than it is.
pub(super) fn clean(name: Option<&str>, index: u32) -> String {
    let last = name.unwrap_or_default().rsplit(['/', '\\']).next().unwrap_or_default();
    let hidden = |character: char| {
        character.is_control()
            || matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    let kept: String = last
        .chars()
        .filter(|character| !hidden(*character))
        .map(|character| if matches!(character, ':' | '*' | '?' | '"' | '<' | '>' | '|') { '_' } else { character })
        .take(120)
        .collect();
    let kept = kept.trim_matches(|character: char| character == '.' || character.is_whitespace());
    if kept.is_empty() { format!("part-{index}") } else { kept.to_owned() }
}
