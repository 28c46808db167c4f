//! The corpus: whatever comes, it is decided about once and as it should be.

use assistant_api::mail::Decision;

use super::{
    shapes::{self, HIDDEN},
    world::World,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_shape_of_message_is_decided_about_as_it_should_be() {
    let world = World::with(|config| config.mail.max_per_day = 1_000_000);
    let cases = shapes::all(&world);
    assert!(cases.len() >= 300, "{}", cases.len());
    let mut wrong = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let taken = world.deliver_bytes(&case.raw).await;
        let decision = taken.decision.as_str();
        if decision != case.expected {
            wrong.push(format!("{}: {decision}, not {}: {}", case.name, case.expected, world.reason().await));
        }
        assert_eq!(taken.job_id.is_some(), taken.decision == Decision::Job, "{}", case.name);
        let decided = world.count("SELECT count(*) FROM mail_received").await;
        assert_eq!(decided, i64::try_from(number + 1).unwrap(), "{}", case.name);
        if case.name.starts_with("page ") {
            let text: String = world
                .query("SELECT body_text || coalesce(body_html, '') FROM emails ORDER BY id DESC LIMIT 1", |row| {
                    row.get(0)
                })
                .await;
            if text.contains(HIDDEN) || !text.contains("shown") {
                wrong.push(format!("{}: {text}", case.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    world.close().await;
}
