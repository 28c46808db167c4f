//! `assistantctl job ...`: one job.

mod show;
mod verbs;
mod wait;

use assistant_api::JobId;

use crate::{Cx, commands::job_id, exit::Result};

/// Look at one job, or change it
#[derive(clap::Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:
  assistantctl job show 7
  assistantctl job logs 7 -f
  assistantctl job answer 7 \"the second one\""
)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    Show(show::Show),
    Logs(show::Logs),
    Wait(wait::Args),
    Cancel(verbs::Cancel),
    Requeue(verbs::Requeue),
    Instruct(verbs::Instruct),
    Answer(verbs::Answer),
    Approve(verbs::Approve),
    Deny(verbs::Deny),
    Review(verbs::Review),
    Erase(verbs::Erase),
}

/// The job that is meant.
#[derive(clap::Args)]
struct Which {
    /// The job's id, as `assistantctl jobs` shows it
    #[arg(value_parser = job_id)]
    id: JobId,
}

pub async fn run(args: Args, cx: &Cx) -> Result {
    match args.verb {
        Verb::Show(args) => show::show(args, cx).await,
        Verb::Logs(args) => show::logs(args, cx).await,
        Verb::Wait(args) => wait::run(args, cx).await,
        Verb::Cancel(args) => verbs::cancel(args, cx).await,
        Verb::Requeue(args) => verbs::requeue(args, cx).await,
        Verb::Instruct(args) => verbs::instruct(args, cx).await,
        Verb::Answer(args) => verbs::answer(args, cx).await,
        Verb::Approve(args) => verbs::approve(args, cx).await,
        Verb::Deny(args) => verbs::deny(args, cx).await,
        Verb::Review(args) => verbs::review(args, cx).await,
        Verb::Erase(args) => verbs::erase(args, cx).await,
    }
}
