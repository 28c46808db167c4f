//! The parts that are files, out of nested messages too, each with a number by which it can be asked for again.

use mail_parser::{Message as Parsed, MessagePart, MimeHeaders as _, PartType};

use super::headers;
use crate::protocol::Part;

/// Parts that are told of.
const MAX_PARTS: usize = 200;
/// Messages within messages that are looked into.
const MAX_DEPTH: u32 = 5;
const MAX_NAME: usize = 200;

/// All of them, in their order.
pub(super) fn all(parsed: &Parsed<'_>, defects: &mut Vec<String>) -> Vec<Part> {
    let mut found = Vec::new();
    visit(parsed, &mut |number, depth, part| {
        if found.len() < MAX_PARTS {
            found.push(describe(number, depth, part));
        } else if found.len() == MAX_PARTS {
            defects.push(format!("it has more than {MAX_PARTS} parts; the others were left out"));
            found.push(Part::default());
        }
    });
    found.truncate(MAX_PARTS);
    for part in &found {
        if part.content_type == "application/ms-tnef" {
            defects.push("its attachments are packed as winmail.dat (TNEF)".into());
        }
    }
    found
}

/// Calls for every part that is a file, with its number and how many messages it lies in.
pub fn visit<'p>(parsed: &'p Parsed<'p>, see: &mut dyn FnMut(u32, u32, &'p MessagePart<'p>)) {
    let mut number = 0;
    // What lies in a message comes after it and before what follows it.
    let mut ahead = below(parsed, 0);
    while let Some((depth, part)) = ahead.pop() {
        match &part.body {
            PartType::Message(inner) if depth < MAX_DEPTH => {
                see(number, depth, part);
                ahead.append(&mut below(inner, depth + 1));
            }
            PartType::Multipart(_) => continue,
            _ => see(number, depth, part),
        }
        number += 1;
    }
}

/// The content of the part with this number, decoded.
pub(super) fn content<'p>(parsed: &'p Parsed<'p>, index: u32) -> Option<&'p [u8]> {
    let mut found = None;
    visit(parsed, &mut |number, _, part| {
        if number == index {
            found = match &part.body {
                PartType::Text(text) | PartType::Html(text) => Some(text.as_bytes()),
                PartType::Binary(bytes) | PartType::InlineBinary(bytes) => Some(bytes.as_ref()),
                PartType::Message(inner) => {
                    let root = inner.root_part();
                    inner.raw_message.get(root.offset_header as usize..root.offset_end as usize)
                }
                PartType::Multipart(_) => None,
            };
        }
    });
    found
}

/// The parts of a message, last one first.
fn below<'p>(message: &'p Parsed<'p>, depth: u32) -> Vec<(u32, &'p MessagePart<'p>)> {
    let mut found: Vec<_> = message.attachments().map(|part| (depth, part)).collect();
    found.reverse();
    found
}

fn describe(index: u32, depth: u32, part: &MessagePart<'_>) -> Part {
    let content_type = match (part.content_type(), &part.body) {
        (_, PartType::Message(_)) => "message/rfc822".into(),
        (Some(content), _) => match content.subtype() {
            Some(subtype) => headers::line(&format!("{}/{subtype}", content.ctype()), 100).to_ascii_lowercase(),
            None => "application/octet-stream".into(),
        },
        (None, PartType::Text(_)) => "text/plain".into(),
        (None, _) => "application/octet-stream".into(),
    };
    let size_bytes = match &part.body {
        PartType::Text(text) | PartType::Html(text) => text.len(),
        PartType::Binary(bytes) | PartType::InlineBinary(bytes) => bytes.len(),
        PartType::Message(_) => part.offset_end.saturating_sub(part.offset_body) as usize,
        PartType::Multipart(_) => 0,
    };
    let given = part.attachment_name().map(name).filter(|name| !name.is_empty());
    let name = given.or_else(|| (content_type == "application/ms-tnef").then(|| "winmail.dat".to_owned()));
    Part { index, name, content_type, size_bytes: size_bytes as u64, depth }
}

/// The last element of what may be a path on any system, on one line and without what only confuses.
fn name(given: &str) -> String {
    let last = given.rsplit(['/', '\\']).next().unwrap_or_default();
    let clean: String = last.chars().filter(|c| !matches!(c, ':' | '*' | '?' | '"' | '<' | '>' | '|')).collect();
    headers::line(&clean, MAX_NAME).trim_matches(['.', ' ']).to_owned()
}
