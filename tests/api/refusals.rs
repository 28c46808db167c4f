//! What is refused before a handler sees it, and how.

use super::served::Served;

#[tokio::test]
async fn a_request_of_a_browser_is_refused_before_its_body_is_read() {
    let served = Served::start();
    for header in [
        "origin: https://evil.example",
        "Origin: null",
        "origin: http://localhost",
        "referer: https://evil.example/page",
        "Sec-Fetch-Site: same-origin",
        "sec-fetch-mode: cors",
        "sec-fetch-future: x",
    ] {
        // A body is announced and never sent: an answer shows that nobody waits for it.
        let head = format!(
            "POST /test/work HTTP/1.1\r\nhost: assistantd\r\ncontent-length: 10\r\nconnection: close\r\n{header}\r\n\r\n"
        );
        let reply = served.send(&head).await;
        assert_eq!((reply.status, reply.kind().as_str()), (403, "forbidden"), "{header}: {reply:?}");
        assert!(reply.head.contains("application/problem+json"), "{reply:?}");
    }
    assert_eq!(served.work_done().await, 0);
}

#[tokio::test]
async fn the_host_has_to_be_this_daemon() {
    let served = Served::start();
    for (line, status) in [
        ("Host: assistantd", 200),
        ("host: LOCALHOST", 200),
        ("Host:", 200),
        ("Host: evil.example", 403),
        ("Host: localhost:8000", 403),
        ("Host: localhost.", 403),
        ("Host: assistantd.evil.example", 403),
        ("Host: 127.0.0.1", 403),
        ("Host: [::1]", 403),
        ("Host: assistantd\r\nHost: assistantd", 403),
    ] {
        let reply = served.send(&format!("GET /api HTTP/1.1\r\n{line}\r\nconnection: close\r\n\r\n")).await;
        assert_eq!(reply.status, status, "{line}: {reply:?}");
    }
    let absolute = served.send("GET http://evil.example/api HTTP/1.1\r\nHost: assistantd\r\nconnection: close\r\n\r\n");
    assert_eq!(absolute.await.status, 403);
    let old = served.send("GET /api HTTP/1.0\r\n\r\n").await;
    assert_eq!(old.status, 200, "no Host at all is as good as an empty one: {old:?}");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems_too() {
    let served = Served::start();
    for path in ["/api/memories", "/api/notes/1", "/api/contacts"] {
        let reply = served.call("POST", path, "", "{}").await;
        assert_eq!((reply.status, reply.kind().as_str()), (404, "not_available"), "{path}");
    }
    let reply = served.get("/api/nothing").await;
    assert_eq!((reply.status, reply.kind().as_str()), (404, "not_found"));
    let reply = served.call("PATCH", "/test/ids/1", "", "").await;
    assert_eq!((reply.status, reply.kind().as_str()), (405, "method_not_allowed"));
    let allowed = reply.header("allow").expect("an Allow header");
    assert!(allowed.contains("GET") && allowed.contains("DELETE") && !allowed.contains("PATCH"), "{allowed}");
    let reply = served.call("HEAD", "/test/ids/1", "", "").await;
    assert_eq!((reply.status, reply.body.as_str()), (200, ""));
}

#[tokio::test]
async fn an_error_has_the_shape_of_the_reference_and_the_fields_of_a_problem() {
    let served = Served::start();
    let reply = served.get("/test/ids/abc-SECRET").await;
    let problem = reply.json();
    assert_eq!(reply.status, 422);
    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    assert_eq!(
        problem["detail"],
        serde_json::json!([{ "type": "value_error", "loc": ["path", "id"], "msg": "id has to be an integer" }])
    );
    assert_eq!((&problem["title"], &problem["field"]), (&"id has to be an integer".into(), &"id".into()));
    assert_eq!(problem["request_id"].as_str(), reply.header("x-request-id"));
    assert!(!reply.body.contains("SECRET"), "input is never repeated");

    let reply = served.call("POST", "/test/work", "", "{\"SECRET").await;
    assert_eq!((reply.status, reply.json()["detail"][0]["loc"][0].as_str()), (422, Some("body")));
    let reply = served.call("POST", "/test/work", "content-type: text/plain\r\n", "{}").await;
    assert_eq!((reply.status, reply.kind().as_str()), (415, "unsupported_media"));
    let reply = served.get("/api/events?last_event_id=x").await;
    assert_eq!((reply.status, reply.json()["detail"][0]["loc"][0].as_str()), (422, Some("query")));
}

#[tokio::test]
async fn a_panic_is_an_internal_error_and_the_daemon_goes_on() {
    let served = Served::start();
    for _ in 0..3 {
        let reply = served.get("/test/panic").await;
        assert_eq!((reply.status, reply.kind().as_str()), (500, "internal"));
        assert!(!reply.body.contains("on purpose"), "{reply:?}");
    }
    let reply = served.call("POST", "/test/work", "", r#"{"fail":"panic"}"#).await;
    assert_eq!(reply.status, 500);
    assert_eq!(served.get("/api").await.status, 200);
}
