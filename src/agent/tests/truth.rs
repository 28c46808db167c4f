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
        self.did(job, "email_send", to, self.cx.clock.now()).await;
    }

    /// A tool of a job, with success.
    async fn did(&self, job: JobId, tool: &str, target: &str, now: jiff::Timestamp) {
        let target = target.to_owned();
        let effect = NewEffect {
            job_id: Some(job),
            call_key: None,
            tool: tool.into(),
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

/// A program ran, and this is what the workspace looks like after it.
#[tokio::test]
async fn a_program_that_ran_proves_the_files_that_it_wrote_and_no_others() {
    const PLOT: &str = "I have saved the plot as out/plot.png.";
    for (name, began, believed) in [
        ("plot.png", Duration::ZERO, true),
        ("other.png", Duration::ZERO, false),
        ("plot.png", Duration::from_secs(3600), false), // it was there before
    ] {
        let world = Setup::default().world(play(vec![ends_with(PLOT)]));
        let id = world.job("draw it").await;
        let out = world.cx.root().unwrap().path().join("out");
        std::fs::create_dir(&out).unwrap();
        std::fs::write(out.join(name), "PNG").unwrap();
        world.did(id, "command_execute", "python plot.py", world.cx.clock.now() + began).await;
        let outcome = world.run().await;
        assert_eq!(response(&outcome) == PLOT, believed, "{name}, {began:?}: {outcome:?}");
    }
}
