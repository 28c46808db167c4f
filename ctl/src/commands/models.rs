use std::time::Duration;

use assistant_api::status::{Model, ModelTest, ModelTests, Models};

use crate::{
    Cx,
    exit::{Code, Failure, Result},
    output::{Style, Table, cell, state},
    progress::Progress,
    text,
};

/// How long all models together may take.
const LIMIT: Duration = Duration::from_mins(10);

/// Show and try the configured models
#[derive(clap::Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:
  assistantctl models list
  assistantctl models test"
)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Show each model with its last answer and its last failures
    ///
    /// Nothing is sent to them. A model that failed too often in a row is left
    /// alone for a while (llm.circuit_failures, llm.circuit_cooldown).
    #[command(after_help = "Examples:
  assistantctl models list
  assistantctl models list -o json")]
    List,
    /// Make one real call to each model
    ///
    /// Shows how long it took, whether the model can use tools, and what it
    /// costs. The exit code is 0 if every model answered.
    #[command(after_help = "Examples:
  assistantctl models test
  assistantctl models test -o json")]
    Test,
}

pub async fn run(args: Args, cx: &Cx) -> Result {
    match args.verb {
        Verb::List => list(cx).await,
        Verb::Test => try_them(cx).await,
    }
}

async fn list(cx: &Cx) -> Result {
    let found: Models = cx.client.get("/api/models").await?;
    if cx.out.json {
        cx.out.json(&found)?;
        return Ok(Code::Ok);
    }
    let mut table = Table::new(&["MODEL", "NAME", "HOST", "STATE", "ANSWERED", "TIME", "FAILURES", "NOTE"]);
    for model in &found.models {
        let failures: u64 = model.failures.values().sum();
        table.row([
            cell(&model.role),
            cell(&model.model),
            cell(&model.host),
            match (model.paused_seconds, &model.problem) {
                (Some(_), _) => ("left alone".into(), Style::Bad),
                (None, Some(_)) => state("failed"),
                (None, None) => state("ok"),
            },
            cell(model.last_answer.map_or_else(|| "-".to_owned(), |answer| cx.out.when(answer.at))),
            cell(model.last_answer.map_or_else(|| "-".to_owned(), |answer| text::millis(answer.latency_ms))),
            cell(failures.to_string()),
            cell(text::one_line(model.problem.as_deref().unwrap_or_default())),
        ]);
    }
    cx.out.table(&table, "no model is configured; assistantctl doctor")?;
    for model in &found.models {
        failures(cx, model)?;
    }
    Ok(Code::Ok)
}

/// The last failures of a model.
fn failures(cx: &Cx, model: &Model) -> Result<()> {
    if !model.recent_failures.is_empty() {
        cx.out.line(format!(
            "\nlast failures of {} ({}):",
            text::one_line(&model.model),
            text::one_line(&model.role)
        ))?;
    }
    for failure in &model.recent_failures {
        let (kind, reason) = (text::one_line(&failure.kind), text::one_line(&failure.reason));
        cx.out.line(format!("  {}  {kind}: {reason}", cx.out.when(failure.at)))?;
    }
    Ok(())
}

async fn try_them(cx: &Cx) -> Result {
    let tests = test(cx).await?;
    if tests.models.is_empty() {
        return Err(Failure::new(Code::Config, "no model is configured").hint("assistantctl doctor"));
    }
    let code = if tests.models.iter().all(|model| model.ok) { Code::Ok } else { Code::Failed };
    if cx.out.json {
        cx.out.json(&tests)?;
        return Ok(code);
    }
    let mut table = Table::new(&["MODEL", "NAME", "HOST", "STATE", "TIME", "TOOLS", "PRICE", "NOTE"]);
    for model in &tests.models {
        table.row([
            cell(&model.role),
            cell(&model.model),
            cell(&model.host),
            state(if model.ok { "ok" } else { "failed" }),
            cell(model.latency_ms.map_or_else(|| "-".to_owned(), text::millis)),
            match model.tools {
                Some(true) => cell("yes"),
                Some(false) => ("no".into(), Style::Bad),
                None => cell("-"),
            },
            cell(price(model)),
            cell(model.problem.as_deref().unwrap_or_default()),
        ]);
    }
    cx.out.table(&table, "no models")?;
    Ok(code)
}

/// Has the daemon call every model.
pub async fn test(cx: &Cx) -> Result<ModelTests> {
    let mut progress = Progress::new(cx);
    let request = cx.client.request("POST", "/api/models/test").timeout(Some(LIMIT));
    let mut call = std::pin::pin!(request.fetch());
    loop {
        progress.draw("calling the models");
        tokio::select! {
            tests = &mut call => return Ok(tests?),
            () = progress.tick() => {}
        }
    }
}

/// US dollars per million tokens, in and out.
fn price(model: &ModelTest) -> String {
    match model.price {
        Some(price) if price.input == 0.0 && price.output == 0.0 => "free".to_owned(),
        Some(price) => format!("${}/{} per M", price.input, price.output),
        None => "unknown".to_owned(),
    }
}
