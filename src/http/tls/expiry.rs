//! When a certificate ends: the one field of it that is read here (RFC 5280, section 4.1.2.5). The rest is the client's
//! to judge.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// The `notAfter` of a certificate in DER; `None` when it is none.
pub(super) fn not_after(certificate: &[u8]) -> Option<Timestamp> {
    let (certificate, _) = take(certificate, SEQUENCE)?;
    let (mut fields, _) = take(certificate, SEQUENCE)?;
    if let Some((_, rest)) = take(fields, VERSION) {
        fields = rest;
    }
    // Serial number, algorithm, issuer.
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        (_, fields) = take(fields, tag)?;
    }
    let (validity, _) = take(fields, SEQUENCE)?;
    let (_, after) = time(validity)?;
    time(after).map(|(until, _)| until)
}

/// The content of the value that `bytes` begins with, if it has this tag, and what follows.
fn take(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let [found, first, rest @ ..] = bytes else { return None };
    if *found != tag {
        return None;
    }
    let (length, rest) = match *first {
        short @ ..0x80 => (usize::from(short), rest),
        long => {
            let (digits, rest) =
                rest.split_at_checked(usize::from(long & 0x7f)).filter(|(digits, _)| digits.len() <= 4)?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
    };
    rest.split_at_checked(length)
}

/// A time in one of the two forms, always in UTC and with seconds.
fn time(bytes: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (text, rest) = take(bytes, UTC_TIME).or_else(|| take(bytes, GENERALIZED_TIME))?;
    let digits = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (year, rest_of_it) = match digits.len() {
        12 => {
            let year: i16 = digits[..2].parse().ok()?;
            (year + if year < 50 { 2000 } else { 1900 }, &digits[2..])
        }
        14 => (digits[..4].parse().ok()?, &digits[4..]),
        _ => return None,
    };
    let part = |index: usize| rest_of_it[2 * index..2 * index + 2].parse::<i8>().ok();
    let at = DateTime::new(year, part(0)?, part(1)?, part(2)?, part(3)?, part(4)?, 0).ok()?;
    Some((at.to_zoned(TimeZone::UTC).ok()?.timestamp(), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).unwrap();
        let head = if length < 0x80 { vec![tag, length] } else { vec![tag, 0x81, length] };
        [&head, content].concat()
    }

    fn certificate(version: &[u8], validity: &[u8]) -> Vec<u8> {
        let fields = [
            version,
            &value(INTEGER, &[7]),
            &value(SEQUENCE, b"algorithm"),
            &value(SEQUENCE, &[0; 150]),
            &value(SEQUENCE, validity),
        ];
        value(SEQUENCE, &value(SEQUENCE, &fields.concat()))
    }

    #[test]
    fn the_end_is_read_in_both_forms() {
        let from = value(UTC_TIME, b"260101000000Z");
        let version = value(VERSION, &[2, 1, 2]);
        for (version, tag, text, expected) in [
            (&version[..], UTC_TIME, "261224180059Z", Some("2026-12-24T18:00:59Z")),
            (b"", UTC_TIME, "490101000000Z", Some("2049-01-01T00:00:00Z")),
            (&version, UTC_TIME, "500101000000Z", Some("1950-01-01T00:00:00Z")),
            (&version, GENERALIZED_TIME, "20510101000000Z", Some("2051-01-01T00:00:00Z")),
            (&version, GENERALIZED_TIME, "99991231235959Z", None),
            (&version, UTC_TIME, "261324180059Z", None),
            (&version, UTC_TIME, "26122418005Z", None),
            (&version, UTC_TIME, "2612241800é9Z", None),
            (&version, INTEGER, "261224180059Z", None),
        ] {
            let found = not_after(&certificate(version, &[from.clone(), value(tag, text.as_bytes())].concat()));
            assert_eq!(found.map(|at| at.to_string()).as_deref(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_no_certificate_does_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0_usize..200) {
            not_after(&bytes);
            let whole = certificate(b"", &value(UTC_TIME, b"260101000000Z"));
            not_after(&whole[..cut.min(whole.len())]);
        }
    }
}
