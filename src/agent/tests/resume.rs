//! Runs that end in their middle and go on: nothing is lost, nothing is done twice.

use super::*;
use crate::ledger;

/// Runs until the test tool hangs, then drops the run as a crash would.
async fn crash_while_running(world: &World) {
    let claimed = world.claim().await;
    let cancel = CancellationToken::new();
    tokio::select! {
        outcome = agent::run(&world.cx, &claimed, &cancel) => panic!("the tool was to hang: {outcome:?}"),
        () = world.until_hanging() => {}
    }
}

async fn settle(world: &World, id: JobId, state: assistant_api::effects::EffectState) {
    let now = world.cx.clock.now();
    world
        .cx
        .store
        .write(move |tx| {
            let effect = ledger::for_job(tx, id, 1)?.remove(0);
            ledger::settle(tx, now, effect.id, state, None)
        })
        .await
        .unwrap();
}

fn lines(world: &World) -> String {
    std::fs::read_to_string(world.workspace().join("lines")).unwrap_or_default()
}

#[tokio::test]
async fn what_was_done_before_a_crash_is_not_done_again() {
    let world = Setup::default().world(play(vec![
        calls(&[
            ("test_echo", json!({ "text": "read" })),
            ("test_put", json!({ "line": "one", "stall": "after" })),
            ("test_put", json!({ "line": "two" })),
        ]),
        done(),
    ]));
    let id = world.job("put two lines").await;
    crash_while_running(&world).await;
    assert_eq!(lines(&world), "one\n");
    world.restart().await;
    assert_eq!(world.run().await, completed());
    assert_eq!(lines(&world), "one\ntwo\n");
    let results = results(&world.asked()[1]);
    assert!(results[0].contains("\"read\"") && results[1].contains("it was not done again"), "{results:?}");
    assert!(results[2].contains("\"put\":\"two\""), "{results:?}");
    assert_eq!(world.asked().len(), 2, "the answer before the crash was kept");
    assert_eq!(world.get(id).await.status, JobStatus::Completed);
}

#[tokio::test]
async fn a_call_that_did_not_happen_is_made_with_the_same_key() {
    let world =
        Setup::default().world(play(vec![call("test_put", json!({ "line": "one", "stall": "before" })), done()]));
    let id = world.job("put a line").await;
    crash_while_running(&world).await;
    settle(&world, id, assistant_api::effects::EffectState::Failed).await;
    world.restart().await;
    // The same call hangs again, because it was told to; it is begun again under the same key.
    crash_while_running(&world).await;
    let effects = world.cx.store.read(move |conn| ledger::for_job(conn, id, 10)).await.unwrap();
    assert_eq!(effects.len(), 1);
    assert_eq!(effects[0].state, assistant_api::effects::EffectState::Dispatched);
}

#[tokio::test]
async fn what_nobody_knows_is_told_and_not_repeated() {
    let world =
        Setup::default().world(play(vec![call("test_put", json!({ "line": "one", "stall": "before" })), done()]));
    let id = world.job("put a line").await;
    crash_while_running(&world).await;
    settle(&world, id, assistant_api::effects::EffectState::Unknown).await;
    world.restart().await;
    assert_eq!(world.run().await, completed());
    assert!(results(&world.asked()[1])[0].contains("nobody can tell whether it happened"));
    assert_eq!(lines(&world), "");
}

#[tokio::test]
async fn a_large_result_that_was_not_seen_is_whole_after_a_restart() {
    let setup = Setup { silent_from: 1, ..Setup::default() };
    let world = setup.world(play(vec![call("test_big", json!({ "chars": 9000 }))]));
    let id = world.job("x").await;
    let claimed = world.claim().await;
    let cancel = CancellationToken::new();
    tokio::select! {
        outcome = agent::run(&world.cx, &claimed, &cancel) => panic!("the model was to be silent: {outcome:?}"),
        () = world.until("the model is asked again", |world| world.asked().len() == 2) => {}
    }
    assert!(results(&world.asked()[1])[0].contains("xEND"));
    world.restart().await;
    let World { dir, cx, .. } = world;
    cx.store.close().await;
    let world = Setup::default().world_in(dir, play(vec![done()]));
    assert_eq!(world.run().await, completed());
    assert!(results(&world.asked()[0])[0].contains("xEND"), "read back from the cache");
    assert_eq!(world.get(id).await.status, JobStatus::Completed);
}

/// What a job was given holds for each of its runs; a review goes above it for one.
#[tokio::test]
async fn limits_of_a_job_hold_until_a_review_and_again_after_it() {
    let world = Setup::default().world(|_, _| Ok(done()));
    let new = NewJob {
        subject: "short".into(),
        body: "do it".into(),
        max_iterations_per_task: Some(7),
        max_tokens_per_task: Some(9000),
        ..Default::default()
    };
    let id = jobs::create(&world.cx, new, "uid:0").await.unwrap().id;
    let limits = async || {
        let overrides = world.claim().await.overrides;
        (overrides.max_iterations, overrides.max_tokens)
    };
    let to_review = async || {
        let now = world.cx.clock.now();
        world.cx.store.write(move |tx| recover(tx, now, 0)).await.unwrap();
        assert_eq!(world.get(id).await.status, JobStatus::NeedsReview);
    };
    assert_eq!(limits().await, (Some(7), Some(9000)));
    to_review().await;
    let shown = jobs::detail(&world.cx, id).await.unwrap().review_diagnostics.unwrap().limits;
    assert_eq!((&shown["max_iterations"], &shown["base_max_iterations"]), (&json!(7), &json!(50)));
    let more = assistant_api::jobs::ReviewOverride { max_iterations_per_task: Some(80), ..Default::default() };
    jobs::review(&world.cx, id, more, "uid:0").await.unwrap();
    assert_eq!(limits().await, (Some(80), Some(9000)));
    to_review().await;
    jobs::requeue(&world.cx, id, "uid:0").await.unwrap();
    assert_eq!(limits().await, (Some(7), Some(9000)));
}

/// Overrides are of one run: a crash does not end it, a recovery that gives the job to a person does.
#[tokio::test]
async fn overrides_outlive_a_crash_and_end_with_the_review_that_a_recovery_asks_for() {
    let setup = Setup { silent_from: 1, ..Setup::config(|config| config.limits.max_iterations_per_task = 1) };
    let world = setup.world(play(vec![call("test_echo", json!({ "text": "a" }))]));
    let id = world.job("x").await;
    assert!(matches!(world.run().await, Outcome::NeedsReview { needs: jobs::NeedsWhat::Limits, .. }));
    let more = assistant_api::jobs::ReviewOverride { max_iterations_per_task: Some(80), ..Default::default() };
    jobs::review(&world.cx, id, more, "uid:0").await.unwrap();
    assert_eq!(world.claim().await.overrides.max_iterations, Some(80));
    world.restart().await;
    assert_eq!(world.claim().await.overrides.max_iterations, Some(80), "the run goes on after the crash");
    let now = world.cx.clock.now();
    world.cx.store.write(move |tx| recover(tx, now, 2)).await.unwrap();
    let job = world.get(id).await;
    assert_eq!((job.status, job.metadata.get("admin_review_override")), (JobStatus::NeedsReview, None));
    jobs::requeue(&world.cx, id, "uid:0").await.unwrap();
    assert_eq!(world.claim().await.overrides, jobs::Overrides::default());
}

/// C4: what a person said is not lost when the step that was to use it fails.
#[tokio::test]
async fn c4_instructions_survive_a_failed_step() {
    let world = Setup::default().world(|_, number| match number {
        0 => Err(LlmError::Unavailable { model: "m".into(), reason: "503".into(), retry_after: None }),
        _ => Ok(done()),
    });
    let id = world.job("x").await;
    jobs::instruct(&world.cx, id, "use euros", "uid:0").await.unwrap();
    assert!(matches!(world.run().await, Outcome::Retry { .. }));
    assert!(users(&world.asked()[0]).contains("use euros"));
    assert_eq!(world.run().await, completed());
    assert_eq!(users(&world.asked()[1]).matches("use euros").count(), 1);
}

/// What comes in while the model ends the job is looked at before it ends.
#[tokio::test(flavor = "multi_thread")]
async fn an_instruction_that_comes_in_at_the_end_is_not_lost() {
    let told = Arc::new(tokio::sync::Notify::new());
    let (asked, go) = (Arc::clone(&told), Arc::new(std::sync::Barrier::new(2)));
    let wait = Arc::clone(&go);
    let world = Arc::new(Setup::default().world(move |_, number| {
        if number == 0 {
            asked.notify_one();
            tokio::task::block_in_place(|| wait.wait());
        }
        Ok(done())
    }));
    let id = world.job("x").await;
    let running = Arc::clone(&world);
    let run = world.cx.tasks.spawn(async move { running.run().await });
    told.notified().await;
    jobs::instruct(&world.cx, id, "in French, please", "uid:0").await.unwrap();
    tokio::task::block_in_place(|| go.wait());
    assert_eq!(run.await.unwrap(), completed());
    assert_eq!(world.asked().len(), 2);
    let second = users(&world.asked()[1]);
    assert!(second.contains("in French, please") && second.contains("so the job goes on"), "{second}");
    assert_eq!(world.get(id).await.status, JobStatus::Completed);
}

#[tokio::test]
async fn a_job_that_starts_over_knows_its_earlier_answer_and_effects() {
    let world = Setup::default().world(|_, number| {
        Ok(match number % 2 {
            0 => call("test_put", json!({ "line": format!("line {number}") })),
            _ => done(),
        })
    });
    let id = world.job("put a line").await;
    assert_eq!(world.run().await, completed());
    jobs::requeue(&world.cx, id, "uid:0").await.unwrap();
    assert_eq!(world.run().await, completed());
    let again = users(&world.asked()[2]);
    assert!(results(&world.asked()[2]).is_empty(), "a new conversation");
    assert!(again.contains("This job was answered before") && again.contains("here it is"), "{again}");
    assert!(again.contains("Do not repeat any of it") && again.contains("test_put line 0 (confirmed)"), "{again}");
    // Newest first, of all runs.
    jobs::requeue(&world.cx, id, "uid:0").await.unwrap();
    assert_eq!(world.run().await, completed());
    let third = users(&world.asked()[4]);
    assert!(third.find("line 2").unwrap() < third.find("line 0").unwrap(), "{third}");
}

#[tokio::test]
async fn a_stop_gives_the_job_back_and_stores_what_was_done() {
    let world =
        Arc::new(Setup::default().world(play(vec![
            calls(&[("test_until_stop", json!({})), ("test_put", json!({ "line": "one" }))]),
            done(),
        ])));
    let id = world.job("x").await;
    let claimed = world.claim().await;
    let waiting = Arc::clone(&world);
    world.cx.tasks.spawn(async move {
        waiting.until_hanging().await;
        waiting.cx.stop.cancel();
    });
    let outcome = agent::run(&world.cx, &claimed, &CancellationToken::new()).await;
    assert_eq!(outcome, Outcome::Released);
    let kinds: Vec<_> = world.steps(id, 0).await.iter().map(|step| step.kind.as_str()).collect();
    assert_eq!(kinds, ["prompt", "prompt", "answer", "result"]);
    assert_eq!(lines(&world), "", "nothing new was begun");
}

#[tokio::test]
async fn a_cancelled_run_ends_at_once_and_writes_nothing() {
    let setup = Setup { silent_from: 0, ..Setup::default() };
    let world = Arc::new(setup.world(play(vec![done()])));
    let id = world.job("x").await;
    let claimed = world.claim().await;
    let cancel = CancellationToken::new();
    let (asked, token) = (Arc::clone(&world), cancel.clone());
    world.cx.tasks.spawn(async move {
        asked.until("the model is asked", |world| world.asked().len() == 1).await;
        token.cancel();
    });
    let outcome = tokio::time::timeout(Duration::from_secs(5), agent::run(&world.cx, &claimed, &cancel)).await.unwrap();
    assert_eq!(outcome, Outcome::Lost);
    assert_eq!(world.steps(id, 0).await.len(), 2);
}

#[tokio::test]
async fn a_run_whose_lease_is_lost_ends_as_lost() {
    let world = Setup::default().world(play(vec![done()]));
    let id = world.job("x").await;
    let claimed = world.claim().await;
    jobs::cancel(&world.cx, id, "uid:0").await.unwrap();
    assert_eq!(agent::run(&world.cx, &claimed, &CancellationToken::new()).await, Outcome::Lost);
    assert_eq!(world.get(id).await.status, JobStatus::Cancelled);
}
