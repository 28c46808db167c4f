use std::{path::PathBuf, time::Duration};

use assistant_api::{
    secrets::{SecretName, SecretSource, SecretState},
    status::Status,
};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use crate::{
    Cx,
    credstore::{self, Credstore},
    exit::{Code, Result},
    host::Host,
    output::{Style, Table, cell},
    text,
};

/// How long the daemon has to say what it has.
const PATIENCE: Duration = Duration::from_secs(3);

/// Show which secrets there are, and which of them the daemon has
///
/// Never a value. Only root can look where they are stored; everybody else is
/// told what the daemon says.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  sudo assistantctl secret list
  sudo assistantctl secret list -o json")]
pub struct List {
    /// Another directory, such as that of an image
    #[arg(long, value_name = "DIR", default_value = credstore::DIR)]
    dir: PathBuf,
}

/// How a secret is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Stored {
    No,
    Encrypted,
    /// It is there, and this machine cannot decrypt it: the service does not start with it.
    Undecryptable,
    /// The caller may not look.
    Unknown,
}

/// One secret.
#[derive(Debug, Serialize)]
struct Secret {
    name: &'static str,
    purpose: String,
    /// Its name in the environment of a daemon that is started by hand.
    environment: &'static str,
    stored: Stored,
    stored_at: Option<Timestamp>,
    /// Since when the daemon has had this value.
    since: Option<Timestamp>,
    /// Where the daemon has it from.
    daemon: Option<SecretSource>,
    /// Whether the daemon has started since it was stored or removed.
    seen: Option<bool>,
    problem: Option<String>,
}

pub async fn run(args: List, host: &Host, cx: &Cx) -> Result {
    let store = Credstore { dir: args.dir, host };
    // Where the service does not start, its socket still takes requests and nobody answers.
    let status = cx.client.request("GET", "/api/status").timeout(Some(PATIENCE)).fetch::<Status>().await;
    let secrets: Vec<Secret> = SecretName::ALL.iter().map(|name| secret(*name, &store, status.as_ref().ok())).collect();
    if cx.out.json {
        cx.out.json(&json!({ "secrets": secrets }))?;
        return Ok(Code::Ok);
    }
    let mut table = Table::new(&["NAME", "STORED", "SET", "DAEMON", "NOTE"]);
    for secret in &secrets {
        let daemon = match (secret.daemon, secret.seen) {
            (_, Some(false)) => ("not yet".into(), Style::Attention),
            (Some(SecretSource::Credential), _) => cell("has it"),
            (Some(SecretSource::Environment), _) => ("from environment".into(), Style::Attention),
            (None, _) if status.is_err() => cell("?"),
            (None, _) => cell("-"),
        };
        table.row([
            cell(secret.name),
            match secret.stored {
                Stored::No => cell("-"),
                Stored::Encrypted => cell("encrypted"),
                Stored::Undecryptable => ("undecryptable".into(), Style::Bad),
                Stored::Unknown => cell("?"),
            },
            cell(secret.stored_at.or(secret.since).map_or_else(|| "-".to_owned(), |at| cx.out.when(at))),
            daemon,
            cell(text::one_line(secret.problem.as_deref().unwrap_or(&secret.purpose))),
        ]);
    }
    cx.out.table(&table, "there are none")?;
    if let Err(err) = status {
        cx.out.note(&format!("the daemon was not asked: {err}"));
    }
    if secrets.iter().any(|secret| secret.stored == Stored::Unknown) {
        cx.out.note("only root can look where they are stored: sudo assistantctl secret list");
    }
    Ok(Code::Ok)
}

fn secret(name: SecretName, store: &Credstore<'_>, status: Option<&Status>) -> Secret {
    let state = status.and_then(|status| status.secrets.iter().find(|state| state.name == name.credential()));
    let (daemon, since) = (state.and_then(|state| state.source), state.and_then(|state| state.since));
    let mut problem = state.and_then(|state: &SecretState| state.problem.clone());
    let (stored, stored_at) = match store.stored(name) {
        Err(_) => (Stored::Unknown, None),
        Ok(None) => (Stored::No, None),
        Ok(Some(at)) => match store.decrypts(name) {
            Ok(()) => (Stored::Encrypted, Some(at)),
            Err(failure) => {
                problem = Some(format!(
                    "{}; the daemon cannot start: assistantctl secret set {name}, or secret rm {name}",
                    failure.message
                ));
                (Stored::Undecryptable, Some(at))
            }
        },
    };
    let seen = match (stored, daemon, status) {
        (_, _, None) | (Stored::Unknown, ..) => None,
        (Stored::No, daemon, _) => Some(daemon != Some(SecretSource::Credential)),
        (_, daemon, Some(status)) => {
            Some(daemon == Some(SecretSource::Credential) && stored_at.is_none_or(|at| at <= status.started_at))
        }
    };
    let purpose = name.doc().iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
    Secret {
        name: name.credential(),
        purpose,
        environment: name.env(),
        stored,
        stored_at,
        since,
        daemon,
        seen,
        problem,
    }
}
