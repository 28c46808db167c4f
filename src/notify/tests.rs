use std::{os::unix::fs::PermissionsExt as _, path::Path};

use assistant_api::effects::Effect;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;
use crate::{clock::Clock, config::value::Seconds, daemon};

/// An open store with one job, whose status events the tests write by hand.
struct Place {
    dir: tempfile::TempDir,
    cx: Cx,
}

impl Place {
    async fn new(set: impl FnOnce(&Path, &mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        set(dir.path(), &mut config);
        let cx = daemon::idle(dir.path(), config, Clock::System);
        cx.store
            .write(|tx| {
                tx.execute(
                    "INSERT INTO jobs (id, thread_id, status, run_at, task_summary, created_at, updated_at) \
                     VALUES (7, 't', 'needs_review', 0, 'Tidy the reports', 0, 0)",
                    [],
                )?;
                Ok(())
            })
            .await
            .unwrap();
        // The first look only sets the cursor: what was before is nobody's news.
        catch_up(&cx, &[]).await.unwrap();
        Self { dir, cx }
    }

    async fn status(&self, data: Value) {
        let now = self.cx.clock.now();
        self.cx.store.write(move |tx| events::emit(tx, now, "job.status", Some(JobId(7)), &data)).await.unwrap();
    }

    async fn effects(&self) -> Vec<Effect> {
        self.cx.store.read(|conn| ledger::for_job(conn, JobId(7), 50)).await.unwrap()
    }

    fn received(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.dir.path().join("received")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A program that appends its standard input to `received`, and its environment to `environment`.
fn recorder(dir: &Path, more: &str) -> Vec<String> {
    let script = dir.join("hook.sh");
    let text =
        format!("#!/bin/sh\ncd '{}'\nenv > environment\ncat >> received\necho >> received\n{more}\n", dir.display());
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    vec![script.to_str().unwrap().to_owned()]
}

#[tokio::test]
async fn a_program_is_told_what_needs_a_person_and_nothing_else() {
    let place = Place::new(|dir, config| config.notify.command = recorder(dir, "")).await;
    place.status(json!({ "status": "running" })).await;
    place
        .status(json!({ "status": "needs_review", "reason": "which one?", "needs":
        { "what": "answer", "text": "which one?", "command": "assistantctl job answer 7 TEXT" } }))
        .await;
    place
        .status(json!({ "status": "needs_review", "reason": "day's budget", "needs":
        { "what": "budget", "text": "", "command": "" } }))
        .await;
    place.status(json!({ "status": "completed" })).await;
    place.status(json!({ "status": "failed", "reason": "gave up" })).await;
    catch_up(&place.cx, &[]).await.unwrap();

    let received = place.received();
    let kinds: Vec<_> = received.iter().map(|message| message["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["needs_review", "budget", "failed"]);
    assert_eq!(received[0]["job_id"], 7);
    assert_eq!(received[0]["subject"], "Tidy the reports");
    assert_eq!(received[0]["needs"]["command"], "assistantctl job answer 7 TEXT");
    assert_eq!(received[2]["reason"], "gave up");

    let effects = place.effects().await;
    assert_eq!(effects.len(), 3);
    assert!(effects.iter().all(|effect| effect.state == EffectState::Confirmed && effect.tool == "notify.command"));

    catch_up(&place.cx, &[]).await.unwrap();
    assert_eq!(place.received().len(), 3, "nobody is told twice");
}

#[tokio::test]
async fn the_environment_of_the_daemon_stays_with_it() {
    let place = Place::new(|dir, config| config.notify.command = recorder(dir, "")).await;
    place.status(json!({ "status": "failed" })).await;
    catch_up(&place.cx, &[]).await.unwrap();
    let environment = std::fs::read_to_string(place.dir.path().join("environment")).unwrap();
    let names: Vec<_> = environment.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    // PWD, OLDPWD, SHLVL and _ are the shell's own.
    assert!(names.iter().all(|name| ["PATH", "LANG", "PWD", "OLDPWD", "SHLVL", "_"].contains(name)), "{names:?}");
}

#[tokio::test]
async fn a_program_that_fails_is_tried_again_and_then_given_up() {
    let place = Place::new(|dir, config| config.notify.command = recorder(dir, "echo broken >&2; exit 3")).await;
    place.status(json!({ "status": "failed" })).await;
    catch_up(&place.cx, &[Duration::ZERO, Duration::ZERO]).await.unwrap();
    assert_eq!(place.received().len(), 3);
    let effect = place.effects().await.remove(0);
    assert_eq!(effect.state, EffectState::Failed);
    assert_eq!(effect.detail["attempts"], 3);
    assert!(effect.detail["reason"].as_str().unwrap().ends_with("exit status: 3: broken"), "{}", effect.detail);
}

#[tokio::test]
async fn a_program_that_is_not_there_is_not_tried_again() {
    let place = Place::new(|_, config| config.notify.command = vec!["/no/such/program".into()]).await;
    place.status(json!({ "status": "failed" })).await;
    catch_up(&place.cx, &[Duration::from_hours(1)]).await.unwrap();
    let effect = place.effects().await.remove(0);
    assert_eq!((effect.state, &effect.detail["attempts"]), (EffectState::Failed, &json!(1)));
    assert!(effect.detail["reason"].as_str().unwrap().starts_with("cannot start /no/such/program: "));
}

#[tokio::test]
async fn a_program_that_hangs_is_ended_with_everything_that_it_started() {
    let place = Place::new(|dir, config| {
        config.notify.command = recorder(dir, "sleep 1000 & echo $! > child; echo $$ > leader; wait");
        config.notify.timeout = Seconds::new(1);
    })
    .await;
    place.status(json!({ "status": "failed" })).await;
    catch_up(&place.cx, &[]).await.unwrap();
    let effect = place.effects().await.remove(0);
    assert!(effect.detail["reason"].as_str().unwrap().ends_with("did not end within 1 s"), "{}", effect.detail);
    for name in ["child", "leader"] {
        let pid = std::fs::read_to_string(place.dir.path().join(name)).unwrap();
        let begin = std::time::Instant::now();
        loop {
            // Gone, or a zombie that waits for its parent; a signal takes a moment on a busy machine.
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
            if stat.is_empty() || stat.contains(") Z ") {
                break;
            }
            assert!(begin.elapsed() < Duration::from_secs(10), "{name}: {stat}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn a_child_that_stays_behind_does_not_hold_the_end() {
    let place = Place::new(|dir, config| config.notify.command = recorder(dir, "sleep 1000 & exit 0")).await;
    place.status(json!({ "status": "failed" })).await;
    let begun = place.cx.clock.monotonic();
    catch_up(&place.cx, &[]).await.unwrap();
    assert!(place.cx.clock.monotonic() < begun + Duration::from_secs(10));
    assert_eq!(place.effects().await.remove(0).state, EffectState::Confirmed);
}

#[tokio::test]
async fn what_was_under_way_at_a_crash_is_sent_again_with_the_same_event_id() {
    let place = Place::new(|dir, config| config.notify.command = recorder(dir, "sleep 1000")).await;
    place.status(json!({ "status": "failed" })).await;
    let cut = tokio::time::timeout(Duration::from_millis(500), catch_up(&place.cx, &[])).await;
    assert!(cut.is_err(), "the daemon ends while the program runs");
    assert_eq!(place.effects().await.remove(0).state, EffectState::Dispatched, "the ledger knows of it");

    recorder(place.dir.path(), "");
    catch_up(&place.cx, &[]).await.unwrap();
    let received = place.received();
    assert_eq!(received.len(), 2);
    assert_eq!(received[0], received[1]);
}

#[tokio::test]
async fn whoever_is_named_later_hears_only_what_happens_from_then_on() {
    let place = Place::new(|_, _| {}).await;
    place.status(json!({ "status": "failed", "reason": "old" })).await;
    catch_up(&place.cx, &[]).await.unwrap();
    let mut config = Config::clone(&place.cx.config.load());
    config.notify.command = recorder(place.dir.path(), "");
    place.cx.config.store(config.into());
    catch_up(&place.cx, &[]).await.unwrap();
    place.status(json!({ "status": "failed", "reason": "new" })).await;
    catch_up(&place.cx, &[]).await.unwrap();
    let reasons: Vec<_> = place.received().iter().map(|message| message["reason"].clone()).collect();
    assert_eq!(reasons, ["new"]);
}

#[tokio::test]
async fn a_long_stretch_without_news_moves_the_cursor() {
    let place = Place::new(|dir, config| config.notify.command = recorder(dir, "")).await;
    let now = place.cx.clock.now();
    place
        .cx
        .store
        .write(move |tx| (0..events::BATCH + 5).try_for_each(|n| events::emit(tx, now, "job.log", None, &n).map(drop)))
        .await
        .unwrap();
    catch_up(&place.cx, &[]).await.unwrap();
    assert_eq!(
        place.cx.store.read(|conn| events::cursor(conn, Sending::NAME)).await.unwrap(),
        Some(EventId(i64::from(events::BATCH)))
    );
}

/// Answers each request with the next of `statuses`, and gives the bodies.
async fn server(statuses: &'static [u16]) -> (String, tokio::task::JoinHandle<Vec<Value>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook/secret-path?token=x", listener.local_addr().unwrap());
    #[expect(clippy::disallowed_methods, reason = "a counterpart, not part of the daemon")]
    let served = tokio::spawn(async move {
        let mut bodies = Vec::new();
        for status in statuses {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut text = String::new();
            let body = loop {
                let mut buffer = [0; 4096];
                let count = stream.read(&mut buffer).await.unwrap();
                text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length = head
                    .lines()
                    .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
                if Some(body.len()) == length {
                    break serde_json::from_str(body).unwrap();
                }
            };
            bodies.push(body);
            let reply = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(reply.as_bytes()).await.unwrap();
        }
        bodies
    });
    (url, served)
}

#[tokio::test]
async fn a_webhook_is_tried_again_after_an_error_of_the_server() {
    let (url, served) = server(&[503, 200]).await;
    let place = Place::new(|_, config| config.notify.webhook_url = Some(url.clone())).await;
    place.status(json!({ "status": "failed", "reason": "gave up" })).await;
    catch_up(&place.cx, &[Duration::ZERO]).await.unwrap();
    let bodies = served.await.unwrap();
    assert_eq!(bodies.len(), 2);
    assert_eq!(bodies[0], bodies[1]);
    assert_eq!(bodies[1]["kind"], "failed");
    let effect = place.effects().await.remove(0);
    assert_eq!((effect.state, &effect.detail["attempts"]), (EffectState::Confirmed, &json!(2)));
    assert_eq!(effect.tool, "notify.webhook");
    assert!(effect.target.starts_with("127.0.0.1:") && !effect.target.contains("secret"), "{}", effect.target);
}

#[tokio::test]
async fn a_webhook_that_refuses_is_not_tried_again() {
    let (url, served) = server(&[404]).await;
    let place = Place::new(|_, config| config.notify.webhook_url = Some(url)).await;
    place.status(json!({ "status": "failed" })).await;
    catch_up(&place.cx, &[Duration::from_hours(1)]).await.unwrap();
    served.await.unwrap();
    let effect = place.effects().await.remove(0);
    assert_eq!(effect.state, EffectState::Failed);
    let reason = effect.detail["reason"].as_str().unwrap();
    assert!(reason.contains("404") && !reason.contains("secret"), "{reason}");
}
