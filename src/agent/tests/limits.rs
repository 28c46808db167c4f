//! Bounds of a run: answers, tokens, money, time, length; and models that do not answer.

use super::*;
use crate::{jobs::NeedsWhat, llm::price::Price};

fn review(needs: NeedsWhat, reason: &str) -> Outcome {
    Outcome::NeedsReview { needs, reason: reason.into() }
}

/// A different call each time, so that nothing looks like a loop.
fn busy() -> impl Fn(&Request, usize) -> Result<Answer, LlmError> + Send + Sync {
    |_, number| Ok(call("test_echo", json!({ "text": number.to_string() })))
}

#[tokio::test]
async fn iterations_end_and_the_model_may_ask_for_more_near_the_end() {
    let world = Setup::config(|config| config.limits.max_iterations_per_task = 5).world(busy());
    world.job("x").await;
    assert_eq!(world.run().await, review(NeedsWhat::Limits, "max iterations reached"));
    let may_ask: Vec<_> = world
        .asked()
        .iter()
        .map(|request| request.tools.iter().any(|tool| tool.name == "request_limit_increase"))
        .collect();
    assert_eq!(may_ask, [false, false, true, true, true]);
}

#[tokio::test]
async fn tokens_end_and_are_counted_per_run() {
    let world = Setup::config(|config| config.limits.max_tokens_per_task = 25).world(busy());
    let id = world.job("x").await;
    assert_eq!(world.run().await, review(NeedsWhat::Limits, "token budget exceeded"));
    assert_eq!(world.asked().len(), 3);
    assert!(world.asked()[2].tools.iter().any(|tool| tool.name == "request_limit_increase"), "20 of 25 is near");
    jobs::requeue(&world.cx, id, "uid:0").await.unwrap();
    assert_eq!(world.run().await, review(NeedsWhat::Limits, "token budget exceeded"));
    assert_eq!(world.asked().len(), 6);
}

/// What a tool uses at a model counts as the run's own answers do.
#[tokio::test]
async fn tokens_of_tools_end_a_run_as_well() {
    let world = Setup::config(|config| config.limits.max_tokens_per_task = 1000)
        .world(|_, _| Ok(call("test_asks", json!({ "tokens": 400 }))));
    world.job("x").await;
    assert_eq!(world.run().await, review(NeedsWhat::Limits, "token budget exceeded"));
    assert_eq!(world.asked().len(), 3);
}

/// A provider that does not count is counted by characters, those of the prompt too.
#[tokio::test]
async fn uncounted_tokens_are_those_of_the_prompt_too() {
    for usage in [None, Some(Usage::default())] {
        let world = Setup::default().world(move |_, _| Ok(Answer { usage, ..done() }));
        let id = world.job(&"many words ".repeat(800)).await;
        assert_eq!(world.run().await, completed());
        let (chars, tokens) = (world.asked()[0].chars(), jobs::detail(&world.cx, id).await.unwrap().usage.total_tokens);
        assert!(
            chars > 8_000 && (chars / 4..chars / 4 + 60).contains(&u64::try_from(tokens).unwrap()),
            "{tokens} of {chars}"
        );
    }
}

#[tokio::test]
async fn a_limit_request_pauses_and_a_review_gives_this_run_more() {
    let world = Setup::config(|config| config.limits.max_iterations_per_task = 2).world(|_, number| {
        Ok(match number {
            0 => call("request_limit_increase", json!({ "reason": "ten files left", "resource": "iterations" })),
            1..6 => call("test_echo", json!({ "text": number.to_string() })),
            _ => done(),
        })
    });
    let id = world.job("x").await;
    let asked = "agent limit increase request (iterations): ten files left";
    assert_eq!(world.run().await, review(NeedsWhat::Limits, asked));
    let more = assistant_api::jobs::ReviewOverride {
        instruction: Some("hurry up".into()),
        max_iterations_per_task: Some(6),
        ..Default::default()
    };
    jobs::review(&world.cx, id, more, "uid:0").await.unwrap();
    assert_eq!(world.run().await, completed());
    assert!(users(&world.asked()[1]).contains("hurry up"));
    let again = world.asked().iter().filter(|request| users(request).contains("hurry up")).count();
    assert_eq!(again, 6, "it stays in the conversation, once");
    assert_eq!(users(&world.asked()[6]).matches("hurry up").count(), 1);
}

/// S31: when the cap is reached, no model is asked.
#[tokio::test]
async fn s31_the_daily_spend_cap_stops_before_the_call() {
    let mut setup = Setup::config(|config| {
        config.limits.max_daily_cost_usd = 0.10;
        config.llm.max_tokens_per_call = 1000;
    });
    setup.models[0].price = Some(Price::new(0.0, 40.0));
    setup.models[0].local = false;
    let world = setup.world(|_, number| {
        let answer = call("test_echo", json!({ "text": number.to_string() }));
        Ok(Answer { cost_nanos: Some(40_000_000), ..answer })
    });
    let id = world.job("x").await;
    let Outcome::NeedsReview { needs: NeedsWhat::Budget, reason } = world.run().await else { panic!() };
    assert_eq!(world.asked().len(), 2, "0.08 are spent, and 0.04 more would be too much");
    for part in ["daily spend cap", "$0.08 of $0.10", "may cost $0.04", "limits.max_daily_cost_usd", "midnight UTC"] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    let usage = jobs::detail(&world.cx, id).await.unwrap().usage;
    assert!((usage.cost_total - 0.08).abs() < 1e-9, "{}", usage.cost_total);
    // Another job of the day is not asked for either.
    world.job("y").await;
    assert!(matches!(world.run().await, Outcome::NeedsReview { needs: NeedsWhat::Budget, .. }));
    assert_eq!(world.asked().len(), 2);
}

/// S31: a job has a cap of its own where somebody gave it one, and more of it after a review.
#[tokio::test]
async fn s31_a_job_may_cost_what_it_was_given() {
    let mut setup = Setup::config(|config| {
        (config.limits.max_job_cost_usd, config.limits.max_daily_cost_usd) = (0.01, 0.0);
        config.llm.max_tokens_per_call = 1000;
    });
    setup.models[0].price = Some(Price::new(0.0, 40.0));
    setup.models[0].local = false;
    let world = setup.world(|_, number| {
        let answer = if number < 3 { call("test_echo", json!({ "text": number.to_string() })) } else { done() };
        Ok(Answer { cost_nanos: Some(40_000_000), ..answer })
    });
    let id = world.job("as configured").await;
    assert!(matches!(world.run().await, Outcome::NeedsReview { needs: NeedsWhat::Budget, .. }));
    assert_eq!(world.asked().len(), 0, "one call may cost $0.04, and $0.01 is what the configuration gives");
    jobs::cancel(&world.cx, id, "uid:0").await.unwrap();

    let own = NewJob {
        max_job_cost_usd: Some(0.10),
        subject: "a test".into(),
        body: "given more".into(),
        ..Default::default()
    };
    let id = jobs::create(&world.cx, own, "uid:0").await.unwrap().id;
    let Outcome::NeedsReview { needs: NeedsWhat::Budget, reason } = world.run().await else { panic!() };
    assert_eq!(world.asked().len(), 2);
    for part in ["spend cap of one job", "$0.08 of $0.10", "assistantctl job review ID --max-cost DOLLARS"] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    let found = jobs::detail(&world.cx, id).await.unwrap().review_diagnostics.unwrap();
    assert_eq!((found.stop_reason.as_str(), &found.limits["max_job_cost_usd"]), ("spend_cap", &json!(0.1)));
    let more = assistant_api::jobs::ReviewOverride { max_job_cost_usd: Some(0.20), ..Default::default() };
    jobs::review(&world.cx, id, more, "uid:0").await.unwrap();
    assert_eq!(world.run().await, completed());
    assert_eq!(world.asked().len(), 4);
}

#[tokio::test]
async fn attempts_that_brought_nothing_are_paid_for() {
    let mut setup = Setup::config(|config| config.llm.max_tokens_per_call = 1000);
    setup.models[0].price = Some(Price::new(0.0, 40.0));
    setup.models[0].local = false;
    let world = setup.world(|request, number| {
        let lose = |times: u32| {
            for _ in 0..times {
                let _lost = request.attempts.begin(false);
            }
        };
        if number == 0 {
            lose(2);
            return Ok(Answer { cost_nanos: Some(10_000_000), ..call("test_echo", json!({ "text": "a" })) });
        }
        lose(1);
        Err(LlmError::Unavailable { model: "m".into(), reason: "cut".into(), retry_after: None })
    });
    let id = world.job("x").await;
    assert!(matches!(world.run().await, Outcome::Retry { .. }));
    // 0.04 are reserved for each call: two of them were lost before the answer for 0.01, and one without an answer.
    let usage = jobs::detail(&world.cx, id).await.unwrap().usage;
    assert!((usage.cost_total - 0.13).abs() < 1e-9, "{}", usage.cost_total);
    let now = world.cx.clock.now();
    assert_eq!(world.cx.store.read(move |conn| jobs::spend::today(conn, now)).await.unwrap(), 130_000_000);
}

#[tokio::test]
async fn an_unknown_price_counts_as_what_was_reserved() {
    let mut setup = Setup::config(|config| config.limits.max_job_cost_usd = 0.5);
    setup.models[0].price = None;
    setup.models[0].local = false;
    let world = setup.world(busy());
    world.job("x").await;
    let Outcome::NeedsReview { needs: NeedsWhat::Budget, reason } = world.run().await else { panic!() };
    assert!(reason.contains("limits.max_job_cost_usd"), "{reason}");
    assert!(world.asked().len() == 1, "4096 tokens at 75 dollars a million are 0.31 each: {}", world.asked().len());
}

#[tokio::test]
async fn errors_of_models_become_what_they_mean() {
    let model = || "m".to_owned();
    let after = Some(Duration::from_secs(7));
    for (error, expected) in [
        (LlmError::NotConfigured("no model configured: see assistantctl doctor".into()), "Model no model configured"),
        (LlmError::Auth { model: model(), reason: "401".into() }, "Model m refused the key"),
        (LlmError::Payment { model: model() }, "Model m refused for lack of credit"),
        (LlmError::Rejected { model: model(), reason: "no such model".into() }, "Model m rejected the request"),
        (LlmError::Forbidden("llm.local_only forbids it".into()), "Model llm.local_only"),
        (LlmError::RateLimited { model: model(), retry_after: after }, "retry Some(7s)"),
        (LlmError::RateLimited { model: model(), retry_after: None }, "retry Some(30s)"),
        (LlmError::Unavailable { model: model(), reason: "503".into(), retry_after: None }, "retry None"),
        (LlmError::Deadline { seconds: 300 }, "retry None"),
        (LlmError::Protocol { model: model(), reason: "cut".into() }, "retry None"),
    ] {
        let world = {
            let error = error.clone();
            Setup::default().world(move |_, _| Err(error.clone()))
        };
        let id = world.job("x").await;
        let claimed = world.claim().await;
        let outcome = agent::run(&world.cx, &claimed, &CancellationToken::new()).await;
        let got = match &outcome {
            Outcome::NeedsReview { needs, reason } => format!("{needs:?} {reason}"),
            Outcome::Retry { after, permanent: false, .. } => format!("retry {after:?}"),
            other => format!("{other:?}"),
        };
        assert!(got.starts_with(expected), "{error}: {got}");
        assert!(world.logs(id).await.iter().any(|row| row.event_type == "error"), "{error}");
    }
}

#[tokio::test]
async fn a_prompt_that_the_model_refuses_is_halved_once() {
    let world = Setup::default().world(|request, number| {
        if request.role == crate::llm::Role::Small {
            return Ok(says("Goal: x. Done: read a lot."));
        }
        match number {
            0..3 => Ok(call("test_big", json!({ "chars": 30_000 + number }))),
            _ if request.chars() > 25_000 => Err(LlmError::ContextTooLong { model: "m".into() }),
            _ => Ok(done()),
        }
    });
    world.job("x").await;
    assert_eq!(world.run().await, completed());
    let chars: Vec<_> = world.asked().iter().map(Request::chars).collect();
    assert!(chars.iter().any(|chars| *chars > 30_000) && chars.last().unwrap() < &25_000, "{chars:?}");

    let world = Setup::default().world(|_, _| Err(LlmError::ContextTooLong { model: "m".into() }));
    world.job("x").await;
    let Outcome::NeedsReview { needs: NeedsWhat::Prompt, reason } = world.run().await else { panic!() };
    assert!(reason.contains("too long for m") && reason.contains("lower limits.max_prompt_chars"), "{reason}");
}

#[tokio::test]
async fn a_long_conversation_is_summarized_once_and_goes_on() {
    let world = Setup::config(|config| {
        config.limits.max_prompt_chars = 20_000;
        config.tool_result_cache.enabled = false;
    })
    .world(|request, number| {
        Ok(match number {
            _ if request.role == crate::llm::Role::Small => says("Goal: read. Done: read some."),
            9.. => done(),
            _ => call("test_big", json!({ "chars": 3000 + number })),
        })
    });
    let id = world.job("x").await;
    assert_eq!(world.run().await, completed());
    let asked = world.asked();
    let summaries = asked.iter().filter(|request| request.role == crate::llm::Role::Small).count();
    assert!((1..4).contains(&summaries), "{summaries} summaries in {} requests", asked.len());
    assert!(asked.iter().all(|request| request.chars() <= 20_000));
    assert!(users(asked.last().unwrap()).contains("Done: read some."));
    let stored = world.steps(id, 0).await.iter().filter(|step| step.kind == jobs::StepKind::Summary).count();
    assert_eq!(stored, summaries);
    let usage = jobs::detail(&world.cx, id).await.unwrap().usage;
    assert_eq!(usage.api_call_count, i64::try_from(asked.len()).unwrap(), "summaries count");
}

#[tokio::test]
async fn a_task_that_cannot_fit_says_so() {
    let world = Setup::config(|config| {
        config.limits.max_prompt_chars = 10_000;
        config.prompt.max_initial_context_body_chars = 50_000;
    })
    .world(play(vec![done()]));
    let id = world.job(&"long ".repeat(10_000)).await;
    let Outcome::NeedsReview { needs: NeedsWhat::Prompt, reason } = world.run().await else { panic!() };
    assert!(reason.contains("of 10000 characters (limits.max_prompt_chars); set a higher limit"), "{reason}");
    assert!(world.asked().is_empty());
    // What the command says helps, and nothing less does.
    let mend = format!("assistantctl config set limits.max_prompt_chars NUMBER && assistantctl job requeue {id}");
    assert_eq!(world.get(id).await.needs.unwrap().command, mend);
    jobs::requeue(&world.cx, id, "uid:0").await.unwrap();
    assert!(matches!(world.run().await, Outcome::NeedsReview { needs: NeedsWhat::Prompt, .. }));
    let mut config = Config::clone(&world.cx.config.load());
    config.limits.max_prompt_chars = 100_000;
    world.cx.config.store(Arc::new(config));
    jobs::requeue(&world.cx, id, "uid:0").await.unwrap();
    assert_eq!(world.run().await, completed());
}

#[tokio::test]
async fn a_loop_is_warned_of_and_then_ended() {
    let world = Setup::default().world(play(vec![call("no_such_tool", json!({ "a": 1 }))]));
    world.job("x").await;
    let Outcome::NeedsReview { needs: NeedsWhat::Review, reason } = world.run().await else { panic!() };
    assert_eq!(
        reason,
        "stalled: no_such_tool was called 2 times with the same arguments and the same result, after a warning"
    );
    assert_eq!(world.asked().len(), 6, "four, a warning, and two more");
    assert!(users(&world.asked()[4]).contains("going round in circles"));
    assert!(!users(&world.asked()[3]).contains("going round in circles"));

    let world = Setup::config(|config| {
        config.loop_detector.enabled = false;
        config.limits.max_iterations_per_task = 9;
    })
    .world(play(vec![call("no_such_tool", json!({ "a": 1 }))]));
    world.job("x").await;
    assert_eq!(world.run().await, review(NeedsWhat::Limits, "max iterations reached"));
}

#[tokio::test]
async fn steps_without_anything_new_are_a_loop_too() {
    let world = Setup::config(|config| config.loop_detector.no_progress = 6)
        .world(|_, number| Ok(call("no_such_tool", json!({ "a": number }))));
    world.job("x").await;
    let Outcome::NeedsReview { needs: NeedsWhat::Review, reason } = world.run().await else { panic!() };
    assert_eq!(reason, "stalled: 3 steps brought nothing new, after a warning");
    assert_eq!(world.asked().len(), 9);
}

#[tokio::test]
async fn the_time_of_a_run_ends_it() {
    let mut setup = Setup::config(|config| config.limits.max_run_seconds.0 = Duration::from_millis(600));
    setup.silent_from = 1;
    let world = setup.world(busy());
    let id = world.job("x").await;
    let Outcome::NeedsReview { needs: NeedsWhat::Time, reason } = world.run().await else { panic!() };
    assert!(reason.contains("limits.max_run_seconds"), "{reason}");
    // Queued again it has as much time again, and goes on where it is.
    assert_eq!(world.get(id).await.needs.unwrap().command, format!("assistantctl job requeue {id}"));
    jobs::requeue(&world.cx, id, "uid:0").await.unwrap();
    assert!(matches!(world.run().await, Outcome::NeedsReview { needs: NeedsWhat::Time, .. }));
    assert_eq!((world.asked().len(), results(&world.asked()[2]).len()), (3, 1));
}

#[tokio::test]
async fn more_calls_than_allowed_are_named() {
    let world = Setup::config(|config| config.limits.max_calls_per_answer = 2).world(play(vec![
        calls(&[
            ("test_echo", json!({ "text": "1" })),
            ("test_echo", json!({ "text": "2" })),
            ("test_echo", json!({ "text": "3" })),
        ]),
        done(),
    ]));
    world.job("x").await;
    assert_eq!(world.run().await, completed());
    assert_eq!(results(&world.asked()[1]).len(), 2);
    assert!(users(&world.asked()[1]).contains("1 more were not run (limits.max_calls_per_answer)"));
}
