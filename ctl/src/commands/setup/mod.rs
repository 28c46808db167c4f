//! `assistantctl setup`: from a fresh installation to a daemon whose model answers.

mod apply;
mod plan;
mod present;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use self::{plan::Plan, present::Present};
use crate::{
    Cx,
    commands::config::drop_in::{self, DropIn},
    credstore::{self, Credstore},
    exit::{Code, Failure, Result},
    host::Host,
    progress,
    prompt::{Person, Terminal},
};

/// The drop-in that this command writes; nothing else does.
const FILE: &str = "10-setup.toml";

/// Set up the daemon of this machine
///
/// Asks which models work, for the key, for mail addresses and who may use it;
/// what an option says is not asked. It writes conf.d/10-setup.toml beside the
/// configuration file and keys and passwords as encrypted credentials, restarts the daemon
/// and makes one real call to the model. Run it again to change something: what
/// is not told stays as it is.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  sudo assistantctl setup
  sudo assistantctl setup --provider openrouter --key-file key.txt --yes
  sudo assistantctl setup --provider ollama --model qwen3:8b --yes
  sudo assistantctl setup --provider openai --base-url http://10.0.0.7:8080/v1
  sudo assistantctl setup --imap-host imap.example.org --yes
  sudo assistantctl setup --admin --work
  sudo assistantctl setup --web-password --yes")]
pub struct Args {
    #[command(flatten)]
    models: ModelArgs,
    #[command(flatten)]
    mail: MailArgs,
    #[command(flatten)]
    people: PeopleArgs,
    /// Make a strong password for the dashboard on the network, and show it once
    #[arg(long)]
    web_password: bool,
    /// Ask nothing: what no option tells stays as it is
    #[arg(long)]
    yes: bool,
    /// Make no call to the model at the end
    #[arg(long)]
    no_test: bool,
    /// The configuration file [default: the daemon's]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(clap::Args, Default)]
struct ModelArgs {
    /// Whose models work
    #[arg(long, value_name = "NAME", value_parser = plan::PROVIDERS.map(|provider| provider.name))]
    provider: Option<String>,
    /// Where the API is, if not at the provider's own address
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// The model [default: the provider's]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Read the key from a file, or from the standard input: -
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

#[derive(clap::Args, Default)]
struct MailArgs {
    /// Your name, as the assistant knows you
    #[arg(long, value_name = "NAME")]
    admin_name: Option<String>,
    /// Your mail address
    #[arg(long, value_name = "ADDRESS")]
    admin_address: Option<String>,
    /// The assistant's own mail address
    #[arg(long, value_name = "ADDRESS")]
    mail_address: Option<String>,
    /// Where its mail is received
    #[arg(long, value_name = "HOST")]
    imap_host: Option<String>,
    /// The port there
    #[arg(long, value_name = "PORT")]
    imap_port: Option<String>,
    /// The user there
    #[arg(long, value_name = "USER")]
    imap_user: Option<String>,
    /// Read the password there from a file, or from the standard input: -
    #[arg(long, value_name = "FILE")]
    imap_password_file: Option<PathBuf>,
    /// Whose mail makes jobs, once it is proved to be theirs; may be given more than once [default: yours]
    #[arg(long, value_name = "ADDRESS")]
    actionable_sender: Vec<String>,
    /// Where its mail is sent
    #[arg(long, value_name = "HOST")]
    smtp_host: Option<String>,
    /// The port there
    #[arg(long, value_name = "PORT")]
    smtp_port: Option<String>,
    /// The user there
    #[arg(long, value_name = "USER")]
    smtp_user: Option<String>,
    /// Read the password there from a file, if it is another one
    #[arg(long, value_name = "FILE")]
    smtp_password_file: Option<PathBuf>,
}

#[derive(clap::Args, Default)]
struct PeopleArgs {
    /// Who is let in [default: who called sudo]
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Let this user administer the daemon, too: group assistant-admin
    #[arg(long)]
    admin: bool,
    /// Let this user at the files of the workspace: group assistant-work
    #[arg(long)]
    work: bool,
}

pub async fn run(args: Args, cx: &Cx) -> Result {
    let host = Host::here();
    let root = nix::unistd::geteuid().is_root();
    if host.service && !root && args.config.is_none() && !cx.named {
        return Err(Failure::new(Code::Denied, "only root can set up the service").hint("sudo assistantctl setup"));
    }
    let config = drop_in::main_file(args.config.clone(), cx).await?;
    // A daemon that was started by hand reads no credentials and is nobody's service.
    let service = host.service && root && config == Path::new("/etc/assistant/assistant.toml");
    let credstore = service.then(|| Credstore { dir: credstore::DIR.into(), host: &host });
    let file = DropIn::new(&config, FILE);
    let user = user(args.people.user.as_deref())?;
    let present = Present::find(cx, &file, credstore.as_ref(), user).await?;

    let mut terminal = if args.yes { None } else { Terminal::find() };
    let person = terminal.as_mut().map(|terminal| terminal as &mut dyn Person);
    if !service {
        let why = if host.service { "This daemon is no service" } else { "There is no service of systemd here" };
        progress::tell(&format!(
            "{why}: its configuration is written; secrets and restarts are yours, as the end says."
        ));
    }
    let no_test = args.no_test;
    let plan = Plan::make(args, &present, person)?;
    apply::apply(plan, &apply::Place { file, credstore, host: &host, test: !no_test, root }, &present, cx).await
}

/// The person who is to be let in.
fn user(named: Option<&str>) -> Result<Option<String>> {
    let sudo = std::env::var("SUDO_USER").ok().filter(|user| !user.is_empty() && user != "root");
    let Some(user) = named.map(str::to_owned).or(sudo) else { return Ok(None) };
    match nix::unistd::User::from_name(&user) {
        Ok(Some(_)) => Ok(Some(user)),
        _ => Err(Failure::new(Code::NotFound, format!("there is no user {user}")).hint("name one with --user")),
    }
}
