//! Reports about mail that was sent (RFC 3464).

use mail_parser::{Message as Parsed, MessageParser, MimeHeaders as _, PartType};

use super::headers;
use crate::protocol::{Delivery, Report};

const MAX_RECIPIENTS: usize = 100;

/// What a report says; `None` when it is none.
pub(super) fn of(parsed: &Parsed<'_>) -> Option<Report> {
    let root = parsed.root_part().content_type()?;
    let kind = root.attribute("report-type")?;
    if root.ctype() != "multipart" || root.subtype() != Some("report") || !kind.eq_ignore_ascii_case("delivery-status")
    {
        return None;
    }
    let mut report = Report::default();
    for part in &parsed.parts {
        let content = part.content_type();
        let is = |kind: &str, sub: &str| {
            content.is_some_and(|content| content.ctype() == kind && content.subtype() == Some(sub))
        };
        if is("message", "delivery-status") || is("message", "global-delivery-status") {
            report.recipients = recipients(&String::from_utf8_lossy(part.contents()));
        } else if is("text", "rfc822-headers") || is("message", "rfc822-headers") {
            report.message_id = report.message_id.take().or_else(|| id(part.contents()));
        } else if let PartType::Message(inner) = &part.body {
            report.message_id = report.message_id.take().or_else(|| id_of(inner));
        }
    }
    Some(report)
}

fn id(text: &[u8]) -> Option<String> {
    let mut text = text.to_vec();
    text.extend_from_slice(b"\r\n\r\n");
    MessageParser::default().parse_headers(&text).and_then(|parsed| id_of(&parsed))
}

fn id_of(parsed: &Parsed<'_>) -> Option<String> {
    headers::ids(parsed, &mail_parser::HeaderName::MessageId, 1).into_iter().next()
}

/// The groups of fields after the first, which is about the message as a whole.
fn recipients(text: &str) -> Vec<Delivery> {
    let text = text.replace("\r\n", "\n");
    let mut found = Vec::new();
    for group in text.split("\n\n").take(MAX_RECIPIENTS) {
        let mut delivery = Delivery::default();
        let unfolded = group.replace("\n ", " ").replace("\n\t", " ");
        for (name, value) in unfolded.lines().filter_map(|line| line.split_once(':')) {
            let typed = || headers::line(value.split_once(';').map_or(value, |(_, rest)| rest), 500);
            match name.trim().to_ascii_lowercase().as_str() {
                "final-recipient" => delivery.recipient = typed().to_lowercase(),
                "original-recipient" if delivery.recipient.is_empty() => delivery.recipient = typed().to_lowercase(),
                "action" => delivery.action = headers::line(value, 20).to_ascii_lowercase(),
                "status" => delivery.status = headers::line(value, 20),
                "diagnostic-code" => delivery.diagnostic = Some(typed()),
                _ => {}
            }
        }
        if !delivery.recipient.is_empty() && !delivery.action.is_empty() {
            found.push(delivery);
        }
    }
    found
}
