//! What somebody wrote anew in a reply, without what they quote.

use crate::mail::codes;

/// The lines that are the sender's own: nothing quoted, no signature.
pub(super) fn fresh(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut kept: Vec<&str> = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let bare = line.trim();
        if bare == "--" || is_original(bare) || is_head(&lines[at..]) {
            break;
        }
        if bare.starts_with('>') || introduces(&lines[at..]) {
            continue;
        }
        kept.push(line.trim_end());
    }
    kept.join("\n").trim().to_owned()
}

/// Whether a line announces what is quoted below it, such as `On Monday Ann wrote:`.
fn introduces(lines: &[&str]) -> bool {
    let Some(line) = lines.first().map(|line| line.trim()).filter(|line| !line.is_empty() && line.len() < 400) else {
        return false;
    };
    let mut after = lines.iter().skip(1).map(|line| line.trim()).filter(|line| !line.is_empty());
    let first = after.next();
    let quoted = |line: Option<&str>| line.is_some_and(|line| line.starts_with('>'));
    // A mail program may have wrapped it once.
    line.ends_with(':') && quoted(first)
        || first.is_some_and(|next| next.ends_with(':') && next.len() < 200)
            && quoted(after.next())
            && line.contains('@')
}

fn is_original(line: &str) -> bool {
    let words = line.trim_matches(['-', ' ']);
    let framed = line.starts_with("---") && line.ends_with("---") && !words.is_empty();
    framed || line.len() >= 20 && line.chars().all(|c| c == '_')
}

/// `From:`, `Sent:`, `To:` one below the other, as some programs quote.
fn is_head(lines: &[&str]) -> bool {
    let field = |line: &&str| {
        let line = line.trim().trim_matches('*');
        line.split_once(':').is_some_and(|(name, _)| !name.is_empty() && name.len() < 20 && !name.contains(' '))
    };
    let first = lines.first().map(|line| line.trim().trim_matches('*').to_lowercase()).unwrap_or_default();
    ["from:", "von:", "de:", "da:", "van:"].iter().any(|name| first.starts_with(name))
        && lines.iter().take(4).filter(|line| field(line)).count() >= 3
}

/// What a reply says about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Yes,
    No,
    /// Neither.
    Unclear,
}

/// By the first word; what follows it is an instruction.
pub(super) fn verdict(fresh: &str) -> (Verdict, String) {
    let text = fresh.trim_start();
    let end = text.find(|c: char| !c.is_alphabetic()).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let verdict = match word.to_lowercase().as_str() {
        "approve" | "approved" | "yes" | "ok" | "okay" | "allow" | "accept" | "ja" | "oui" | "si" => Verdict::Yes,
        "deny" | "denied" | "no" | "refuse" | "reject" | "nein" | "non" => Verdict::No,
        _ => return (Verdict::Unclear, text.to_owned()),
    };
    (verdict, codes::without(rest).trim().trim_start_matches(['.', ',', ':', ';', '!', '-']).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_is_not_ones_own() {
        for (text, own) in [
            ("Yes.\n\nOn Monday Ann <ann@example.org> wrote:\n> Shall I?\n> approve", "Yes."),
            ("Before\n> quoted\nAfter", "Before\n\nAfter".replace("\n\n", "\n").as_str()),
            ("No.\n-----Original Message-----\nFrom: x\napprove", "No."),
            ("No.\n\nFrom: Ann\nSent: Monday\nTo: me\nSubject: x\n\napprove", "No."),
            ("Do it\n-- \nAnn, Director", "Do it"),
            ("> only quoted\n", ""),
            ("Here:\n- a\n- b", "Here:\n- a\n- b"),
            ("On Monday, Ann Longname <ann@example.org>\nwrote:\n> x\n", ""),
        ] {
            assert_eq!(fresh(text).replace("wrote:", ""), own, "{text}");
        }
    }

    #[test]
    fn the_first_word_decides() {
        assert_eq!(verdict("approve 7KQM-3XPD-W9HT, but be quick").0, Verdict::Yes);
        assert_eq!(verdict("approve 7KQM-3XPD-W9HT, but be quick").1, "but be quick");
        assert_eq!(verdict("No, not that").0, Verdict::No);
        assert_eq!(verdict("I do not approve").0, Verdict::Unclear);
    }
}
