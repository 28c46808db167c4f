//! What a refusal means: the one place that maps statuses and error bodies of providers to [`LlmError`].
//!
//! Nothing of a body gets out but a short sentence of the provider's, cleaned of everything that looks like a key.

use std::time::Duration;

use jiff::{Timestamp, fmt::rfc2822};
use regex_lite::Regex;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use serde_json::Value;

use super::{LlmError, net::NetError};
use crate::clock::Clock;

/// Characters of a reason.
const REASON_CHARS: usize = 200;

/// Longest pause that a provider can ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(24);

/// How providers say that a prompt is too long.
const TOO_LONG: &[&str] = &[
    "context_length_exceeded",
    "context length",
    "context window",
    "context size",
    "exceed_context",
    "prompt is too long",
    "prompt too long",
    "input is too long",
    "too many tokens",
    "maximum number of tokens",
    "request_too_large",
];

/// How they say that the account is empty, whatever status they use.
const NO_CREDIT: &[&str] = &["insufficient_quota", "insufficient credit", "credit balance is too low", "billing_error"];

/// What a provider said in place of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// The HTTP status, or the one that stands for an error within a stream.
    pub(super) status: u16,
    /// Everything that the meaning is read from, never shown.
    pub(super) body: String,
    /// Its sentence, if there is one.
    pub(super) message: String,
    pub(super) retry_after: Option<Duration>,
}

impl Said {
    /// An answer with a status that is not of success.
    pub(super) fn response(status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        let body = String::from_utf8_lossy(body).into_owned();
        let message = serde_json::from_str::<Value>(&body).map(|body| sentence(&body)).unwrap_or_default();
        Self { status, body, message, retry_after: retry_after(headers) }
    }

    /// An error object within an answer that began well; `kind` is its type or code.
    pub(super) fn within(error: &Value) -> Self {
        let code = error.get("code").and_then(|code| code.as_u64().or_else(|| code.as_str()?.parse().ok()));
        let kind = error.get("type").or_else(|| error.get("code")).and_then(Value::as_str).unwrap_or_default();
        let status =
            match (code.and_then(|code| u16::try_from(code).ok()).filter(|code| (400..600).contains(code)), kind) {
                (Some(code), _) => code,
                (None, "invalid_request_error") => 400,
                (None, "authentication_error" | "permission_error" | "invalid_api_key") => 401,
                (None, "billing_error" | "insufficient_quota") => 402,
                (None, "not_found_error") => 404,
                (None, "request_too_large") => 413,
                (None, "rate_limit_error" | "rate_limit_exceeded") => 429,
                (None, "overloaded_error") => 529,
                (None, _) => 500,
            };
        Self { status, body: error.to_string(), message: sentence(error), retry_after: None }
    }

    /// Whether it complains of something that has this name.
    pub(super) fn names(&self, parameter: &str) -> bool {
        matches!(self.status, 400 | 422) && self.body.contains(parameter)
    }

    /// What it means. `redact` takes the key out of a text.
    pub(super) fn error(&self, model: &str, redact: impl Fn(&str) -> String) -> LlmError {
        let model = model.to_owned();
        let body = self.body.to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| body.contains(word));
        let cleaned = clean(&redact(&self.message));
        let reason = if cleaned.is_empty() {
            format!("HTTP {}", self.status)
        } else {
            format!("HTTP {}: {cleaned}", self.status)
        };
        let retry_after = self.retry_after;
        match self.status {
            400 | 402 | 403 | 429 if says(NO_CREDIT) => LlmError::Payment { model },
            401 | 403 => LlmError::Auth { model, reason },
            402 => LlmError::Payment { model },
            413 => LlmError::ContextTooLong { model },
            400 | 422 | 500 if says(TOO_LONG) => LlmError::ContextTooLong { model },
            429 => LlmError::RateLimited { model, retry_after },
            408 | 409 | 425 | 500..=599 => LlmError::Unavailable { model, reason, retry_after },
            300..=399 => LlmError::Rejected {
                model,
                reason: format!("HTTP {}: a redirect, which is not followed; set the final address", self.status),
            },
            _ => LlmError::Rejected { model, reason },
        }
    }
}

impl NetError {
    /// What it means for a model.
    pub(super) fn error(self, model: &str) -> LlmError {
        let model = model.to_owned();
        match self {
            Self::Forbidden(reason) => LlmError::Forbidden(reason),
            Self::NoConnection(reason) | Self::Broken(reason) => {
                LlmError::Unavailable { model, reason, retry_after: None }
            }
            Self::TooLarge(limit) => {
                LlmError::Protocol { model, reason: format!("more than {limit} bytes (llm.max_answer_bytes)") }
            }
        }
    }
}

/// The sentence in an error body, in the shapes that servers use.
fn sentence(body: &Value) -> String {
    let error = body.get("error").unwrap_or(body);
    let text = |value: &Value| value.as_str().map(str::to_owned);
    text(error)
        .or_else(|| error.get("message").and_then(text))
        .or_else(|| body.get("message").and_then(text))
        .or_else(|| body.get("detail").and_then(text))
        .unwrap_or_default()
}

/// Printable, short, and without anything that looks like a key.
pub(super) fn clean(text: &str) -> String {
    let printable: String = text.chars().map(|c| if c.is_control() || is_invisible(c) { ' ' } else { c }).collect();
    let mut text = printable.split_whitespace().collect::<Vec<_>>().join(" ");
    // Prefixed keys, bearer tokens, addresses with a password, and any long run of letters with digits in it.
    for (pattern, with) in [
        (r"(?i)\b(?:sk|pk|rk|key|api|or|gsk|xai)[-_][A-Za-z0-9_\-*.]{6,}", "[key]"),
        (r"(?i)\bbearer\s+\S+", "[key]"),
        (r"://[^\s/@]+@", "://"),
        (r"\b[A-Za-z0-9_\-]*[0-9][A-Za-z0-9_\-]{7,}[0-9][A-Za-z0-9_\-]{15,}", "[...]"),
        (r"[A-Za-z0-9+/=_\-*]{40,}", "[...]"),
    ] {
        if let Ok(pattern) = Regex::new(pattern) {
            text = pattern.replace_all(&text, with).into_owned();
        }
    }
    match text.char_indices().nth(REASON_CHARS) {
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
        None => text,
    }
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// `Retry-After` as seconds or as a date (RFC 9110, 10.2.3). A date counts from the sender's own `Date`, so that clocks
/// that differ do no harm.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let date = |text: &str| rfc2822::parse(text).ok().map(|date| date.timestamp());
    let wanted = text(RETRY_AFTER)?;
    let duration = if let Ok(seconds) = wanted.parse::<f64>() {
        Duration::try_from_secs_f64(seconds).ok()?
    } else {
        let now: Timestamp = text(DATE).and_then(date).unwrap_or_else(|| Clock::System.now());
        Duration::try_from(date(wanted)?.duration_since(now)).unwrap_or_default()
    };
    Some(duration.min(LONGEST_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn error(status: u16, body: &str) -> LlmError {
        Said::response(status, &HeaderMap::new(), body.as_bytes()).error("m", str::to_owned)
    }

    #[test]
    fn statuses_have_their_meaning() {
        let kind =
            |status, body: &str| format!("{:?}", error(status, body)).split([' ', '(']).next().unwrap().to_owned();
        for (status, body, expected) in [
            (401, "", "Auth"),
            (403, "", "Auth"),
            (402, "", "Payment"),
            (429, "{}", "RateLimited"),
            (429, r#"{"error":{"code":"insufficient_quota"}}"#, "Payment"),
            (400, r#"{"error":{"message":"Your credit balance is too low"}}"#, "Payment"),
            (400, r#"{"error":{"message":"This model's maximum context length is 8192 tokens"}}"#, "ContextTooLong"),
            (400, r#"{"error":{"message":"prompt is too long: 1 tokens > 0 maximum"}}"#, "ContextTooLong"),
            (413, "", "ContextTooLong"),
            (400, r#"{"error":{"message":"bad"}}"#, "Rejected"),
            (404, "", "Rejected"),
            (422, "", "Rejected"),
            (302, "", "Rejected"),
            (408, "", "Unavailable"),
            (500, "", "Unavailable"),
            (503, "<html>", "Unavailable"),
            (529, "", "Unavailable"),
        ] {
            assert_eq!(kind(status, body), expected, "{status} {body}");
        }
    }

    #[test]
    fn errors_within_a_stream_have_the_same_meanings() {
        let said = |error| Said::within(&error).error("m", str::to_owned);
        assert!(matches!(
            said(json!({ "type": "overloaded_error", "message": "Overloaded" })),
            LlmError::Unavailable { .. }
        ));
        assert!(matches!(said(json!({ "code": 429, "message": "slow" })), LlmError::RateLimited { .. }));
        assert!(matches!(said(json!({ "code": "502" })), LlmError::Unavailable { .. }));
        assert!(matches!(said(json!({ "type": "authentication_error" })), LlmError::Auth { .. }));
        assert!(matches!(said(json!({})), LlmError::Unavailable { .. }));
    }

    #[test]
    fn a_reason_is_short_printable_and_holds_no_key() {
        for secret in [
            "sk-or-v1-0123456789abcdef0123",
            "Bearer abc.def",
            "eyJhbGciOiJIUzI1NiJ9abcdefghijklmnopqrstuvwxyz",
            "https://joe:pass@host/",
            "4f9c2b7e01d34a5586c7d8e9f0a1b2c3",
        ] {
            let cleaned = clean(&format!("the value {secret} is\n\u{1b}[31mwrong"));
            let inner = secret.trim_start_matches("Bearer ").trim_start_matches("https://").trim_end_matches("host/");
            assert!(!cleaned.contains(inner), "{cleaned}");
            assert!(cleaned.starts_with("the value ") && cleaned.ends_with("[31mwrong"), "{cleaned}");
        }
        assert_eq!(clean(&"wörd ".repeat(100)).chars().count(), 200);
        assert_eq!(
            clean("model 'claude-sonnet-4-5-20250929' not found"),
            "model 'claude-sonnet-4-5-20250929' not found"
        );
        assert_eq!(
            clean("anthropic/claude-sonnet-4.6 is not a valid model ID"),
            "anthropic/claude-sonnet-4.6 is not a valid model ID"
        );
    }

    #[test]
    fn only_the_sentence_of_a_body_is_shown() {
        let shown = error(400, r#"{"error":{"message":"no","param":"the prompt itself"}}"#).to_string();
        assert_eq!(shown, "m rejected the request: HTTP 400: no");
        assert_eq!(error(500, "<html>secret page</html>").to_string(), "m is not available: HTTP 500");
        assert!(error(404, r#"{"error":"model 'x' not found"}"#).to_string().contains("model 'x' not found"));
    }

    #[test]
    fn retry_after_in_both_forms() {
        let parse = |pairs: &[(_, &str)]| {
            let headers = pairs
                .iter()
                .map(|(name, value)| (reqwest::header::HeaderName::clone(name), value.parse().unwrap()))
                .collect();
            retry_after(&headers)
        };
        assert_eq!(parse(&[(RETRY_AFTER, "7")]), Some(Duration::from_secs(7)));
        assert_eq!(parse(&[(RETRY_AFTER, "0.5")]), Some(Duration::from_millis(500)));
        let date = (DATE, "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(parse(&[date, (RETRY_AFTER, "Sun, 06 Nov 1994 08:50:07 GMT")]), Some(Duration::from_secs(30)));
        let date = (DATE, "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(parse(&[date, (RETRY_AFTER, "Sun, 06 Nov 1994 08:49:00 GMT")]), Some(Duration::ZERO));
        assert_eq!(parse(&[(RETRY_AFTER, "Sun, 06 Nov 1994 08:49:37 GMT")]), Some(Duration::ZERO));
        assert_eq!(parse(&[(RETRY_AFTER, "99999999999")]), Some(LONGEST_RETRY_AFTER));
        assert_eq!(parse(&[(RETRY_AFTER, "soon")]), None);
        assert_eq!(parse(&[(RETRY_AFTER, "-5")]), None);
        assert_eq!(parse(&[]), None);
    }
}
