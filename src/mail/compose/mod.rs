//! A draft becomes a message (RFC 5322): text and HTML of Markdown, threading headers, attachments, the disclosure for
//! people outside. Nothing is sent here, and no header is put together from text: lettre encodes all of them.

mod attachments;
pub mod disclosure;
pub mod recipients;
mod render;

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use lettre::{
    Address, Message,
    message::{
        Attachment as Part, Mailbox, MultiPart, SinglePart,
        header::{ContentType, HeaderName, HeaderValue},
    },
};
use serde_json::Value;

pub use self::attachments::{Attached, Attachment, attach};
use crate::{
    config::Config,
    cx::Cx,
    error::{Error, Result},
    mail::codes,
};

/// The header that marks all mail of the assistant, so that it knows its own when it comes back.
pub const OWN_MARK: &str = "X-Assistant-Mail";
/// Message ids in `References`.
const REFERENCES: usize = 20;
const MAX_SUBJECT: usize = 240;

/// A mail as it is asked for.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    pub to: Vec<Mailbox>,
    pub cc: Vec<Mailbox>,
    pub subject: String,
    /// Markdown.
    pub body: String,
    /// What it answers.
    pub target: Option<Target>,
    pub attachments: Vec<Attachment>,
}

/// The mail that another one answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// With its angle brackets.
    pub message_id: String,
    /// Its own `References`, the oldest first.
    pub references: Vec<String>,
}

/// A message that is ready to be sent.
#[derive(Clone, Debug)]
pub struct Letter {
    /// With its angle brackets.
    pub message_id: String,
    pub in_reply_to: Option<String>,
    pub from: Mailbox,
    pub to: Vec<Address>,
    pub cc: Vec<Address>,
    pub subject: String,
    /// The text part.
    pub text: String,
    /// Name, type and size of each attachment.
    pub attachments: Vec<Value>,
    /// Whether it tells people outside that a program wrote it.
    pub disclosed: bool,
    /// The message itself.
    pub bytes: Vec<u8>,
}

/// Who sends: `email.smtp_from`, else `identity.email`, with the assistant's name.
///
/// # Errors
/// `unavailable` when neither is set.
pub fn sender(config: &Config) -> Result<Mailbox> {
    let text = config.email.smtp_from.as_deref().or(config.identity.email.as_deref());
    let mut from = text
        .ok_or_else(|| Error::unavailable("the assistant has no mail address").field("identity.email"))
        .and_then(recipients::parse)?;
    if from.name.is_none() {
        let name = config.identity.name.as_deref().unwrap_or(&config.app.name);
        from.name = Some(name.to_owned()).filter(|name| !name.is_empty() && !name.chars().any(char::is_control));
    }
    Ok(from)
}

/// Makes the message, with its body as HTML beside the text.
///
/// # Errors
/// As [`letter`].
pub async fn made(cx: &Cx, config: &Config, draft: Draft) -> Result<Letter> {
    let html = if draft.body.trim().is_empty() { None } else { render::html(cx, &draft.body).await };
    letter(config, cx.clock.now(), &draft, html.as_deref())
}

/// Makes the message. `html` is the body as HTML, from the confined renderer; `None`: text alone.
///
/// # Errors
/// `validation` that names the field; `unavailable` without an own address.
pub fn letter(config: &Config, now: Timestamp, draft: &Draft, html: Option<&str>) -> Result<Letter> {
    if draft.to.is_empty() {
        return Err(Error::validation("there is no recipient").field("to"));
    }
    let from = sender(config)?;
    let subject = subject(&draft.subject)?;
    let message_id = message_id(config, &from)?;
    let everybody = [draft.to.as_slice(), &draft.cc].concat();
    let disclosed = recipients::external(config, &everybody);
    let sentence = disclosed.then(|| disclosure::sentence(config));
    let mut text = draft.body.replace('\0', "").trim_end().to_owned();
    if let Some(sentence) = &sentence {
        text.push_str(&disclosure::text(sentence));
    } else {
        text.push('\n');
    }
    let target = draft.target.as_ref().filter(|target| is_message_id(&target.message_id));

    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    let mut builder = Message::builder()
        .from(from.clone())
        .subject(&subject)
        .message_id(Some(message_id.clone()))
        .date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    for mailbox in &draft.to {
        builder = builder.to(mailbox.clone());
    }
    for mailbox in &draft.cc {
        builder = builder.cc(mailbox.clone());
    }
    if let Some(target) = target {
        builder = builder.in_reply_to(target.message_id.clone()).references(references(target));
    }
    // RFC 3834, section 5.
    let automatic = if target.is_some() { "auto-replied" } else { "auto-generated" };
    builder = builder
        .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), automatic.into()))
        .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str(OWN_MARK), "1".into()));

    let plain = SinglePart::plain(text.clone());
    let body = match html {
        Some(html) => Body::Both(
            MultiPart::alternative().singlepart(plain).singlepart(SinglePart::html(page(html, sentence.as_deref()))),
        ),
        None => Body::Text(plain),
    };
    let message = if draft.attachments.is_empty() {
        match body {
            Body::Both(parts) => builder.multipart(parts),
            Body::Text(part) => builder.singlepart(part),
        }
    } else {
        let mut mixed = match body {
            Body::Both(parts) => MultiPart::mixed().multipart(parts),
            Body::Text(part) => MultiPart::mixed().singlepart(part),
        };
        for attachment in &draft.attachments {
            let kind = ContentType::parse(&attachment.about.content_type)
                .or_else(|_| ContentType::parse("application/octet-stream"))
                .map_err(Error::internal)?;
            mixed = mixed.singlepart(Part::new(attachment.about.filename.clone()).body(attachment.bytes.clone(), kind));
        }
        builder.multipart(mixed)
    };
    let message = message.map_err(|err| Error::validation(format!("the mail cannot be made: {err}")).source(err))?;
    let addresses = |all: &[Mailbox]| all.iter().map(|mailbox| mailbox.email.clone()).collect();
    Ok(Letter {
        message_id,
        in_reply_to: target.map(|target| target.message_id.clone()),
        from,
        to: addresses(&draft.to),
        cc: addresses(&draft.cc),
        subject,
        text,
        attachments: draft
            .attachments
            .iter()
            .map(|attachment| serde_json::to_value(&attachment.about).map_err(Error::internal))
            .collect::<Result<_>>()?,
        disclosed,
        bytes: message.formatted(),
    })
}

enum Body {
    Both(MultiPart),
    Text(SinglePart),
}

/// `Re: ` before a subject that has none.
pub fn reply_subject(subject: &str) -> String {
    // A code is for one mail.
    let subject = codes::without(subject);
    let subject = subject.split_whitespace().collect::<Vec<_>>().join(" ");
    let answered = subject.get(..3).is_some_and(|begin| begin.eq_ignore_ascii_case("re:"));
    let subject = if answered { subject } else { format!("Re: {subject}") };
    subject.chars().filter(|c| !c.is_control()).take(MAX_SUBJECT).collect()
}

/// One line.
fn subject(text: &str) -> Result<String> {
    let text = text.trim();
    if text.chars().any(char::is_control) {
        return Err(Error::validation("the subject is one line without control characters").field("subject"));
    }
    match text.chars().count() {
        0 => Err(Error::validation("the subject is empty").field("subject")),
        length if length > MAX_SUBJECT => {
            let message = format!("the subject has {length} characters; at most {MAX_SUBJECT}");
            Err(Error::validation(message).field("subject"))
        }
        _ => Ok(text.to_owned()),
    }
}

/// A new id, in the domain of `identity.message_id_domain` or of the sender.
fn message_id(config: &Config, from: &Mailbox) -> Result<String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|err| Error::internal(err.to_string()))?;
    let own = config.identity.message_id_domain.as_deref().and_then(recipients::domain);
    let domain = own.as_deref().unwrap_or(from.email.domain());
    Ok(format!("<{}@{domain}>", crate::root::hex(&random)))
}

/// Whether this can stand in a header: `<…@…>` of visible ASCII.
pub fn is_message_id(text: &str) -> bool {
    let inside = text.strip_prefix('<').and_then(|text| text.strip_suffix('>'));
    inside.is_some_and(|inside| {
        inside.len() <= 900
            && inside.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'<' | b'>'))
            && inside.split_once('@').is_some_and(|(left, right)| !left.is_empty() && !right.is_empty())
    })
}

/// The chain up to the target, the newest of it.
fn references(target: &Target) -> String {
    let mut chain: Vec<&str> = target.references.iter().map(String::as_str).filter(|id| is_message_id(id)).collect();
    chain.retain(|id| *id != target.message_id);
    chain.push(&target.message_id);
    chain.split_off(chain.len().saturating_sub(REFERENCES)).join(" ")
}

/// The HTML part: nothing in it is fetched from anywhere.
fn page(body: &str, sentence: Option<&str>) -> String {
    let footer = sentence.map(disclosure::html).unwrap_or_default();
    format!(
        "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><style>body{{font-family:sans-serif;line-height:1.5;\
         color:#222;max-width:45em}}pre,code{{background:#f4f4f4}}pre{{padding:.7em;overflow-x:auto}}\
         table{{border-collapse:collapse}}td,th{{border:1px solid #ccc;padding:.3em .6em}}blockquote{{margin-left:0;\
         padding-left:1em;border-left:3px solid #ccc;color:#555}}</style></head>\n<body>\n{body}\n{footer}</body></html>\n"
    )
}

/// Text as it stands in HTML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests;
