//! `/metrics`: read strictly, as the format says, and by nobody who may not.

use std::collections::{BTreeMap, BTreeSet};

use assistant_api::{ErrorKind, jobs::NewJob};
use assistantd::jobs;
use serde_json::json;

use super::served::{Reply, Served};

/// Every series with its value, such as `assistant_jobs{status="queued"}`.
type Series = BTreeMap<String, f64>;

/// Reads the text format, version 0.0.4, and accepts nothing that it does not allow.
fn parse(text: &str) -> Series {
    assert!(text.ends_with('\n'), "the last line ends");
    let (mut series, mut families) = (Series::new(), BTreeSet::new());
    let (mut helped, mut current) = (None, None);
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').unwrap();
            assert!(words.len() > 3 && families.insert(name.to_owned()), "{name} once, with a help text");
            helped = Some(name);
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(helped.take(), Some(name), "HELP, then TYPE");
            assert!(matches!(kind, "counter" | "gauge" | "histogram"), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            current = Some((name, kind));
        } else {
            let (left, value) = line.rsplit_once(' ').unwrap();
            let name = left.split('{').next().unwrap();
            let (family, kind) = current.unwrap();
            let rest = name.strip_prefix(family).unwrap_or_else(|| panic!("{line} within {family}"));
            let fits =
                if kind == "histogram" { ["_bucket", "_sum", "_count"].contains(&rest) } else { rest.is_empty() };
            assert!(fits && helped.is_none(), "{line} within {family}");
            check_name(name);
            check_labels(left.strip_prefix(name).unwrap());
            let value: f64 = value.parse().unwrap_or_else(|err| panic!("{line}: {err}"));
            assert!(value.is_finite() && (kind != "counter" || value >= 0.0), "{line}");
            assert!(series.insert(left.to_owned(), value).is_none(), "{left} twice");
        }
    }
    series
}

fn check_name(name: &str) {
    let mut letters = name.bytes();
    let first = letters.next().unwrap();
    assert!(
        first.is_ascii_lowercase() && letters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_'),
        "{name}"
    );
}

/// Labels without commas in their values, which none of ours has.
fn check_labels(text: &str) {
    if text.is_empty() {
        return;
    }
    let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or_else(|| panic!("{text}"));
    let mut seen = BTreeSet::new();
    for pair in inner.split(',') {
        let (name, value) = pair.split_once('=').unwrap();
        check_name(name);
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap();
        assert!(!value.contains(['"', '\\', '\n']) && seen.insert(name), "{text}");
    }
}

async fn scrape(served: &Served) -> Series {
    read(&served.get("/metrics").await)
}

fn read(reply: &Reply) -> Series {
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    parse(&reply.body)
}

#[tokio::test]
async fn it_tells_what_happened_and_its_series_do_not_grow_with_callers() {
    let served = Served::on_the_web(|_| {});
    let first = scrape(&served).await;
    for subject in ["one", "two"] {
        let new = NewJob { subject: subject.into(), body: "do".into(), ..NewJob::default() };
        jobs::create(&served.cx, new, "test").await.unwrap();
    }
    let past = "UPDATE jobs SET run_at = run_at - 90000000 WHERE id = 1";
    served.cx.store.write(move |tx| Ok(tx.execute(past, [])?)).await.unwrap();
    assert_eq!(served.call("POST", "/api/jobs/2/cancel", "", "").await.status, 200);
    let settle = "INSERT INTO spend_days (day, settled_nanos, calls, tokens) VALUES ('2026-01-02', 1500000000, 3, 700);
        INSERT INTO effects (tool, target, args_hash, origin, rule, state, prepared_at)
            VALUES ('t', 'x', '', 'owner', '', 'prepared', 0), ('t', 'y', '', 'owner', '', 'prepared', 0);
        UPDATE effects SET state = 'confirmed' WHERE target = 'x';";
    served.cx.store.write(move |tx| Ok(tx.execute_batch(settle)?)).await.unwrap();
    for at in 0..20 {
        assert_eq!(served.visit("GET", &format!("/wanted/{at}"), "", "").await.status, 401);
        let header = format!("origin: http://evil{at}.example\r\n");
        assert_eq!(served.visit("GET", "/api/jobs", &header, "").await.status, 403);
        let header = format!("authorization: Bearer ast_{at}\r\n");
        assert_eq!(served.visit("GET", "/api/jobs", &header, "").await.status, 401);
    }
    let second = scrape(&served).await;
    assert_eq!(first.keys().collect::<Vec<_>>(), second.keys().collect::<Vec<_>>(), "bounded");
    for (name, value) in [
        ("assistant_jobs{status=\"queued\"}", 1.0),
        ("assistant_jobs{status=\"cancelled\"}", 1.0),
        ("assistant_jobs_ended_total{outcome=\"cancelled\"}", 1.0),
        ("assistant_jobs_ended_total{outcome=\"completed\"}", 0.0),
        ("assistant_effects{state=\"prepared\"}", 1.0),
        ("assistant_effects{state=\"confirmed\"}", 1.0),
        ("assistant_model_calls_total", 3.0),
        ("assistant_model_tokens_total", 700.0),
        ("assistant_model_cost_usd_total", 1.5),
        ("assistant_http_requests_total{door=\"web\",class=\"4xx\"}", 60.0),
        ("assistant_http_request_duration_seconds_count{door=\"web\"}", 60.0),
        ("assistant_http_request_duration_seconds_bucket{door=\"web\",le=\"+Inf\"}", 60.0),
        ("assistant_http_refused_total", 20.0),
        ("assistant_login_failures_total{reason=\"token\"}", 20.0),
        ("assistant_event_listeners", 0.0),
        ("assistant_ready", 1.0),
        ("assistant_degraded{part=\"model\"}", 1.0),
        ("assistant_degraded{part=\"stopped\"}", 0.0),
    ] {
        assert_eq!(second.get(name), Some(&value), "{name}");
    }
    let waited = second["assistant_queue_oldest_seconds"];
    assert!((90.0..120.0).contains(&waited), "{waited}");
    assert!(second["process_resident_memory_bytes"] > 1e6 && second["assistant_database_bytes"] > 1e4);
    let upto = |door: &str| -> Vec<f64> {
        ["0.001", "0.002", "0.005", "0.01", "0.02", "0.05", "0.1", "0.5", "2", "10", "+Inf"]
            .iter()
            .map(|le| second[&format!("assistant_http_request_duration_seconds_bucket{{door=\"{door}\",le=\"{le}\"}}")])
            .collect()
    };
    assert!(upto("web").is_sorted() && upto("socket").is_sorted(), "each bucket holds those below it");
}

#[tokio::test]
async fn listeners_of_events_are_counted_while_they_listen() {
    let served = Served::start();
    let mut stream = served.connect().await;
    let request = super::served::request("GET", "/api/events", "", "");
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
    let listeners = async || Some(scrape(&served).await["assistant_event_listeners"]);
    crate::support::until("one listens", 10, async || listeners().await.filter(|count| *count > 0.5)).await;
    drop(stream);
    crate::support::until("nobody listens", 20, async || listeners().await.filter(|count| *count < 0.5)).await;
}

#[tokio::test]
async fn who_reads_them_over_the_network_is_a_setting() {
    let forwarded = "x-forwarded-for: 192.168.1.7\r\n";
    for (rule, alone, behind_a_proxy, with_a_token) in
        [("login", 401, 401, 200), ("loopback", 200, 401, 200), ("off", 401, 401, 404)]
    {
        let served = Served::on_the_web(|config| config.api.metrics = rule.into());
        let body = json!({ "name": "prometheus", "role": "viewer", "allow": ["GET /metrics"] }).to_string();
        let secret = served.call("POST", "/api/tokens", "", &body).await.json()["secret"].as_str().unwrap().to_owned();
        let token = format!("authorization: Bearer {secret}\r\n");
        let seen = async |headers: &str| served.visit("GET", "/metrics", headers, "").await.status;
        let proxied = format!("{forwarded}{token}");
        assert_eq!(
            (seen("").await, seen(forwarded).await, seen(&token).await, seen(&proxied).await),
            (alone, behind_a_proxy, with_a_token, with_a_token),
            "{rule}"
        );
        // A token that is kept to another route opens nothing that it is not for.
        let body = json!({ "name": "other", "role": "viewer", "allow": ["GET /api/jobs"] }).to_string();
        let secret = served.call("POST", "/api/tokens", "", &body).await.json()["secret"].as_str().unwrap().to_owned();
        assert_eq!(seen(&format!("authorization: Bearer {secret}\r\n")).await, 403, "{rule}");
        // The token is for nothing else, and the socket serves them in any case.
        let other = served.visit("GET", "/api/jobs", &token, "").await;
        assert_eq!((other.status, other.kind().as_str()), (403, ErrorKind::Forbidden.as_str()));
        assert_eq!(served.get("/metrics").await.status, 200);
        // Not even programs of this host by a page of another name.
        assert_eq!(seen("origin: http://evil.example\r\n").await, 403);
    }
}
