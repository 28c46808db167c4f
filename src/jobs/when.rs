//! When a job is to run, in the words of whoever asks: the host computes the instant, and what a clock change makes
//! impossible or double is explained, not guessed.

use jiff::{
    Span, Timestamp, Zoned,
    civil::DateTime,
    fmt::temporal::{Pieces, PiecesOffset},
    tz::{AmbiguousOffset, TimeZone},
};

use crate::error::{Error, Result};

/// How far a time may lie behind: clocks differ a little, and a person types slowly.
const GRACE: jiff::SignedDuration = jiff::SignedDuration::from_mins(5);
/// How far it may lie ahead, in days.
const FURTHEST_DAYS: i64 = 3660;

/// The zone of `app.timezone`, UTC when it is not known.
pub(super) fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap_or(TimeZone::UTC)
}

/// The instant that `run_at` means: RFC 3339, a wall time in `zone`, or one with a zone of its own.
pub(super) fn at(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp> {
    let at = instant(text.trim(), zone).map_err(|err| err.field("run_at"))?;
    if at < now - GRACE {
        let message = format!("{} is over: now it is {}", shown(at, zone), shown(now, zone));
        return Err(Error::validation(message).field("run_at").hint("leave it out to run the job at once"));
    }
    bounded(at, now, "run_at")
}

/// The instant that lies `run_in` ahead, such as `2h` or `1d 30m`; days are those of the calendar in `zone`.
pub(super) fn after(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp> {
    let fault =
        |why: String| Error::validation(why).field("run_in").hint("give a duration such as 45m, 2h or \"1d 30m\"");
    let span: Span = text.trim().parse().map_err(|_| fault(format!("{text:?} is not a duration")))?;
    if span.is_negative() {
        return Err(fault(format!("{text:?} lies in the past")));
    }
    let at = now.to_zoned(zone.clone()).checked_add(span).map_err(|_| fault(format!("{text:?} is too long")))?;
    bounded(at.timestamp(), now, "run_in")
}

fn bounded(at: Timestamp, now: Timestamp, field: &'static str) -> Result<Timestamp> {
    if at > now + jiff::SignedDuration::from_hours(24 * FURTHEST_DAYS) {
        return Err(Error::validation("more than ten years ahead").field(field));
    }
    Timestamp::from_microsecond(at.as_microsecond()).map_err(Error::internal)
}

fn instant(text: &str, zone: &TimeZone) -> Result<Timestamp> {
    let fault = |why: String| {
        Error::validation(why).hint(
            "give a time such as 2026-11-23T09:00 (in the configured zone), 2026-11-23T09:00[Europe/Berlin] or \
             2026-11-23T08:00:00Z",
        )
    };
    let unreadable = || fault(format!("{text:?} is not a time"));
    let pieces = Pieces::parse(text).map_err(|_| unreadable())?;
    let time = pieces.time().ok_or_else(|| fault(format!("{text:?} has no time of day")))?;
    let wall = DateTime::from_parts(pieces.date(), time);
    let named = pieces.to_time_zone().map_err(|_| fault(format!("{text:?} names a time zone that is not known")))?;
    let offset = match pieces.offset() {
        Some(PiecesOffset::Zulu) => Some(jiff::tz::Offset::UTC),
        Some(PiecesOffset::Numeric(numeric)) => Some(numeric.offset()),
        _ => None,
    };
    if let Some(offset) = offset {
        let at = offset.to_timestamp(wall).map_err(|_| unreadable())?;
        return match named {
            Some(zone) if zone.to_offset(at) != offset => {
                let message =
                    format!("{text:?} contradicts itself: {} has offset {} then", name(&zone), zone.to_offset(at));
                Err(fault(message))
            }
            _ => Ok(at),
        };
    }
    resolve(wall, &named.unwrap_or_else(|| zone.clone()))
}

/// A wall time as an instant, unless the clocks were changed over it.
fn resolve(wall: DateTime, zone: &TimeZone) -> Result<Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(wall);
    let message = match ambiguous.offset() {
        AmbiguousOffset::Unambiguous { .. } => return ambiguous.unambiguous().map_err(Error::internal),
        AmbiguousOffset::Gap { .. } => {
            let next = zone.to_ambiguous_timestamp(wall).later().map_err(Error::internal)?;
            format!(
                "{wall} does not exist in {}: the clocks are set forward over it; the moment after is {}",
                name(zone),
                next.to_zoned(zone.clone()).strftime("%FT%T%:z")
            )
        }
        AmbiguousOffset::Fold { before, after } => {
            format!("{wall} comes twice in {}: once as {wall}{before} and once as {wall}{after}", name(zone))
        }
    };
    Err(Error::validation(message).hint("give the time with its offset, such as 2026-10-25T02:30+01:00"))
}

fn name(zone: &TimeZone) -> String {
    zone.iana_name().unwrap_or("the configured zone").to_owned()
}

fn shown(at: Timestamp, zone: &TimeZone) -> String {
    Zoned::new(at, zone.clone()).strftime("%F %H:%M %Z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> std::result::Result<String, String> {
        let now = "2026-03-01T12:00:00Z".parse().unwrap();
        at(text, now, &zone("Europe/Berlin")).map(|at| at.to_string()).map_err(|err| err.message().to_owned())
    }

    #[test]
    fn times_mean_what_they_say() {
        assert_eq!(check("2026-11-23T09:00").unwrap(), "2026-11-23T08:00:00Z");
        assert_eq!(check("2026-11-23 09:00").unwrap(), "2026-11-23T08:00:00Z");
        assert_eq!(check("2026-07-23T09:00").unwrap(), "2026-07-23T07:00:00Z");
        assert_eq!(check("2026-11-23T09:00[America/New_York]").unwrap(), "2026-11-23T14:00:00Z");
        assert_eq!(check("2026-11-23T09:00:30Z").unwrap(), "2026-11-23T09:00:30Z");
        assert_eq!(check("2026-11-23T09:00:00+02:00").unwrap(), "2026-11-23T07:00:00Z");
        assert_eq!(check("2026-11-23T09:00:00+01:00[Europe/Berlin]").unwrap(), "2026-11-23T08:00:00Z");
    }

    #[test]
    fn what_a_clock_change_makes_impossible_is_explained() {
        let gap = check("2026-03-29T02:30").unwrap_err();
        assert!(gap.contains("does not exist in Europe/Berlin") && gap.contains("2026-03-29T03:30:00+02:00"), "{gap}");
        let fold = check("2026-10-25T02:30").unwrap_err();
        assert!(fold.contains("comes twice") && fold.contains("+02") && fold.contains("+01"), "{fold}");
        assert_eq!(check("2026-10-25T02:30+01:00").unwrap(), "2026-10-25T01:30:00Z");
    }

    #[test]
    fn nonsense_is_refused_with_a_reason() {
        for (text, part) in [
            ("tomorrow", "not a time"),
            ("", "not a time"),
            ("2026-11-23", "no time of day"),
            ("2026-11-23T09:00[Europe/Nowhere]", "not known"),
            ("2026-11-23T09:00+05:00[Europe/Berlin]", "contradicts itself"),
            ("2025-11-23T09:00", "is over"),
            ("2126-11-23T09:00", "ten years"),
        ] {
            let err = check(text).unwrap_err();
            assert!(err.contains(part), "{text}: {err}");
        }
    }

    #[test]
    fn durations_count_from_now() {
        let now = "2026-03-28T12:00:00Z".parse().unwrap();
        let zone = zone("Europe/Berlin");
        let check = |text| after(text, now, &zone).map(|at| at.to_string()).map_err(|err| err.message().to_owned());
        assert_eq!(check("2h").unwrap(), "2026-03-28T14:00:00Z");
        assert_eq!(check("1d 30m").unwrap(), "2026-03-29T11:30:00Z", "a day of 23 hours");
        assert_eq!(check("90s").unwrap(), "2026-03-28T12:01:30Z");
        for (text, part) in [("soon", "not a duration"), ("-2h", "past"), ("20y", "ten years"), ("", "not a duration")]
        {
            let err = check(text).unwrap_err();
            assert!(err.contains(part), "{text}: {err}");
        }
    }
}
