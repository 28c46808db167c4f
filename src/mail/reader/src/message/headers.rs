//! Headers: bounded, unfolded, without what a terminal or a page would take for a command.

use mail_parser::{HeaderName, HeaderValue, Message as Parsed, PartType};

use super::{cut, values};
use crate::protocol::{Automatic, OWN_MARK};

/// Message ids of one header.
pub(super) const MAX_IDS: usize = 100;
const MAX_HEADERS: usize = 300;
const MAX_VALUE: usize = 4000;
const MAX_ALL: usize = 128 << 10;
const MAX_SUBJECT: usize = 1000;
/// RFC 5322, section 2.1.1: no line is longer than 998 characters.
const MAX_ID: usize = 998;

/// Message ids with their angle brackets, of every instance of the header.
pub(super) fn ids(parsed: &Parsed<'_>, name: &HeaderName<'_>, most: usize) -> Vec<String> {
    let mut found = Vec::new();
    for value in values(parsed, name) {
        let texts: Vec<&str> = match value {
            HeaderValue::Text(text) => vec![text],
            HeaderValue::TextList(list) => list.iter().map(AsRef::as_ref).collect(),
            _ => Vec::new(),
        };
        for id in texts {
            let id = id.trim().trim_start_matches('<').trim_end_matches('>');
            let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>');
            if !id.is_empty() && id.len() < MAX_ID && !id.contains(odd) {
                found.push(format!("<{id}>"));
            }
        }
    }
    found.truncate(most);
    found
}

pub(super) fn subject(parsed: &Parsed<'_>) -> String {
    line(parsed.subject().unwrap_or_default(), MAX_SUBJECT)
}

/// All headers of the message itself.
pub(super) fn all(parsed: &Parsed<'_>) -> Vec<(String, String)> {
    let mut room = MAX_ALL;
    let mut found = Vec::new();
    for header in parsed.headers().iter().take(MAX_HEADERS) {
        let raw = parsed.raw_message.get(header.offset_start as usize..header.offset_end as usize).unwrap_or_default();
        let name = line(header.name(), 100);
        let value = line(&String::from_utf8_lossy(&raw[..raw.len().min(2 * MAX_VALUE)]), MAX_VALUE);
        room = match room.checked_sub(name.len() + value.len()) {
            Some(room) => room,
            None => break,
        };
        found.push((name, value));
    }
    found
}

pub(super) fn automatic(parsed: &Parsed<'_>) -> Automatic {
    let text = |name: HeaderName<'static>| {
        let value = values(parsed, &name).next().map(raw_text);
        value.map(|text| line(&text, 200)).filter(|text| !text.is_empty())
    };
    let word = |value: &String| value.split([';', ' ']).next().unwrap_or_default().to_ascii_lowercase();
    let named = |name: &str| {
        let found = parsed.headers().iter().find(|header| header.name().eq_ignore_ascii_case(name));
        found.map(|header| line(&raw_text(&header.value), 200))
    };
    Automatic {
        auto_submitted: text(HeaderName::AutoSubmitted).filter(|value| word(value) != "no"),
        precedence: named("Precedence").map(|value| word(&value)).filter(|word| is_bulk(word)),
        list_id: text(HeaderName::ListId),
        own_mark: named(OWN_MARK),
        no_return_path: parsed
            .headers()
            .iter()
            .find(|header| header.name == HeaderName::ReturnPath)
            .is_some_and(|header| raw_text(&header.value).trim_matches(['<', '>', ' ']).is_empty()),
    }
}

fn is_bulk(word: &str) -> bool {
    matches!(word, "bulk" | "junk" | "list" | "auto_reply")
}

fn raw_text(value: &HeaderValue<'_>) -> String {
    match value {
        HeaderValue::Text(text) => text.to_string(),
        HeaderValue::TextList(list) => list.join(" "),
        HeaderValue::Address(address) => {
            let all = address.iter().map(|one| one.address.as_deref().or(one.name.as_deref()).unwrap_or_default());
            all.collect::<Vec<_>>().join(", ")
        }
        HeaderValue::ContentType(content) => content.c_type.to_string(),
        HeaderValue::DateTime(date) => date.to_rfc3339(),
        HeaderValue::Received(_) | HeaderValue::Empty => String::new(),
    }
}

/// What a person should know of it.
pub(super) fn defects(parsed: &Parsed<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for (name, title) in [
        (HeaderName::From, "From"),
        (HeaderName::Sender, "Sender"),
        (HeaderName::Subject, "Subject"),
        (HeaderName::Date, "Date"),
        (HeaderName::MessageId, "Message-ID"),
        (HeaderName::To, "To"),
        (HeaderName::Cc, "Cc"),
        (HeaderName::ContentType, "Content-Type"),
    ] {
        let count = parsed.headers().iter().filter(|header| header.name == name).count();
        match (count, title) {
            (0, "From" | "Date" | "Message-ID") => found.push(format!("it has no {title}")),
            (0 | 1, _) => {}
            (count, _) => found.push(format!("it has {count} {title} headers")),
        }
    }
    if parsed.headers().len() > MAX_HEADERS {
        found.push(format!("it has {} headers; the first {MAX_HEADERS} were kept", parsed.headers().len()));
    }
    if parsed.parts.iter().any(|part| part.is_encoding_problem && !matches!(part.body, PartType::Multipart(_))) {
        found.push("some of it is not encoded as it says".into());
    }
    found
}

/// One line: white space put together, without control characters and what turns the direction of writing.
pub(super) fn line(text: &str, most: usize) -> String {
    let mut line = String::with_capacity(text.len().min(most));
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(word.chars().filter(|c| is_visible(*c)));
        if line.len() > most {
            break;
        }
    }
    cut(&mut line, most);
    line
}

/// Lines, with the same left out.
pub(super) fn plain(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    text.chars().filter(|c| matches!(c, '\n' | '\t') || is_visible(*c)).collect::<String>().trim_end().to_owned()
}

/// Not a control character, not one that has no width or changes the direction, not one of the tags that no font shows.
pub(super) fn is_visible(c: char) -> bool {
    !c.is_control()
        && !matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}
