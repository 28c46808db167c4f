//! The sentence that tells people outside that a program wrote to them, and its removal from what they quote.

use super::recipients;
use crate::config::Config;

const BEGIN: &str = "This message was written by an AI assistant on behalf of";
const END: &str = "For security questions write to";
/// The class of the sentence's part in HTML.
const CLASS: &str = "assistant-ai-disclosure";
/// Lines over which a mail program may have wrapped it.
const WRAPPED: usize = 8;

/// The sentence, on one line.
pub(super) fn sentence(config: &Config) -> String {
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let whom = config.org.name.as_deref().or(config.admin.name.as_deref()).map(one_line);
    let whom = whom.filter(|name| !name.is_empty()).unwrap_or_else(|| "its owner".into());
    let admin = recipients::admin(config).map(|admin| admin.email.to_string());
    let contact =
        config.org.security_email.as_deref().map(one_line).or(admin).or_else(|| config.identity.email.clone());
    match contact {
        Some(contact) => format!("{BEGIN} {whom}. {END} {contact}."),
        None => format!("{BEGIN} {whom}. {END} the sender."),
    }
}

/// It as the end of a text.
pub(super) fn text(sentence: &str) -> String {
    format!("\n\n-- \n{sentence}\n")
}

/// It as the end of an HTML body.
pub(super) fn html(sentence: &str) -> String {
    let escaped = super::escape(sentence);
    format!(
        "<div class=\"{CLASS}\" style=\"margin-top:2em;padding-top:.5em;border-top:1px solid #ccc;color:#666;\
         font-size:.85em\">{escaped}</div>"
    )
}

/// The text without the sentence, quoted or wrapped as it may be, and without the signature mark before it.
pub fn strip(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut kept: Vec<&str> = Vec::with_capacity(lines.len());
    let mut at = 0;
    while at < lines.len() {
        if let Some(count) = sentence_lines(&lines[at..]) {
            let mark = kept.iter().rposition(|line| !unquoted(line).trim().is_empty());
            if let Some(mark) = mark.filter(|mark| unquoted(kept[*mark]).trim() == "--") {
                kept.truncate(mark);
            }
            at += count;
        } else {
            kept.push(lines[at]);
            at += 1;
        }
    }
    if kept.len() == lines.len() {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut empty = 0;
    for line in kept {
        empty = if line.trim().is_empty() { empty + 1 } else { 0 };
        if empty < 3 {
            out.push_str(line);
            out.push('\n');
        }
    }
    out.trim().to_owned()
}

/// How many lines from here on are the sentence and nothing else.
fn sentence_lines(lines: &[&str]) -> Option<usize> {
    let first = BEGIN.split(' ').next().unwrap_or_default();
    if !unquoted(lines.first()?).trim_start().starts_with(first) {
        return None;
    }
    let mut joined = String::new();
    for (index, line) in lines.iter().take(WRAPPED).enumerate() {
        let part = unquoted(line).trim();
        if part.is_empty() {
            return None;
        }
        if !joined.is_empty() {
            joined.push(' ');
        }
        joined.extend(part.split_whitespace().flat_map(|word| [word, " "]));
        joined.truncate(joined.trim_end().len());
        let begun = joined.len().min(BEGIN.len());
        if joined.as_bytes()[..begun] != BEGIN.as_bytes()[..begun] {
            return None;
        }
        if let Some((_, contact)) = joined.split_once(END)
            && contact.trim().len() > 1
            && contact.ends_with('.')
        {
            return Some(index + 1);
        }
    }
    None
}

/// A line without the marks of a quotation.
fn unquoted(line: &str) -> &str {
    line.trim_start_matches(['>', '|', ' ', '\t'])
}

/// HTML without the sentence's part: that of its class, or the smallest `div`, `p` or `span` that holds nothing else.
pub fn strip_html(html: &str) -> String {
    let mut out = html.to_owned();
    for _ in 0..50 {
        let Some((begin, end)) = part(&out) else { return out };
        out.replace_range(begin..end, "");
    }
    out
}

/// Where the first part with the sentence lies.
fn part(html: &str) -> Option<(usize, usize)> {
    // Lower case of ASCII alone keeps every position.
    let lower = html.to_ascii_lowercase();
    let mut from = 0;
    while let Some(begin) = lower[from..].find('<').map(|at| from + at) {
        from = begin + 1;
        let Some(name) = ["div", "p", "span"].into_iter().find(|name| {
            lower[from..].strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '\t', '\n', '\r', '>']))
        }) else {
            continue;
        };
        let open = begin + lower[begin..].find('>')? + 1;
        let Some((inner, end)) = closing(&lower, name, open) else { continue };
        let text = words(&html[open..inner]);
        let only_it =
            text.starts_with(BEGIN) && text.contains(END) && text.ends_with('.') && text.matches(BEGIN).count() == 1;
        if only_it && (lower[begin..open].contains(CLASS) || !lower[open..inner].contains(&format!("<{name}"))) {
            return Some((begin, end));
        }
    }
    None
}

/// Where the element that began before `at` ends: its closing tag, and what follows it.
fn closing(lower: &str, name: &str, mut at: usize) -> Option<(usize, usize)> {
    let (open, close) = (format!("<{name}"), format!("</{name}"));
    let mut depth = 1;
    loop {
        let next = at + lower[at..].find('<')?;
        let end = next + lower[next..].find('>')? + 1;
        if lower[next..].starts_with(&close) {
            depth -= 1;
            if depth == 0 {
                return Some((next, end));
            }
        } else if lower[next..].starts_with(&open) {
            depth += 1;
        }
        at = end;
    }
}

/// The text of HTML, its words with one space between.
fn words(html: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for c in html.chars() {
        match c {
            '<' => inside = true,
            '>' => {
                inside = false;
                text.push(' ');
            }
            _ if !inside => text.push(c),
            _ => {}
        }
    }
    let text = text.replace("&nbsp;", " ").replace("&amp;", "&").replace(" .", ".");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let mut config = Config::default();
        config.org.name = Some("Reed & Sons".into());
        config.org.security_email = Some("security@corp.example".into());
        config
    }

    #[test]
    fn it_names_who_and_whom_to_ask() {
        let said = sentence(&config());
        assert_eq!(
            said,
            "This message was written by an AI assistant on behalf of Reed & Sons. For security questions write to \
             security@corp.example."
        );
        let mut config = Config::default();
        config.admin.email = Some("me@home.example".into());
        assert!(
            sentence(&config).ends_with("on behalf of its owner. For security questions write to me@home.example.")
        );
    }

    #[test]
    fn exactly_it_is_taken_out_of_a_text() {
        let said = sentence(&config());
        let body = "Dear all,\n\nthe report is done.";
        let cases = [
            format!("{body}{}", text(&said)),
            format!(
                "Thanks!\n\nOn Monday, assistant wrote:\n> Dear all,\n> \n> the report is done.\n>\n> -- \n> {said}\n"
            ),
            format!(">> -- \n>> {}\n>> {}\n> other", &said[..60].trim_end(), said[60..].trim_start()),
            format!("| --\n| {said}\nlast"),
        ];
        let expected = [
            body,
            "Thanks!\n\nOn Monday, assistant wrote:\n> Dear all,\n> \n> the report is done.\n>",
            "> other",
            "last",
        ];
        for (case, expected) in cases.iter().zip(expected) {
            assert_eq!(strip(case), expected, "{case}");
        }
        for kept in [
            "This message was written by an AI assistant on behalf of nobody",
            "-- \nMe",
            "I read: This message was written by an AI assistant on behalf of X. For security questions write to y.",
            "",
        ] {
            assert_eq!(strip(kept), kept);
        }
    }

    #[test]
    fn exactly_it_is_taken_out_of_html() {
        let said = sentence(&config());
        let footer = html(&said);
        assert!(footer.contains("Reed &amp; Sons"));
        let cases = [
            (format!("<body><p>done</p>{footer}</body>"), "<body><p>done</p></body>"),
            (format!("<blockquote>{footer}{footer}<p>x</p></blockquote>"), "<blockquote><p>x</p></blockquote>"),
            (format!("<div><p>x</p><p>{}</p></div>", super::super::escape(&said)), "<div><p>x</p></div>"),
            (format!("<div>before {said}</div>"), ""),
        ];
        for (case, expected) in cases {
            let expected = if expected.is_empty() { case.clone() } else { expected.to_owned() };
            assert_eq!(strip_html(&case), expected);
        }
        let other = "<div class=\"assistant-ai-disclosure\">hidden order</div>";
        assert_eq!(strip_html(other), other, "nothing else is taken for it");
    }

    #[test]
    fn any_text_is_survived() {
        for odd in ["<", "<div", "<div>", "<div><div>", "</div>", "<p\u{e9}>", "> ".repeat(1000).as_str()] {
            strip_html(odd);
            strip(odd);
        }
    }
}
