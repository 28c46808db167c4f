//! Text from elsewhere made fit for a terminal, and figures made fit for people.

use jiff::{Timestamp, tz::TimeZone};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Removes everything by which text could drive a terminal: control characters, whole escape sequences and marks that
/// turn the direction of writing. Lines and tabs stay.
pub fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(char) = rest.next() {
        match char {
            '\u{1b}' | '\u{9b}' | '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => skip_sequence(char, &mut rest),
            '\n' | '\t' => clean.push(char),
            _ if drives(char) => {}
            _ => clean.push(char),
        }
    }
    clean
}

/// Whether a character acts on the terminal instead of being shown.
pub fn drives(char: char) -> bool {
    char.is_control() || matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

/// Skips the rest of an escape sequence (ECMA-48): a control sequence up to its final byte, a string up to its end.
fn skip_sequence(first: char, rest: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    let kind = if first == '\u{1b}' { rest.next_if(|next| !next.is_control()) } else { Some(first) };
    match kind {
        Some('[' | '\u{9b}') => {
            while rest.next_if(|next| matches!(next, ' '..='?')).is_some() {}
            rest.next_if(|next| matches!(next, '@'..='~'));
        }
        // A string without an end would hide all that follows: it ends with its line at the latest.
        Some(']' | 'P' | 'X' | '^' | '_' | '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}') => {
            while let Some(next) = rest.next_if(|next| *next != '\n') {
                if next == '\u{7}' || next == '\u{9c}' {
                    break;
                }
                if next == '\u{1b}' {
                    rest.next_if_eq(&'\\');
                    break;
                }
            }
        }
        // `ESC ( B` and the like have one more character.
        Some(' '..='/') => _ = rest.next_if(|next| !next.is_control()),
        _ => {}
    }
}

/// Clean text on one line, with every run of white space as one space.
pub fn one_line(text: &str) -> String {
    clean(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Columns that a text takes on a terminal.
pub fn width(text: &str) -> usize {
    text.width()
}

/// At most `columns` columns, with `…` where something was left out.
pub fn shorten(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut short = String::new();
    let mut used = 0;
    for char in text.chars() {
        used += char.width().unwrap_or(0);
        if used + 1 > columns {
            break;
        }
        short.push(char);
    }
    short + "…"
}

/// Spaces up to a column.
pub fn pad(text: &str, columns: usize) -> String {
    " ".repeat(columns.saturating_sub(width(text)))
}

/// Bytes in binary units: `1.4 MiB`.
#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = count as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 1023.95 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if unit == "B" { format!("{count} B") } else { format!("{value:.1} {unit}") }
}

/// A count with its thousands set apart: `12,345`.
pub fn grouped(count: i64) -> String {
    let digits = count.unsigned_abs().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if count < 0 { format!("-{text}") } else { text }
}

/// US dollars with as many decimals as a small sum needs.
pub fn dollars(amount: f64) -> String {
    if amount == 0.0 || amount >= 0.0995 { format!("${amount:.2}") } else { format!("${amount:.4}") }
}

/// Seconds as their two largest units: `2 d 3 h`.
pub fn seconds(total: u64) -> String {
    let (days, hours, minutes, seconds) = (total / 86_400, total / 3600 % 24, total / 60 % 60, total % 60);
    let parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")];
    let from = parts.iter().position(|(count, _)| *count > 0).unwrap_or(3);
    let shown: Vec<String> = parts[from..]
        .iter()
        .take(2)
        .filter(|(count, unit)| *count > 0 || *unit == "s" && from == 3)
        .map(|(count, unit)| format!("{count} {unit}"))
        .collect();
    shown.join(" ")
}

/// Milliseconds as a person reads them.
pub fn millis(count: i64) -> String {
    match u64::try_from(count).unwrap_or(0) {
        ms @ ..1000 => format!("{ms} ms"),
        ms @ 1000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        ms => seconds(ms / 1000),
    }
}

/// What the clock of this machine says.
#[expect(clippy::disallowed_methods, reason = "the command line has no other clock; used for ages only")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// How long ago, or in how long.
pub fn age(at: Timestamp, now: Timestamp) -> String {
    let distance = now.duration_since(at).as_secs();
    let length = |seconds: u64| match seconds {
        ..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    };
    if distance < 0 {
        format!("in {}", length(distance.unsigned_abs()))
    } else {
        length(distance.unsigned_abs()) + " ago"
    }
}

/// UTC to the second, for programs.
pub fn utc(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Wall time of this machine, for people.
pub fn local(at: Timestamp) -> String {
    at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// Time of day of this machine.
pub fn clock(at: Timestamp) -> String {
    at.to_zoned(TimeZone::system()).strftime("%H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_drive_the_terminal() {
        for (dirty, expected) in [
            ("plain ä 字\n\ttext", "plain ä 字\n\ttext"),
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}[1;2 qx", "x"),
            ("a\u{1b}]0;title\u{7}b", "ab"),
            ("a\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\b", "alinkb"),
            ("a\u{1b}]0;no end\nb", "a\nb"),
            ("a\u{1b}Pq\u{9c}b", "ab"),
            ("\u{9b}2Jx", "x"),
            ("\u{9d}0;t\u{9c}x", "x"),
            ("a\rb\u{8}c\u{7}\u{7f}d\u{85}", "abcd"),
            ("\u{1b}(Bx\u{1b}cy\u{1b}", "xy"),
            ("\u{1b}\u{1b}[2Jz", "z"),
            ("file\u{202e}fdp.exe\u{2066}", "filefdp.exe"),
        ] {
            assert_eq!(clean(dirty), expected, "{dirty:?}");
            assert!(!clean(dirty).chars().any(|char| drives(char) && char != '\n' && char != '\t'));
        }
        assert_eq!(one_line(" a\n\n b\tc "), "a b c");
    }

    #[test]
    fn shortening_counts_columns() {
        assert_eq!(shorten("abcdef", 6), "abcdef");
        assert_eq!(shorten("abcdefg", 6), "abcde…");
        assert_eq!(shorten("字字字字", 6), "字字…");
    }

    #[test]
    fn figures_are_readable() {
        assert_eq!([bytes(0), bytes(1023), bytes(1536), bytes(1 << 20)], ["0 B", "1023 B", "1.5 KiB", "1.0 MiB"]);
        assert_eq!([grouped(7), grouped(1000), grouped(-1_234_567)], ["7", "1,000", "-1,234,567"]);
        assert_eq!(
            [dollars(0.0), dollars(0.0123), dollars(0.5), dollars(12.345)],
            ["$0.00", "$0.0123", "$0.50", "$12.35"]
        );
        assert_eq!([seconds(0), seconds(59), seconds(3600), seconds(90_061)], ["0 s", "59 s", "1 h", "1 d 1 h"]);
        assert_eq!([millis(9), millis(1250), millis(61_000)], ["9 ms", "1.2 s", "1 min 1 s"]);
        let at: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let now: Timestamp = "2026-11-22T12:03:10Z".parse().unwrap();
        assert_eq!([age(at, now), age(now, at), utc(at)], ["3 min ago", "in 3 min", "2026-11-22T12:00:00Z"]);
    }
}
