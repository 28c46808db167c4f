use std::path::{Path, PathBuf};

use assistant_api::{client, config::Reloaded};
use serde_json::json;
use toml_edit::Value;

use super::drop_in::{self, DropIn};
use crate::{
    Cx,
    exit::{Code, Failure, Result},
    text,
};

/// The drop-in that this command writes; nothing else does.
const FILE: &str = "50-local.toml";

/// Set a key
///
/// Writes it to conf.d/50-local.toml beside the configuration file, after the
/// result was checked, and has the running daemon read it. Comments in that
/// file stay. Values are TOML; what is not, is taken as text. Secrets do not
/// belong there and are refused.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assistantctl config set llm.model gpt-5-mini
  assistantctl config set jobs.workers 2
  assistantctl config set retention.trash_days '\"14d\"'")]
pub struct Set {
    /// The key, such as limits.max_iterations_per_task
    key: String,
    /// Its value
    #[arg(allow_hyphen_values = true)]
    value: String,
    /// The configuration file [default: the daemon's]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub async fn run(args: Set, cx: &Cx) -> Result {
    refuse_secrets(&args.key, &args.value)?;
    let file = DropIn::new(&drop_in::main_file(args.config, cx).await?, FILE);
    let new = file.edit(&file.read()?, [(args.key.as_str(), Some(value(&args.value)))])?;
    file.check(&new).map_err(|failure| match failure.hint {
        Some(_) => failure,
        None => failure.hint("nothing was changed"),
    })?;
    file.prepare(&new)?.commit()?;
    let reloaded = cx.client.request("POST", "/api/reload").fetch::<Reloaded>().await;
    told(cx, &args.key, file.path(), reloaded)
}

/// What is no TOML is taken as text, and so is a date, which no key has.
fn value(text: &str) -> Value {
    match text.parse() {
        Ok(Value::Datetime(_)) | Err(_) => text.into(),
        Ok(value) => value,
    }
}

fn told(cx: &Cx, key: &str, file: &Path, reloaded: Result<Reloaded, client::Error>) -> Result {
    let in_force = reloaded.as_ref().is_ok_and(|done| !done.restart.iter().any(|restart| restart == key));
    if cx.out.json {
        cx.out.json(&json!({ "key": key, "file": file, "in_force": in_force, "reloaded": reloaded.as_ref().ok() }))?;
        return Ok(Code::Ok);
    }
    cx.out.line(format!("{} is set in {}", text::one_line(key), file.display()))?;
    match reloaded {
        Ok(done) => {
            if !in_force {
                cx.out.note("it takes effect when the daemon starts again: sudo systemctl restart assistantd");
            }
            done.warnings.iter().for_each(|warning| cx.out.note(&format!("warning: {warning}")));
        }
        Err(err) if err.is_unreachable() => cx.out.note("the daemon is not running; it will read it when it starts"),
        Err(err) => {
            cx.out.note(&format!("warning: the daemon has not read it yet: {err}"));
            cx.out.note("have it done by: sudo assistantctl reload");
        }
    }
    Ok(Code::Ok)
}

fn refuse_secrets(key: &str, value: &str) -> Result<()> {
    let last = key.rsplit('.').next().unwrap_or_default().to_lowercase();
    let secret = |word: &str| {
        matches!(word, "key" | "secret" | "password" | "passphrase" | "token" | "credential" | "credentials" | "apikey")
    };
    let is_key = last.split(['_', '-']).any(secret);
    let is_value = ["sk-", "Bearer ", "xox", "ghp_"].iter().any(|start| value.trim_matches('"').starts_with(start));
    if !is_key && !is_value {
        return Ok(());
    }
    Err(Failure::usage(format!("{key} looks like a secret, and secrets do not belong in the configuration")).hint(
        "give it to the service as a credential: sudo assistantctl secret set NAME\n\
         (assistantctl secret list names them), or set OPENROUTER_API_KEY where the\n\
         daemon is started by hand",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_toml_is_text() {
        for (typed, written) in [
            ("80", "80"),
            ("[1, 2]", "[1, 2]"),
            ("gpt-5", "\"gpt-5\""),
            ("5m", "\"5m\""),
            ("2026-01-01", "\"2026-01-01\""),
        ] {
            assert_eq!(value(typed).to_string(), written);
        }
    }

    #[test]
    fn secrets_are_refused() {
        for (key, value) in
            [("llm.api_key", "x"), ("notify.webhook-secret", "x"), ("llm.model", "\"sk-abc\""), ("OPENAI_API_KEY", "x")]
        {
            assert_eq!(refuse_secrets(key, value).unwrap_err().code, Code::Usage, "{key}");
        }
        for key in ["limits.max_tokens_per_task", "llm.model", "api.max_upload_bytes"] {
            assert!(refuse_secrets(key, "5").is_ok(), "{key}");
        }
    }
}
