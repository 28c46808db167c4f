//! What a command says: the first and the last of it for an answer, all of it up to a bound beside that.

use std::collections::VecDeque;

/// One stream of a command.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    /// The beginning, up to `max_kept`.
    kept: Vec<u8>,
    /// The last bytes after it, up to half of `max_shown`.
    end: VecDeque<u8>,
    total: u64,
    max_kept: usize,
    max_shown: usize,
}

impl Record {
    /// An empty one with its bounds in bytes.
    pub(super) fn new(max_kept: usize, max_shown: usize) -> Self {
        Self { max_kept: max_kept.max(max_shown), max_shown, ..Self::default() }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let room = self.max_kept - self.kept.len();
        let (first, rest) = bytes.split_at(room.min(bytes.len()));
        self.kept.extend_from_slice(first);
        let rest = &rest[rest.len().saturating_sub(self.max_shown / 2)..];
        self.end.extend(rest);
        let over = self.end.len().saturating_sub(self.max_shown / 2);
        self.end.drain(..over);
    }

    /// All that was kept.
    pub(super) fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// Whether [`Record::kept`] is more than [`Record::shown`] shows.
    pub(super) fn is_cut(&self) -> bool {
        self.total > self.max_shown as u64
    }

    /// The text for an answer, and how many bytes it leaves out.
    pub(super) fn shown(&self) -> (String, u64) {
        if !self.is_cut() {
            return (String::from_utf8_lossy(&self.kept).into_owned(), 0);
        }
        let half = self.max_shown / 2;
        let beginning = whole_characters(&self.kept[..half], false);
        let mut end: Vec<u8> = self.kept[half..].to_vec();
        end.extend(&self.end);
        let end = whole_characters(&end[end.len().saturating_sub(half)..], true);
        let omitted = self.total - (beginning.len() + end.len()) as u64;
        let (beginning, end) = (String::from_utf8_lossy(beginning), String::from_utf8_lossy(end));
        (format!("{beginning}\n[... {omitted} bytes left out ...]\n{end}"), omitted)
    }
}

/// Without the part of a UTF-8 character that a cut left at the end, or at the beginning.
fn whole_characters(bytes: &[u8], at_beginning: bool) -> &[u8] {
    let is_middle = |byte: &u8| byte & 0xc0 == 0x80;
    if at_beginning {
        return &bytes[bytes.iter().take(3).take_while(|byte| is_middle(byte)).count()..];
    }
    for back in 1..=bytes.len().min(4) {
        let first = bytes[bytes.len() - back];
        if !is_middle(&first) {
            let length = if first >= 0xf0 {
                4
            } else if first >= 0xe0 {
                3
            } else if first >= 0xc0 {
                2
            } else {
                1
            };
            return if length > back { &bytes[..bytes.len() - back] } else { bytes };
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, step: usize, kept: usize, most: usize) -> (String, u64) {
        let mut record = Record::new(kept, most);
        text.as_bytes().chunks(step).for_each(|bytes| record.push(bytes));
        assert!(record.kept().len() <= kept.max(most));
        record.shown()
    }

    #[test]
    fn what_fits_is_shown_as_it_is() {
        assert_eq!(shown("hello", 2, 10, 5), ("hello".to_owned(), 0));
        assert_eq!(shown("", 1, 0, 0), (String::new(), 0));
    }

    #[test]
    fn the_first_and_the_last_of_what_does_not_fit() {
        for (step, kept) in [(1, 6), (3, 6), (7, 1000), (1000, 6), (1000, 1000), (5, 20)] {
            let (text, omitted) = shown("abcdefghijklmnopqrstuvwxyz", step, kept, 6);
            assert_eq!(text, "abc\n[... 20 bytes left out ...]\nxyz", "{step} {kept}");
            assert_eq!(omitted, 20);
        }
    }

    #[test]
    fn a_character_is_not_cut_in_two() {
        for most in 2..20 {
            for step in 1..5 {
                let (text, _) = shown(&"aä€😀".repeat(10), step, most, most);
                assert!(!text.contains('\u{fffd}'), "{most} {step}: {text}");
            }
        }
    }
}
