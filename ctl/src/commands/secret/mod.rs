//! `assistantctl secret ...`: the credentials of the daemon's service.

mod list;

use std::{
    fs::File,
    io::{self, IsTerminal as _, Read as _},
    path::{Path, PathBuf},
};

use assistant_api::{
    secrets::{MAX_BYTES, SecretName, SecretSource, is_set},
    status::Status,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use crate::{
    Cx,
    credstore::{self, Credstore},
    exit::{Code, Failure, Result},
    host::Host,
    prompt::{self, Person as _, Terminal},
};

/// Secrets shorter than this are easily guessed.
const SHORT: usize = 12;

/// Keys and passwords of the daemon
///
/// They are encrypted for this machine by systemd-creds(1), lie in
/// /etc/credstore.encrypted, and only the daemon gets them, when it starts. This
/// needs root. A daemon that is started by hand has them from its environment.
#[derive(clap::Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:
  sudo assistantctl secret set openrouter-api-key
  sudo assistantctl secret list
  sudo assistantctl secret rm openrouter-api-key"
)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    Set(Set),
    List(list::List),
    Rm(Rm),
}

/// Store a secret, and restart the daemon so that it has it
///
/// The value is asked for without showing it, or read from the standard input
/// when that is no terminal; it is never an argument, which everybody could see.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  sudo assistantctl secret set openrouter-api-key
  sudo assistantctl secret set llm-api-key < key.txt
  sudo assistantctl secret set llm-api-key --generate")]
struct Set {
    /// Its name; assistantctl secret list names them all
    name: SecretName,
    /// Read the value from a file, or from the standard input: -
    #[arg(long, value_name = "FILE", conflicts_with = "generate")]
    file: Option<PathBuf>,
    /// Make a strong one, and print it once, for the other side
    #[arg(long)]
    generate: bool,
    #[command(flatten)]
    place: Place,
}

/// Remove a secret, and restart the daemon so that it is without it
#[derive(clap::Args)]
#[command(after_help = "Examples:
  sudo assistantctl secret rm openrouter-api-key
  sudo assistantctl secret rm llm-api-key --no-restart")]
struct Rm {
    /// Its name; assistantctl secret list names them all
    name: SecretName,
    #[command(flatten)]
    place: Place,
}

/// Where secrets are stored, and what follows.
#[derive(clap::Args)]
struct Place {
    /// Do not restart the daemon; it goes on with what it had
    #[arg(long)]
    no_restart: bool,
    /// Another directory, such as that of an image; nothing is restarted then
    #[arg(long, value_name = "DIR", default_value = credstore::DIR)]
    dir: PathBuf,
}

impl Place {
    fn store<'a>(&self, host: &'a Host) -> Credstore<'a> {
        Credstore { dir: self.dir.clone(), host }
    }

    fn restarts(&self, host: &Host) -> bool {
        !self.no_restart && host.service && self.dir == Path::new(credstore::DIR)
    }
}

pub async fn run(args: Args, cx: &Cx) -> Result {
    let host = Host::here();
    match args.verb {
        Verb::Set(args) => set(args, &host, cx).await,
        Verb::List(args) => list::run(args, &host, cx).await,
        Verb::Rm(args) => remove(args, &host, cx).await,
    }
}

async fn set(args: Set, host: &Host, cx: &Cx) -> Result {
    let (name, store) = (args.name, args.place.store(host));
    store.may_write()?;
    let value = if args.generate { generated()? } else { given(name, args.file.as_deref())? };
    if let Some(weakness) = weakness(&value)? {
        cx.out.note(&format!("warning: {weakness}"));
    }
    store.prepare(name, &value)?.commit()?;
    let path = store.path(name);
    let told = Told { name, restarts: args.place.restarts(host), elsewhere: !host.service, wanted: true };
    if !cx.out.json {
        cx.out.line(format!("{name} is stored in {}, encrypted for this machine", path.display()))?;
        if args.generate {
            cx.out.note("this is its value, shown once; give it to the other side:");
            cx.out.line(value.expose_secret())?;
        }
    }
    let seen = told.restart(host, cx).await?;
    if cx.out.json {
        let value = args.generate.then(|| value.expose_secret());
        cx.out.json(&json!({ "name": name.credential(), "file": path, "restarted": told.restarts, "seen": seen, "value": value }))?;
    }
    Ok(Code::Ok)
}

async fn remove(args: Rm, host: &Host, cx: &Cx) -> Result {
    let (name, store) = (args.name, args.place.store(host));
    if !store.remove(name)? {
        return Err(Failure::new(Code::NotFound, format!("{name} is not stored in {}", store.dir.display()))
            .hint("assistantctl secret list shows what is"));
    }
    let told = Told { name, restarts: args.place.restarts(host), elsewhere: !host.service, wanted: false };
    if !cx.out.json {
        cx.out.line(format!("{name} is removed"))?;
    }
    let seen = told.restart(host, cx).await?;
    if cx.out.json {
        cx.out.json(&json!({ "name": name.credential(), "restarted": told.restarts, "seen": seen }))?;
    }
    Ok(Code::Ok)
}

/// What follows a change.
struct Told {
    name: SecretName,
    restarts: bool,
    /// Whether there is no service here that would see it.
    elsewhere: bool,
    /// Whether the daemon shall have it.
    wanted: bool,
}

impl Told {
    /// Restarts the daemon and asks whether it has the secret now; null when it was not asked.
    async fn restart(&self, host: &Host, cx: &Cx) -> Result<Option<bool>> {
        let name = self.name;
        if !self.restarts {
            cx.out.note(&if self.elsewhere {
                format!("no service of systemd is here that would read it; by hand: set {} for assistantd", name.env())
            } else {
                "the daemon does not know yet: sudo systemctl restart assistantd".to_owned()
            });
            return Ok(None);
        }
        host.restart().map_err(|failure| {
            let (is, undo) = if self.wanted { ("stored", "rm") } else { ("removed", "set") };
            let hint = failure.hint.unwrap_or_default();
            Failure {
                message: format!("{name} is {is}, but the daemon did not start again: {}", failure.message),
                hint: None,
                ..failure
            }
            .hint(format!("{hint}; to go back: sudo assistantctl secret {undo} {name}"))
        })?;
        let status: Status = cx.client.get("/api/status").await?;
        let state = status.secrets.into_iter().find(|state| state.name == name.credential());
        let source = state.as_ref().and_then(|state| state.source);
        let problem = state.and_then(|state| state.problem);
        match (self.wanted, source) {
            (true, Some(SecretSource::Credential)) => cx.out.note("the daemon was restarted and has it"),
            (true, _) => {
                let why = problem.unwrap_or_else(|| "its unit does not load it: systemctl cat assistantd".to_owned());
                cx.out.note(&format!("warning: the daemon was restarted and does not have it: {why}"));
            }
            (false, None) => {
                cx.out.note("the daemon was restarted and is without it");
                if let Some(problem) = problem {
                    cx.out.note(&format!("warning: {problem}"));
                }
            }
            (false, Some(SecretSource::Environment)) => {
                cx.out.note(&format!("warning: the daemon still has it from its environment: {}", name.env()));
            }
            (false, Some(SecretSource::Credential)) => {
                cx.out.note("warning: the daemon still has it: systemctl cat assistantd says from where");
            }
        }
        Ok(Some(source == Some(SecretSource::Credential)))
    }
}

/// The value from a file, the standard input, or the person at the terminal.
fn given(name: SecretName, file: Option<&Path>) -> Result<SecretString> {
    match (file, Terminal::find()) {
        (Some(file), _) if file != Path::new("-") => read(File::open(file), file),
        (None, Some(mut terminal)) => terminal.ask_secret(&format!("{name} (not shown):")),
        (None, None) if io::stdin().is_terminal() => Err(Failure::usage("nobody can be asked for the value here")
            .hint("give it on the standard input: assistantctl secret set NAME < FILE")),
        _ => read(Ok(io::stdin()), Path::new("-")),
    }
}

/// Reads a secret from a file.
pub fn read_file(file: &Path) -> Result<SecretString> {
    if file == Path::new("-") { read(Ok(io::stdin()), file) } else { read(File::open(file), file) }
}

fn read(from: io::Result<impl io::Read>, file: &Path) -> Result<SecretString> {
    let mut bytes = Vec::with_capacity(MAX_BYTES + 1);
    let read = from.and_then(|from| from.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes));
    read.map_err(|err| Failure::file("reading", file, &err))?;
    if bytes.len() > MAX_BYTES {
        return Err(Failure::usage(format!("a secret has at most {MAX_BYTES} bytes")));
    }
    prompt::secret(bytes)
}

/// What is odd about a value; one that counts as none is refused.
pub fn weakness(value: &SecretString) -> Result<Option<&'static str>> {
    let value = value.expose_secret();
    if value.is_empty() {
        return Err(Failure::usage("the value is empty; nothing was done")
            .hint("to remove a secret: assistantctl secret rm NAME"));
    }
    if !is_set(value) {
        return Err(Failure::usage("the value is that of an example, which counts as none; nothing was done"));
    }
    Ok((value.len() < SHORT).then_some("it has under 12 characters, which is easily guessed; is that all of it?"))
}

/// 256 random bits as hexadecimal digits.
fn generated() -> Result<SecretString> {
    let mut halves = [[0; 16]; 2];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(halves.as_flattened_mut()))
        .map_err(|err| Failure::file("reading", Path::new("/dev/urandom"), &err))?;
    let [one, other] = halves.map(u128::from_ne_bytes);
    Ok(SecretString::from(format!("{one:032x}{other:032x}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_as_no_secret_is_refused_and_what_is_short_is_told() {
        for none in ["", "change-me", "replace-with-a-key"] {
            assert_eq!(weakness(&none.into()).unwrap_err().code, Code::Usage, "{none}");
        }
        assert!(weakness(&"short".into()).unwrap().is_some());
        assert_eq!(weakness(&"long enough to be one".into()).unwrap(), None);
        let [one, other] = [(); 2].map(|()| generated().unwrap());
        assert_eq!((one.expose_secret().len(), weakness(&one).unwrap()), (64, None));
        assert_ne!(one.expose_secret(), other.expose_secret());
    }
}
