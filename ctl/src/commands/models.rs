use std::time::Duration;

use assistant_api::status::{ModelTest, ModelTests};

use crate::{
    Cx,
    exit::{Code, Failure, Result},
    output::{Style, Table, cell, state},
    progress::Progress,
    text,
};

/// How long all models together may take.
const LIMIT: Duration = Duration::from_mins(10);

/// Try the configured models
#[derive(clap::Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:
  assistantctl models test"
)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
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
    let Verb::Test = args.verb;
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
