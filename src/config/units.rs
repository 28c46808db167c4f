//! Durations and sizes as texts: `90s`, `5m`, `1h 30m`, `7d`; `500MiB` (2^20), `500MB` (10^6).

use std::time::Duration;

const TIME: &[(&str, u64)] =
    &[("ms", 1), ("s", 1000), ("m", 60_000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("w", 604_800_000)];
const SIZE: &[(&str, u64)] = &[
    ("B", 1),
    ("kB", 1000),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    // As container engines and tmpfs write them.
    ("k", 1 << 10),
    ("m", 1 << 20),
    ("g", 1 << 30),
];

/// Reads a duration: one or more counts, each with its unit.
///
/// # Errors
/// What is wrong, and what units there are.
pub fn duration(text: &str) -> Result<Duration, String> {
    sum(text, TIME).map(Duration::from_millis).ok_or_else(|| {
        format!("expected a duration such as \"90s\", \"5m\" or \"1h 30m\" (units ms, s, m, h, d, w), found {text:?}")
    })
}

/// Reads a size: a count with its unit.
///
/// # Errors
/// What is wrong, and what units there are.
pub fn bytes(text: &str) -> Result<u64, String> {
    sum(text, SIZE).ok_or_else(|| {
        format!("expected a size such as \"500MiB\" or \"500MB\" (units B, kB, MB, GB, KiB, MiB, GiB), found {text:?}")
    })
}

fn sum(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let mut rest = text.trim();
    let mut total: u64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: u64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let (_, factor) = units.iter().find(|(name, _)| *name == &rest[..end])?;
        total = total.checked_add(count.checked_mul(*factor)?)?;
        rest = rest[end..].trim_start();
    }
    Some(total)
}

/// Writes a duration in its largest whole unit.
pub fn render_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let whole = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];
    match whole.into_iter().find(|(_, factor)| millis >= *factor && millis % factor == 0) {
        Some((unit, factor)) => format!("{}{unit}", millis / factor),
        None => format!("{millis}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes() {
        assert_eq!(duration("5m"), Ok(Duration::from_mins(5)));
        assert_eq!(duration("1h 30m"), Ok(Duration::from_mins(90)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert!(duration("5").is_err() && duration("").is_err() && duration("5 parsecs").is_err());
        assert!(duration("99999999999999999999d").is_err());
        assert_eq!(bytes("500MiB"), Ok(524_288_000));
        assert_eq!((bytes("512m"), bytes("2g"), bytes("4k")), (Ok(512 << 20), Ok(2 << 30), Ok(4096)));
        assert_eq!(bytes("500MB"), Ok(500_000_000));
        assert!(bytes("5mb").is_err() && bytes("-5MB").is_err());
        assert_eq!(render_duration(Duration::from_mins(5)), "5m");
    }
}
