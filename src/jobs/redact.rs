//! Takes secrets and long contents out of what is logged, before it is stored: what is not there cannot leak.
//!
//! The cost is bounded: a string is cut before it is searched, a pattern is only tried on a string that holds one of
//! its words, and what a value may have in depth and width is limited.

use std::{borrow::Cow, sync::LazyLock};

use regex_lite::Regex;
use serde_json::{Map, Value};

/// Characters of a content that are shown.
const PREVIEW: usize = 500;
/// Characters of any other string.
const LONGEST: usize = 2000;
/// Characters beyond a cut that are searched too, so that no secret escapes by lying across it.
const MARGIN: usize = 512;
const DEPTH: usize = 12;
const WIDTH: usize = 100;
const HIDDEN: &str = "[redacted]";

/// Fields that carry contents: files, mails, what people wrote.
const CONTENTS: [&str; 9] =
    ["content", "body", "text", "body_text", "body_html", "html", "stdout", "stderr", "raw_arguments"];
/// Fields that are never stored: what a provider answered, word for word.
const NEVER: [&str; 4] = ["raw_body", "provider_body", "response_body", "raw_response"];
/// Names of fields whose text is a secret, at their end.
const SECRETS: [&str; 14] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "api_key",
    "apikey",
    "api-key",
    "access_key",
    "private_key",
    "authorization",
    "cookie",
    "credential",
    "credentials",
];

/// Bytes of one stored value.
const LARGEST: usize = 16 << 10;
/// Characters of a reason or a question that stands in the job itself.
const REASON: usize = 10_000;

/// The value as it may be stored, as JSON text.
pub(super) fn stored(value: &Value) -> String {
    let text = clean(value, 0).to_string();
    if text.len() <= LARGEST {
        return text;
    }
    serde_json::json!({ "_bytes": text.len(), "_preview": first(&text, LONGEST) }).to_string()
}

/// A reason or a question as it may be stored and shown.
pub(super) fn reason(text: &str) -> String {
    shortened(text, REASON)
}

fn clean(value: &Value, depth: usize) -> Value {
    match value {
        Value::String(text) => Value::String(shortened(text, LONGEST)),
        Value::Array(_) | Value::Object(_) if depth >= DEPTH => Value::String("[too deep]".into()),
        Value::Array(items) => {
            let mut kept: Vec<_> = items.iter().take(WIDTH).map(|item| clean(item, depth + 1)).collect();
            if items.len() > WIDTH {
                kept.push(Value::String(format!("[{} more]", items.len() - WIDTH)));
            }
            Value::Array(kept)
        }
        Value::Object(fields) => {
            let mut kept = Map::new();
            for (name, value) in fields.iter().take(WIDTH) {
                field(&mut kept, name, value, depth);
            }
            if fields.len() > WIDTH {
                kept.insert("_more".into(), (fields.len() - WIDTH).into());
            }
            Value::Object(kept)
        }
        other => other.clone(),
    }
}

fn field(kept: &mut Map<String, Value>, name: &str, value: &Value, depth: usize) {
    let lower = name.to_ascii_lowercase();
    if NEVER.contains(&lower.as_str()) {
        return;
    }
    match value {
        Value::String(_) | Value::Array(_) | Value::Object(_)
            if SECRETS.iter().any(|secret| lower.ends_with(secret)) =>
        {
            kept.insert(name.into(), HIDDEN.into());
        }
        Value::String(text) if CONTENTS.contains(&lower.as_str()) && longer(text, PREVIEW) => {
            kept.insert(format!("{name}_bytes"), text.len().into());
            kept.insert(format!("{name}_preview"), shortened(text, PREVIEW).into());
        }
        other => {
            kept.insert(name.into(), clean(other, depth + 1));
        }
    }
}

/// Whether the text has more than `max` characters.
fn longer(text: &str, max: usize) -> bool {
    text.len() > max && text.chars().nth(max).is_some()
}

fn first(text: &str, max: usize) -> &str {
    text.char_indices().nth(max).map_or(text, |(end, _)| &text[..end])
}

/// The text without secrets, `max` characters of it at most.
fn shortened(text: &str, max: usize) -> String {
    let searched = first(text, max + MARGIN);
    let clean = scrub(searched);
    let shown = first(&clean, max);
    if shown.len() == clean.len() && searched.len() == text.len() {
        return clean.into_owned();
    }
    format!("{shown}… [{} bytes]", text.len())
}

/// One kind of secret: words of which the text has to hold one, the pattern, and what takes its place.
struct Pattern {
    words: &'static [&'static str],
    regex: Option<Regex>,
    instead: &'static str,
}

/// A constant that has to be computed.
static PATTERNS: LazyLock<Vec<Pattern>> = LazyLock::new(|| {
    let pattern = |words, regex: &str, instead| Pattern { words, regex: Regex::new(regex).ok(), instead };
    vec![
        // A key that is cut off has no end: everything after its head goes.
        pattern(
            &["-----begin"],
            r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(?:[\s\S]*?-----END [A-Z0-9 ]*PRIVATE KEY-----|[\s\S]*)",
            HIDDEN,
        ),
        pattern(&["bearer", "basic"], r"(?i)\b(bearer|basic)\s+[a-z0-9._~+/=-]{8,}", "$1 [redacted]"),
        pattern(
            &["sk-", "gh", "xox", "akia", "aiza", "glpat-", "hf_", "eyj"],
            concat!(
                r"\b(?:sk-[A-Za-z0-9_-]{12,}|gh[pousr]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{16,}|",
                r"xox[a-z]-[A-Za-z0-9-]{10,}|AKIA[0-9A-Z]{16}|AIza[0-9A-Za-z_-]{20,}|glpat-[A-Za-z0-9_-]{12,}|",
                r"hf_[A-Za-z0-9]{16,}|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*)"
            ),
            HIDDEN,
        ),
        pattern(
            &["passw", "passphrase", "secret", "token", "key"],
            concat!(
                r#"(?i)((?:password|passwd|passwort|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key)"#,
                r#"\\?["']?\s*[:=]\s*)"#,
                r#"(?:\\"[^"\\]*\\"|"(?:[^"\\]|\\.)*"?|'[^']*'?|[^\s"',;&\\]+)"#
            ),
            "$1[redacted]",
        ),
        pattern(&["passw", "--token", "--key"], r"(?i)(--?(?:password|passwd|token|key)\s+)\S+", "$1[redacted]"),
        pattern(&["://"], r"(?i)\b([a-z][a-z0-9+.-]*://)[^\s/@:]*:[^\s/@]+@", "$1[redacted]@"),
    ]
});

fn scrub(text: &str) -> Cow<'_, str> {
    let lower = text.to_ascii_lowercase();
    let mut clean = Cow::Borrowed(text);
    for pattern in PATTERNS.iter() {
        let Some(regex) = &pattern.regex else { continue };
        if pattern.words.iter().any(|word| lower.contains(word)) {
            clean = Cow::Owned(regex.replace_all(&clean, pattern.instead).into_owned());
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CANARY: &str = "c4n4ry0123456789abcdefgh";

    #[test]
    fn every_pattern_compiles() {
        assert!(PATTERNS.iter().all(|pattern| pattern.regex.is_some()));
    }

    #[test]
    fn secrets_are_taken_out_wherever_they_stand() {
        for text in [
            format!("curl -H 'Authorization: Bearer {CANARY}' https://x"),
            format!("key sk-{CANARY} here"),
            format!("sk-ant-api03-{CANARY}"),
            format!("ghp_{CANARY}"),
            format!("github_pat_{CANARY}"),
            format!("xoxb-{CANARY}"),
            format!("glpat-{CANARY}"),
            format!("password={CANARY}"),
            format!("DB_PASSWORD: \"{CANARY} with spaces {CANARY}\""),
            format!("{{\\\"api_key\\\": \\\"{CANARY}\\\"}}"),
            format!("{{\"client_secret\": \"{CANARY}\"}}"),
            format!("mysql --password {CANARY} db"),
            format!("https://user:{CANARY}@host/path"),
            format!("-----BEGIN RSA PRIVATE KEY-----\n{CANARY}\n-----END RSA PRIVATE KEY-----"),
            format!("-----BEGIN PRIVATE KEY-----\n{CANARY}\n cut off"),
            format!("eyJ{CANARY}.{CANARY}.{CANARY}"),
        ] {
            for value in [json!(text), json!({ "command": text }), json!([{ "a": { "content": text } }])] {
                let stored = stored(&value);
                assert!(!stored.contains("c4n4ry"), "{text} left {stored}");
                assert!(stored.contains("[redacted]"), "{stored}");
            }
        }
    }

    #[test]
    fn fields_with_the_name_of_a_secret_are_hidden_and_counts_are_not() {
        let value = json!({ "password": CANARY, "api_key": { "a": CANARY }, "Authorization": CANARY, "max_tokens": 5,
            "tokens": 7, "total_tokens": 9, "token": null });
        let stored: Value = serde_json::from_str(&stored(&value)).unwrap();
        assert!(!stored.to_string().contains("c4n4ry"));
        assert_eq!(
            (&stored["max_tokens"], &stored["tokens"], &stored["total_tokens"]),
            (&json!(5), &json!(7), &json!(9))
        );
        assert_eq!(reason("used 1200 tokens: fine"), "used 1200 tokens: fine");
    }

    #[test]
    fn contents_are_shortened_and_provider_bodies_never_kept() {
        let content = "ü".repeat(800);
        let value = json!({ "path": "a.txt", "content": content, "text": "short", "raw_body": CANARY });
        let stored: Value = serde_json::from_str(&stored(&value)).unwrap();
        assert_eq!(stored["content_bytes"], 1600);
        assert!(stored["content_preview"].as_str().unwrap().chars().filter(|c| *c == 'ü').count() == PREVIEW);
        assert!(stored.get("content").is_none() && stored.get("raw_body").is_none());
        assert_eq!((&stored["text"], &stored["path"]), (&json!("short"), &json!("a.txt")));
    }

    #[test]
    fn a_secret_across_the_cut_does_not_escape() {
        for before in (PREVIEW - 40)..(PREVIEW + 2) {
            let stored =
                stored(&json!({ "content": format!("{} sk-{CANARY}{}", "x".repeat(before), "y".repeat(5000)) }));
            assert!(!stored.contains("c4n4"), "{before}: {stored}");
        }
    }

    #[test]
    fn the_size_of_what_is_stored_is_bounded() {
        let mut deep = json!("x");
        for _ in 0..200 {
            deep = json!([deep]);
        }
        let wide = json!({ "list": vec!["y".repeat(10_000); 1000], "deep": deep });
        assert!(stored(&wide).len() <= LARGEST);
        let started = std::time::Instant::now();
        stored(&json!("secret=".repeat(200_000)));
        assert!(started.elapsed().as_secs() < 5);
    }
}
