//! The list of 100,000 jobs: every filter, scrolled from the newest page to the hundredth.

use std::time::Instant;

use serde_json::Value;

use super::{
    load::Connection,
    measure, seed,
    table::{Goal, Table},
};

const JOBS: u64 = 100_000;
const PAGES: usize = 100;
/// Filters of the list; what they leave differs from all jobs to none.
const FILTERS: &[(&str, &str)] = &[
    ("no filter", ""),
    ("completed", "&status=completed"),
    ("failed", "&status=failed"),
    ("none", "&status=waiting"),
    ("words", "&q=task"),
    ("words of none", "&q=zebra+crossing"),
    ("origin", "&origin=owner"),
    ("since and until", "&since=1970-01-01T00:00:00Z&until=2100-01-01T00:00:00Z"),
    ("all of them", "&q=task&origin=owner&status=completed&since=1970-01-01T00:00:00Z"),
];

pub(crate) async fn measure(table: &mut Table) {
    let place = super::place("http://127.0.0.1:9/v1");
    place.start(&[]).stop();
    seed::jobs(&place.database(), JOBS);
    seed::vary(&place.database());
    let process = place.start(&[]);
    let mut connection = Connection::open(&place.socket()).await;
    for (name, filter) in FILTERS {
        let (mut times, mut cursor, mut seen) = (Vec::new(), String::new(), 0);
        for _ in 0..PAGES {
            let path = format!("/api/jobs?limit=50{filter}{cursor}");
            let begin = Instant::now();
            let (status, answer) = connection.send("GET", &path, String::new()).await;
            times.push(measure::millis(begin.elapsed()));
            assert!(status.is_success(), "{path}: {status}");
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            seen += answer["jobs"].as_array().unwrap().len();
            // After the last page it begins again with the first.
            cursor = answer["next_cursor"].as_str().map_or_else(String::new, |next| format!("&cursor={next}"));
        }
        assert_eq!(seen > 0, !name.ends_with("none"), "{name}");
        let worst = times.iter().copied().fold(0.0, f64::max);
        let what = |kind: &str| format!("page of 50 of {JOBS} jobs, {name}, {kind}");
        table.row(&what("median"), measure::median(&mut times), "ms", None, Goal::None);
        table.row(&what("p99"), measure::percentile(&mut times, 0.99), "ms", None, Goal::AtMost(20.0));
        table.row(&what("worst"), worst, "ms", None, Goal::AtMost(20.0));
    }
    drop(process);
}
