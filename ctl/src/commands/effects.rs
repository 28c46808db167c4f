use assistant_api::{
    EffectId, JobId,
    effects::{Effect, EffectList, EffectState, Resolve, Undone},
};
use serde_json::{Value, json};

use crate::{
    Cx,
    commands::job_id,
    exit::{Code, Result},
    output::{Table, cell, state},
    text,
};

/// List what jobs did that outlives them
///
/// Every such effect is written down before it happens. After a crash an effect
/// whose fate cannot be found out is `unknown` and waits for a person, who
/// looks and says what became of it with `effects resolve`.
#[derive(clap::Args)]
#[command(
    subcommand_negates_reqs = true,
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  assistantctl effects --job 7
  assistantctl effects --state unknown
  assistantctl effects resolve 12 confirmed
  assistantctl effects undo 13"
)]
pub struct Args {
    /// Only those of this job
    #[arg(long, value_name = "ID", value_parser = job_id)]
    job: Option<JobId>,
    /// Only in this state: prepared, dispatched, confirmed, failed, unknown
    #[arg(long)]
    state: Option<EffectState>,
    /// How many, 1 to 200
    #[arg(short = 'n', long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: u32,
    /// Where an earlier list ended
    #[arg(long)]
    cursor: Option<String>,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Say what became of an unknown effect
    ///
    /// For administrators.
    #[command(after_help = "Examples:
  assistantctl effects resolve 12 confirmed")]
    Resolve {
        /// The effect
        id: EffectId,
        /// What became of it: confirmed or failed
        #[arg(value_parser = settled)]
        state: EffectState,
    },
    /// Take the change of a file back
    ///
    /// What was written over, moved or deleted is as it was before; what was
    /// new lies in the trash. Only where nobody has changed it since.
    #[command(after_help = "Examples:
  assistantctl effects undo 12")]
    Undo {
        /// The effect
        id: EffectId,
    },
}

fn settled(text: &str) -> Result<EffectState, String> {
    match text.parse()? {
        state @ (EffectState::Confirmed | EffectState::Failed) => Ok(state),
        _ => Err("one of confirmed, failed".to_owned()),
    }
}

pub async fn run(args: Args, cx: &Cx) -> Result {
    if let Some(Verb::Resolve { id, state }) = args.verb {
        let reply: Value = cx.client.post(&format!("/api/effects/{id}/resolve"), &Resolve { state }).await?;
        if cx.out.json {
            cx.out.json(&reply)?;
        } else {
            cx.out.line(format!("effect {id} is {}", state.as_str()))?;
        }
        return Ok(Code::Ok);
    }
    if let Some(Verb::Undo { id }) = args.verb {
        let undone: Undone = cx.client.post(&format!("/api/effects/{id}/undo"), &json!({})).await?;
        if cx.out.json {
            cx.out.json(&undone)?;
        } else {
            cx.out.line(text::one_line(&undone.done))?;
        }
        return Ok(Code::Ok);
    }
    let request = cx.client.request("GET", "/api/effects").query("limit", args.limit);
    let request = request.maybe("job", args.job).maybe("state", args.state.map(EffectState::as_str));
    let list: EffectList = request.maybe("cursor", args.cursor).fetch().await?;
    if cx.out.json {
        cx.out.json(&json!({ "effects": list.effects, "next_cursor": list.next_cursor }))?;
        return Ok(Code::Ok);
    }
    table(cx, &list.effects, "no effects")?;
    if let Some(cursor) = list.next_cursor.filter(|_| cx.out.terminal) {
        cx.out.note(&format!("there are more: --cursor {}", text::one_line(&cursor)));
    }
    Ok(Code::Ok)
}

/// Prints effects, for a list and for a job.
pub fn table(cx: &Cx, effects: &[Effect], nothing: &str) -> Result<()> {
    let mut table = Table::new(&["ID", "JOB", "STATE", "AT", "TOOL", "TARGET"]);
    for effect in effects {
        table.row([
            cell(effect.id.to_string()),
            cell(effect.job_id.map_or_else(|| "-".to_owned(), |id| id.to_string())),
            state(effect.state.as_str()),
            cell(cx.out.when(effect.settled_at.or(effect.dispatched_at).unwrap_or(effect.prepared_at))),
            cell(&effect.tool),
            cell(&effect.target),
        ]);
    }
    cx.out.table(&table, nothing)
}
