//! The pages of the dashboard, as files: who gets which, and what they come with. What they do is shown in a browser.

use serde_json::json;

use super::served::Served;

#[tokio::test]
async fn whoever_is_not_logged_in_gets_the_login_page() {
    let served = Served::on_the_web(|_| {});
    for path in ["/", "/admin", "/admin/jobs/1", "/workspace"] {
        let reply = served.visit("GET", path, "", "").await;
        assert_eq!(reply.status, 401, "{path}");
        assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"), "{path}");
    }
    let reply = served.visit("GET", "/login", "", "").await;
    assert_eq!(reply.status, 200);
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
    ] {
        assert_eq!(reply.header(name), Some(value));
    }
    let policy = reply.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self';") && !policy.contains("unsafe"), "{policy}");
    // On the socket the kernel has said who is there.
    assert_eq!(served.call("GET", "/admin", "", "").await.status, 200);
    for path in ["/assets/nothing.js", "/assets/admin.html", "/assets/..%2fadmin.html", "/login/more"] {
        let status = served.visit("GET", path, "", "").await.status;
        assert!(matches!(status, 401 | 404), "{path}: {status}");
    }
}

#[tokio::test]
async fn s8_s9_pages_are_switched_off_and_the_api_stays_behind_its_login() {
    let served = Served::on_the_web(|config| config.api.dashboard_enabled = false);
    assert_eq!(served.call("GET", "/admin", "", "").await.status, 404);
    assert_eq!(served.call("GET", "/", "", "").await.status, 404);
    assert_eq!(served.call("GET", "/api/status", "", "").await.status, 200);
    assert_eq!(served.visit("GET", "/api/status", "", "").await.status, 401);
    assert_eq!(served.visit("GET", "/login", "", "").await.status, 200, "the workspace has one too");
    assert_eq!(served.call("GET", "/workspace", "", "").await.status, 200);
    let pages = served.call("GET", "/api/session", "", "").await.json()["pages"].clone();
    assert_eq!(pages, json!({ "dashboard": false, "workspace": true, "docs": false }));
    let served = Served::on_the_web(|config| config.api.workspace_enabled = false);
    assert_eq!(served.call("GET", "/workspace", "", "").await.status, 404);
    assert_eq!(served.call("GET", "/workspace?path=a", "", "").await.status, 404);
    assert_eq!(served.call("GET", "/admin", "", "").await.status, 200);
    assert_eq!(served.call("GET", "/api/workspace/trash", "", "").await.status, 200);
    let served = Served::on_the_web(|config| {
        config.api.dashboard_enabled = false;
        config.api.workspace_enabled = false;
    });
    assert_eq!(served.visit("GET", "/login", "", "").await.status, 404);
}

#[tokio::test]
async fn every_day_is_told_of() {
    let served = Served::start();
    let reply = served.call("GET", "/api/stats/days?days=3", "", "").await.json();
    let days = reply["days"].as_array().unwrap();
    assert_eq!(days.len(), 3);
    assert!(days.windows(2).all(|pair| pair[0]["date"].as_str() < pair[1]["date"].as_str()), "{days:?}");
    let today = days[2]["date"].as_str().unwrap().to_owned();
    served
        .cx
        .store
        .write(move |tx| {
            tx.execute(
                "INSERT INTO spend_days (day, settled_nanos, calls, tokens) VALUES (?1, 1500000000, 2, 30)",
                [today.as_str()],
            )?;
            let models =
                "INSERT INTO spend_models (day, model, nanos) VALUES (?1, 'large', 1000000000), (?1, '', 500000000)";
            tx.execute(models, [today.as_str()])?;
            Ok(())
        })
        .await
        .unwrap();
    let job = served.call("POST", "/api/jobs", "", &json!({ "subject": "x", "body": "y" }).to_string()).await.json();
    let id = job["job"]["id"].as_i64().unwrap();
    assert_eq!(served.call("POST", &format!("/api/jobs/{id}/cancel"), "", "{}").await.status, 200);
    let reply = served.call("GET", "/api/stats/days", "", "").await.json();
    let days = reply["days"].as_array().unwrap();
    assert_eq!(days.len(), 30);
    let today = days.last().unwrap();
    assert_eq!((&today["cost"], &today["calls"], &today["tokens"]), (&json!(1.5), &json!(2), &json!(30)));
    assert_eq!(today["models"], json!({ "large": 1.0, "": 0.5 }));
    assert_eq!(today["outcomes"], json!({ "cancelled": 1 }));
    for days in ["0", "367", "x"] {
        assert_eq!(served.call("GET", &format!("/api/stats/days?days={days}"), "", "").await.status, 422, "{days}");
    }
}
