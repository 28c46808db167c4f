//! Does what was planned, step by step. What fails says what stands, what does not, and how to go on.

use std::time::Duration;

use assistant_api::{
    client,
    config::Reloaded,
    secrets::SecretName,
    status::{ModelTest, Status},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::{
    plan::Plan,
    present::{Present, USERS},
};
use crate::{
    Cx,
    commands::{config::drop_in::DropIn, models, web},
    credstore::Credstore,
    exit::{Code, Failure, Result},
    host::Host,
    output::Style,
    password, text,
};

/// Where it is done.
pub struct Place<'a> {
    pub file: DropIn,
    /// Missing where there is no service.
    pub credstore: Option<Credstore<'a>>,
    pub host: &'a Host,
    /// Whether the models are to be called.
    pub test: bool,
    pub root: bool,
}

/// What was done so far, and what is still to do.
struct Steps<'a> {
    cx: &'a Cx,
    done: Vec<String>,
    open: Vec<&'static str>,
}

const CONFIG: &str = "the configuration";
const SECRET: &str = "the secrets";
const GROUPS: &str = "the groups";
const DAEMON: &str = "the daemon with what is new";
const PASSWORD: &str = "the password of the dashboard";
const CALL: &str = "a call to the model";

impl Steps<'_> {
    fn done(&mut self, step: &'static str, told: String) -> Result<()> {
        self.open.retain(|open| *open != step);
        if !self.cx.out.json {
            self.cx.out.line(format!("{}  {told}", self.cx.out.style(Style::Good, "ok")))?;
        }
        self.done.push(told);
        Ok(())
    }

    /// A failure with what stands and what does not.
    fn stopped(&self, failure: Failure) -> Failure {
        let stands = if self.done.is_empty() { "nothing new".to_owned() } else { self.done.join("; ") };
        let go_on = failure.hint.as_deref().unwrap_or("mend that and run assistantctl setup again");
        let hint = format!("what stands: {stands}\nwhat does not: {}\nto go on: {go_on}", self.open.join(", "));
        Failure { hint: Some(hint.into()), ..failure }
    }
}

/// Writes, joins, restarts, calls.
pub async fn apply(plan: Plan, place: &Place<'_>, present: &Present, cx: &Cx) -> Result {
    let mut steps = Steps { cx, done: Vec::new(), open: vec![CONFIG, SECRET, GROUPS, DAEMON] };
    if plan.keys.is_empty() {
        steps.open.retain(|open| *open != CONFIG);
    }
    if plan.secrets.is_empty() {
        steps.open.retain(|open| *open != SECRET);
    }
    if plan.groups.is_empty() {
        steps.open.retain(|open| *open != GROUPS);
    }
    if plan.web_password {
        steps.open.push(PASSWORD);
    }
    if place.test {
        steps.open.push(CALL);
    }
    plan.notes.iter().for_each(|note| cx.out.note(note));
    write(&plan, place, &mut steps).map_err(|failure| steps.stopped(failure))?;
    join(&plan, place, present, &mut steps).map_err(|failure| steps.stopped(failure))?;
    let runs = follow(&plan, place, present.unseen, &mut steps).await.map_err(|failure| steps.stopped(failure))?;
    let password = if plan.web_password {
        Some(lock(runs, &mut steps).await.map_err(|failure| steps.stopped(failure))?)
    } else {
        None
    };
    let tests = if place.test && runs && plan.by_hand.is_none() {
        call(&mut steps).await.map_err(|failure| steps.stopped(failure))?
    } else {
        Vec::new()
    };
    the_end(&plan, present, runs, &steps, &End { tests, password })
}

/// Both are prepared before the first is put in its place, so that what can fail fails before anything has changed.
fn write(plan: &Plan, place: &Place<'_>, steps: &mut Steps<'_>) -> Result<()> {
    let file = if plan.keys.is_empty() {
        None
    } else {
        let keys = plan.keys.iter().map(|(key, value)| (*key, value.clone()));
        let new = place.file.edit(&place.file.read()?, keys)?;
        place.file.check(&new)?;
        Some(place.file.prepare(&new)?)
    };
    let mut secrets = Vec::new();
    if let Some(store) = &place.credstore {
        for (name, value) in &plan.secrets {
            secrets.push((*name, store.path(*name), store.prepare(*name, value)?));
        }
    }
    for (name, path, secret) in secrets {
        secret.commit()?;
        steps.done(SECRET, format!("{name} is in {}, encrypted for this machine", path.display()))?;
    }
    if let Some(file) = file {
        file.commit()?;
        let keys: Vec<_> = plan.keys.iter().map(|(key, _)| *key).collect();
        steps.done(CONFIG, format!("{} has {}", place.file.path().display(), keys.join(", ")))?;
    }
    Ok(())
}

fn join(plan: &Plan, place: &Place<'_>, present: &Present, steps: &mut Steps<'_>) -> Result<()> {
    let Some(user) = present.user.as_deref().filter(|_| !plan.groups.is_empty()) else { return Ok(()) };
    let groups = plan.groups.join(",");
    let by_hand = format!("sudo usermod -aG {groups} {user}");
    if !place.root {
        steps.open.retain(|open| *open != GROUPS);
        steps.cx.out.note(&format!("only root can put users into groups: {by_hand}"));
        return Ok(());
    }
    place
        .host
        .run("usermod", ["-aG", groups.as_str(), user], b"")
        .map_err(|failure| failure.hint(format!("{by_hand}, then assistantctl setup again")))?;
    steps.done(GROUPS, format!("{user} is in {}", plan.groups.join(", ")))
}

/// Has the daemon see what is new. Says whether one runs.
async fn follow(plan: &Plan, place: &Place<'_>, unseen: bool, steps: &mut Steps<'_>) -> Result<bool> {
    let cx = steps.cx;
    // A restart interrupts what runs; only new secrets need one.
    if place.credstore.is_none() || (plan.secrets.is_empty() && !unseen) {
        match cx.client.request("POST", "/api/reload").fetch::<Reloaded>().await {
            Ok(_) => {
                return steps.done(DAEMON, "the daemon has read its configuration".to_owned()).map(|()| true);
            }
            Err(err) if place.credstore.is_none() && err.is_unreachable() => return Ok(false),
            Err(err) if place.credstore.is_none() => return Err(Failure::from(err)),
            Err(_) => {}
        }
    }
    place.host.restart().map_err(|failure| {
        let hint = failure.hint.clone().unwrap_or_default();
        failure.hint(format!("{hint}; then sudo assistantctl setup again, or sudo systemctl restart assistantd"))
    })?;
    let status = status(cx).await?;
    for (name, _) in &plan.secrets {
        seen(*name, &status)?;
    }
    steps.done(DAEMON, "the daemon was restarted".to_owned())?;
    Ok(true)
}

/// Asks the daemon that has just started. A connection that ended with the former process is still believed in until it
/// has failed once.
async fn status(cx: &Cx) -> Result<Status> {
    let ask = || cx.client.request("GET", "/api/status").timeout(Some(Duration::from_secs(30))).fetch();
    for _ in 0..3 {
        match ask().await {
            Err(client::Error::Lost(_)) => {}
            other => return Ok(other?),
        }
    }
    Ok(ask().await?)
}

fn seen(name: SecretName, status: &Status) -> Result<()> {
    let state = status.secrets.iter().find(|state| state.name == name.credential());
    if state.is_some_and(|state| state.source.is_some()) {
        return Ok(());
    }
    let why = state.and_then(|state| state.problem.clone()).unwrap_or_else(|| "its unit does not load it".to_owned());
    Err(Failure::new(Code::Config, format!("the daemon was restarted and does not have {name}: {why}"))
        .hint("systemctl cat assistantd shows what it loads; sudo assistantctl secret list what is stored"))
}

/// Makes the password with which people log in. It is told at once: what fails later must not lose it.
async fn lock(runs: bool, steps: &mut Steps<'_>) -> Result<SecretString> {
    if !runs {
        return Err(Failure::new(Code::Unreachable, "no daemon runs that could take a password")
            .hint("start it, then assistantctl web password --generate"));
    }
    let password = password::generate()?;
    web::set_password(steps.cx, &password).await?;
    steps.done(PASSWORD, "the dashboard has a new password, and every browser is logged out".to_owned())?;
    if !steps.cx.out.json {
        steps.cx.out.line(format!("    shown this once: {}", password.expose_secret()))?;
    }
    Ok(password)
}

/// One real call to each model; the main one has to answer.
async fn call(steps: &mut Steps<'_>) -> Result<Vec<ModelTest>> {
    let cx = steps.cx;
    let tests = models::test(cx).await?.models;
    let Some(main) = tests.first() else {
        return Err(Failure::new(Code::Config, "no model is configured").hint("assistantctl setup --provider NAME"));
    };
    if !main.ok {
        let why = text::one_line(main.problem.as_deref().unwrap_or("no reason given"));
        let what = format!("the model {} at {} did not answer: {why}", main.model, main.host);
        return Err(Failure::new(Code::Failed, what).hint(
            "sudo assistantctl setup again with another key, model or address; assistantctl models test calls it anew",
        ));
    }
    if main.tools == Some(false) {
        cx.out.note(&format!("warning: {} cannot use tools; name another with --model", text::one_line(&main.model)));
    }
    for other in tests.iter().skip(1).filter(|other| !other.ok) {
        let why = text::one_line(other.problem.as_deref().unwrap_or("no reason given"));
        cx.out.note(&format!("warning: the {} model {} did not answer: {why}", other.role, other.model));
    }
    let time = main.latency_ms.map(text::millis).unwrap_or_default();
    steps.done(CALL, format!("{} at {} answered in {time}", text::one_line(&main.model), main.host))?;
    Ok(tests)
}

/// What programs are told of at the end.
struct End {
    tests: Vec<ModelTest>,
    password: Option<SecretString>,
}

fn the_end(plan: &Plan, present: &Present, runs: bool, steps: &Steps<'_>, end: &End) -> Result {
    let cx = steps.cx;
    let mut next = Vec::new();
    if !runs {
        next.extend(plan.by_hand.map(|secret| {
            let name = secret.env();
            format!("read -rs {name} && export {name}     # type the key; it is not shown")
        }));
        next.push("assistantd     # in another terminal, or with & behind it".to_owned());
    } else if let Some(secret) = plan.by_hand {
        next.push(format!(
            "{}=... assistantd     # instead of the daemon that runs now, which has no key",
            secret.env()
        ));
    }
    if plan.groups.contains(&USERS) {
        next.push("newgrp assistant-users     # or log in again: groups count from then on".to_owned());
    }
    next.push("assistantctl submit \"Say hello, and what you can do for me\" --follow".to_owned());
    if cx.out.json {
        cx.out.json(&json!({
            "changed": plan.changes(), "done": steps.done, "user": present.user, "groups": plan.groups,
            "running": runs, "models": end.tests, "notes": plan.notes, "next": next,
            "web_password": end.password.as_ref().map(ExposeSecret::expose_secret),
        }))?;
        return Ok(Code::Ok);
    }
    cx.out.line("\nNext:")?;
    next.iter().try_for_each(|command| cx.out.line(format!("  {command}")))?;
    Ok(Code::Ok)
}
