//! One message, as the daemon is told of it.

mod addresses;
mod headers;
mod hidden;
mod html;
pub mod parts;
mod report;
#[cfg(test)]
mod tests;

use std::io::Write;

use mail_parser::{HeaderName, HeaderValue, Message as Parsed, MessageParser, PartType};

use crate::protocol::Message;

/// Bytes of text that are handed on.
const MAX_TEXT: usize = 1 << 20;
/// Bytes of HTML that are looked at.
const MAX_HTML: usize = 1 << 20;

/// Reads a message; there is something to say of nearly anything.
///
/// # Errors
/// In words, when it has no headers at all.
pub fn read(raw: &[u8]) -> Result<Message, String> {
    let parsed = MessageParser::default().parse(raw).ok_or("it has no headers")?;
    if parsed.headers().is_empty() {
        return Err("it has no headers".into());
    }
    Ok(describe(&parsed))
}

/// Writes the content of the part with this number, decoded.
///
/// # Errors
/// In words: there is none, or it is larger than `most` bytes.
pub fn extract(raw: &[u8], index: u32, most: u64, out: &mut impl Write) -> Result<(), String> {
    let parsed = MessageParser::default().parse(raw).ok_or("it has no headers")?;
    let content = parts::content(&parsed, index).ok_or_else(|| format!("it has no attachment {index}"))?;
    if content.len() as u64 > most {
        return Err(format!("the attachment is larger than {most} bytes"));
    }
    out.write_all(content).and_then(|()| out.flush()).map_err(|err| err.to_string())
}

fn describe(parsed: &Parsed<'_>) -> Message {
    let mut message = Message {
        message_id: headers::ids(parsed, &HeaderName::MessageId, 1).into_iter().next(),
        in_reply_to: headers::ids(parsed, &HeaderName::InReplyTo, headers::MAX_IDS),
        references: headers::ids(parsed, &HeaderName::References, headers::MAX_IDS),
        from: addresses::of(parsed, &HeaderName::From),
        sender: addresses::of(parsed, &HeaderName::Sender).into_iter().next(),
        reply_to: addresses::of(parsed, &HeaderName::ReplyTo),
        to: addresses::of(parsed, &HeaderName::To),
        cc: addresses::of(parsed, &HeaderName::Cc),
        subject: headers::subject(parsed),
        date: parsed.date().filter(|date| date.is_valid()).map(mail_parser::DateTime::to_timestamp),
        headers: headers::all(parsed),
        automatic: headers::automatic(parsed),
        report: report::of(parsed),
        defects: headers::defects(parsed),
        ..Message::default()
    };
    message.parts = parts::all(parsed, &mut message.defects);
    bodies(parsed, &mut message);
    message
}

/// The text that a person would read. Only what is written as text or HTML in this message itself counts; what it
/// forwards as a message is one of its parts.
fn bodies(parsed: &Parsed<'_>, message: &mut Message) {
    let mut text = String::new();
    let mut rich = String::new();
    for part in parsed.text_bodies() {
        if let PartType::Text(body) = &part.body {
            add(&mut text, body, MAX_TEXT, &mut message.text_cut);
        }
    }
    for part in parsed.html_bodies() {
        if let PartType::Html(body) = &part.body {
            add(&mut rich, body, MAX_HTML, &mut message.text_cut);
        }
    }
    if !rich.is_empty() {
        let shown = html::shown(&rich);
        if shown.hid {
            message.defects.push("its HTML hides text from who looks at it; that text was left out".into());
        }
        if text.trim().is_empty() {
            text = shown.text;
        }
        message.html = Some(shown.html);
    }
    message.text_cut |= cut(&mut text, MAX_TEXT);
    message.text = headers::plain(&text);
}

fn add(to: &mut String, body: &str, most: usize, cut_off: &mut bool) {
    if !to.is_empty() && !body.is_empty() {
        to.push_str("\n\n");
    }
    let mut room = most.saturating_sub(to.len()).min(body.len());
    *cut_off |= room < body.len();
    while !body.is_char_boundary(room) {
        room -= 1;
    }
    to.push_str(&body[..room]);
}

/// Shortens a text to so many bytes, at the end of a character; whether it was longer.
fn cut(text: &mut String, most: usize) -> bool {
    let longer = text.len() > most;
    if longer {
        text.truncate(text.floor_char_boundary(most));
    }
    longer
}

/// The values of a header, all instances.
fn values<'p>(parsed: &'p Parsed<'_>, name: &'p HeaderName<'_>) -> impl Iterator<Item = &'p HeaderValue<'p>> {
    parsed.headers().iter().filter(move |header| header.name == *name).map(|header| &header.value)
}
