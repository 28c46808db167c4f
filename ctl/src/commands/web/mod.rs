mod listen;

use std::io::{self, Read as _};

use assistant_api::{
    client,
    login::{PasswordRequest, WebStatus},
    status::{Listening, Status},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use crate::{
    Cx,
    exit::{Code, Failure, Result},
    password::generate,
    prompt::{self, Person as _, Terminal},
};

/// Bytes that are read of a password.
const MOST: u64 = 4096;

/// Who may come in over the network
///
/// The daemon listens on the network only where it is told to: web enable. People log in there with the password,
/// programs with a token: assistantctl token.
#[derive(clap::Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:
  assistantctl web enable --bind 192.168.1.50:8000
  assistantctl web password
  assistantctl web status
  assistantctl web disable"
)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Show where the daemon listens, and what there is to log in with
    ///
    /// Without the daemon it shows what is set.
    #[command(after_help = "Examples:
  assistantctl web status
  assistantctl web status -o json")]
    Status,
    Enable(listen::Enable),
    Disable(listen::Disable),
    Password(Password),
    /// Log every browser out
    #[command(after_help = "Examples:
  assistantctl web logout")]
    Logout,
}

/// Set the password that people log in with; every browser is logged out
///
/// It has 12 characters at least, and is asked for without showing it, or read
/// from the standard input when that is no terminal.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assistantctl web password
  assistantctl web password --generate
  assistantctl web password < password.txt
  assistantctl web password --remove")]
struct Password {
    /// Take it away: nobody logs in with a password any more
    #[arg(long)]
    remove: bool,
    /// Make a strong one and print it, this once
    #[arg(long, conflicts_with = "remove")]
    generate: bool,
}

pub async fn run(args: Args, cx: &Cx) -> Result {
    match args.verb {
        Verb::Status => status(cx).await,
        Verb::Enable(args) => listen::enable(args, cx).await,
        Verb::Disable(args) => listen::disable(args, cx).await,
        Verb::Password(args) => password(args, cx).await,
        Verb::Logout => {
            let () = cx.client.delete("/api/sessions").await?;
            done(cx, "every browser is logged out")
        }
    }
}

async fn status(cx: &Cx) -> Result {
    let set = listen::configured(cx).await?;
    let said = || set.clone().unwrap_or_else(|| "nothing: assistantctl web enable --bind ADDR:PORT".to_owned());
    let status: WebStatus = match cx.client.get("/api/web").await {
        Err(err) if err.is_unreachable() => {
            if cx.out.json {
                cx.out.json(&json!({ "running": false, "configured": set }))?;
            } else {
                cx.out.fields([("daemon", "not running".to_owned()), ("configured", said())])?;
            }
            return Ok(Code::Ok);
        }
        other => other?,
    };
    let listening = listeners(cx).await?;
    if cx.out.json {
        let Value::Object(mut shown) = json!(status) else { return Ok(Code::Failed) };
        shown.extend([
            ("running".to_owned(), true.into()),
            ("configured".to_owned(), json!(set)),
            ("listening".to_owned(), json!(listening)),
        ]);
        cx.out.json(&shown)?;
        return Ok(Code::Ok);
    }
    let password =
        status.password_set_at.map_or_else(|| "none: assistantctl web password".to_owned(), |at| cx.out.when(at));
    let listens = listening.iter().map(|one| ("listens", format!("{} ({}): {}", one.address, one.reach, one.guard)));
    let fields =
        [("password", password), ("browsers", status.sessions.to_string()), ("tokens", status.tokens.to_string())];
    cx.out.fields([("configured", said())].into_iter().chain(listens).chain(fields))?;
    Ok(Code::Ok)
}

/// Where the daemon really listens.
async fn listeners(cx: &Cx) -> client::Result<Vec<Listening>> {
    Ok(cx.client.get::<Status>("/api/status").await?.listening)
}

async fn password(args: Password, cx: &Cx) -> Result {
    if args.remove {
        let () = cx.client.delete("/api/web/password").await?;
        return done(cx, "there is no password any more, and every browser is logged out");
    }
    let password = if args.generate { generate()? } else { given()? };
    set_password(cx, &password).await?;
    let told = "the password is set, and every browser is logged out";
    if !args.generate {
        return done(cx, told);
    }
    if cx.out.json {
        cx.out.json(&json!({ "done": told, "password": password.expose_secret() }))?;
    } else {
        cx.out.line(password.expose_secret())?;
        cx.out.note(told);
    }
    Ok(Code::Ok)
}

/// Has the daemon let in whoever knows this password, and nobody who knew another one.
pub async fn set_password(cx: &Cx, password: &SecretString) -> client::Result<()> {
    let request = PasswordRequest { password: password.expose_secret().to_owned(), present: None };
    cx.client.put("/api/web/password", &request).await
}

/// From the person at the terminal, twice, or from the standard input.
fn given() -> Result<SecretString> {
    let Some(mut terminal) = Terminal::find() else {
        let mut bytes = Vec::new();
        let read = io::stdin().take(MOST).read_to_end(&mut bytes);
        read.map_err(|err| Failure::file("reading", "-".as_ref(), &err))?;
        return prompt::secret(bytes);
    };
    let (one, again) = (terminal.ask_secret("password (not shown):")?, terminal.ask_secret("once more:")?);
    if one.expose_secret() != again.expose_secret() {
        return Err(Failure::usage("these are not the same; nothing was done"));
    }
    Ok(one)
}

fn done(cx: &Cx, what: &str) -> Result {
    if cx.out.json {
        cx.out.json(&json!({ "done": what }))?;
    } else {
        cx.out.line(what)?;
    }
    Ok(Code::Ok)
}
