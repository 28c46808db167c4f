//! Whole runs whose answers say what was not done.

use assistant_api::effects::EffectState;

use super::*;
use crate::{
    ledger::{self, NewEffect},
    policy::Origin,
};

const LIE: &str = "I have sent the report to ann@example.org.";
const TRUTH: &str = "The report is ready; nobody has been written to.";

fn ends_with(response: &str) -> Answer {
    call("task_complete", json!({ "summary": "s", "response": response }))
}

impl World {
    /// A mail that went out for a job.
    async fn mailed(&self, job: JobId, to: &str) {
        let (now, target) = (self.cx.clock.now(), to.to_owned());
        let effect = NewEffect {
            job_id: Some(job),
            call_key: None,
            tool: "email_send".into(),
            target,
            args_hash: "h".into(),
            origin: Origin::Owner,
            rule: "r".into(),
            detail: json!({}),
        };
        let settle = move |tx: &rusqlite::Connection| {
            let id = ledger::prepare(tx, now, &effect)?;
            ledger::dispatch(tx, now, id)?;
            ledger::settle(tx, now, id, EffectState::Confirmed, None)
        };
        self.cx.store.write(move |tx| settle(tx)).await.unwrap();
    }
}

fn response(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Completed { response, .. } => response,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_claim_that_nothing_shows_goes_back_once_and_is_marked_then() {
    let world = Setup::default().world(play(vec![ends_with(LIE)]));
    let id = world.job("write to Ann").await;
    let outcome = world.run().await;
    let asked = world.asked();
    assert_eq!(asked.len(), 2, "it goes back once, not for ever");
    assert!(!users(&asked[0]).contains("not handed over yet"));
    assert!(users(&asked[1]).contains("not handed over yet") && users(&asked[1]).contains(LIE.trim_end_matches('.')));
    let text = response(&outcome);
    assert!(text.starts_with(LIE) && text.contains("**Not confirmed.**"), "{text}");
    let job = world.get(id).await;
    assert_eq!(job.metadata["final_response"].as_str(), Some(text), "whoever asked reads the mark too");
}

#[tokio::test]
async fn a_claim_that_is_taken_back_is_not_marked() {
    let world = Setup::default().world(play(vec![ends_with(LIE), ends_with(TRUTH)]));
    world.job("write to Ann").await;
    assert_eq!(response(&world.run().await), TRUTH);
    assert_eq!(world.asked().len(), 2);
}

#[tokio::test]
async fn what_the_ledger_shows_is_said_freely() {
    let world = Setup::default().world(play(vec![ends_with(LIE)]));
    let id = world.job("write to Ann").await;
    world.mailed(id, "ann@example.org").await;
    assert_eq!(response(&world.run().await), LIE);
    assert_eq!(world.asked().len(), 1);

    let world = Setup::default().world(play(vec![ends_with(LIE)]));
    let id = world.job("write to Ann").await;
    world.mailed(id, "bob@example.org").await;
    assert!(response(&world.run().await).contains("**Not confirmed.**"), "a mail to Bob proves none to Ann");
}
