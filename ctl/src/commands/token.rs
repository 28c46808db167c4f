use std::time::Duration;

use assistant_api::{
    Role,
    login::{NewToken, TokenList, TokenRequest},
};
use clap::ValueEnum;

use super::duration;
use crate::{
    Cx,
    exit::{Code, Failure, Result},
    output::{Table, cell},
    text,
};

/// Tokens for programs that come in over the network
#[derive(clap::Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:
  assistantctl token create backup-monitor --role viewer --expires 90d
  assistantctl token create intake --allow \"POST /api/jobs\"
  assistantctl token list
  assistantctl token revoke intake"
)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    Create(Create),
    /// List the tokens, without what is secret of them
    #[command(after_help = "Examples:
  assistantctl token list
  assistantctl token list -o json")]
    List,
    /// Take a token back, by its name or number
    #[command(after_help = "Examples:
  assistantctl token revoke intake
  assistantctl token revoke 3")]
    Revoke {
        /// Its name or number
        token: String,
    },
}

/// Make a token and print its secret, this once
///
/// Programs send it as: Authorization: Bearer SECRET
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assistantctl token create laptop
  assistantctl token create intake --allow \"POST /api/jobs\" --allow \"GET /api/jobs*\" --expires 30d")]
struct Create {
    /// What it is for; letters, digits, '-', '_' and '.'
    name: String,
    /// What its holder may do
    #[arg(long, value_enum, default_value = "operator")]
    role: Grant,
    /// A route that it is good for, "METHOD /path" as in docs/api.md, with a *
    /// at the end for whatever follows; may be given more than once. None: all
    /// that the role allows
    #[arg(long, value_name = "ROUTE")]
    allow: Vec<String>,
    /// How long it is good, such as 30d; without it, until it is revoked
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    expires: Option<Duration>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Grant {
    /// Read everything
    Viewer,
    /// Also work with jobs and files
    Operator,
    /// Also everything else
    Admin,
}

impl From<Grant> for Role {
    fn from(grant: Grant) -> Self {
        match grant {
            Grant::Viewer => Self::Viewer,
            Grant::Operator => Self::Operator,
            Grant::Admin => Self::Admin,
        }
    }
}

pub async fn run(args: Args, cx: &Cx) -> Result {
    match args.verb {
        Verb::Create(args) => create(args, cx).await,
        Verb::List => list(cx).await,
        Verb::Revoke { token } => revoke(&token, cx).await,
    }
}

async fn create(args: Create, cx: &Cx) -> Result {
    let expires_at = match args.expires {
        Some(time) => Some(text::now().checked_add(time).map_err(|_| Failure::usage("--expires is too far away"))?),
        None => None,
    };
    let request = TokenRequest { name: args.name, role: Some(args.role.into()), allow: args.allow, expires_at };
    let made: NewToken = cx.client.post("/api/tokens", &request).await?;
    if cx.out.json {
        cx.out.json(&made)?;
        return Ok(Code::Ok);
    }
    cx.out.note(&format!("the token {}, shown once; send it as Authorization: Bearer SECRET", made.token.name));
    cx.out.line(&made.secret)?;
    Ok(Code::Ok)
}

async fn list(cx: &Cx) -> Result {
    let list: TokenList = cx.client.get("/api/tokens").await?;
    if cx.out.json {
        cx.out.json(&list)?;
        return Ok(Code::Ok);
    }
    let mut table = Table::new(&["ID", "NAME", "ROLE", "ROUTES", "MADE", "USED", "ENDS"]);
    for token in &list.tokens {
        table.row([
            cell(token.id.to_string()),
            cell(&token.name),
            cell(token.role.as_str()),
            cell(if token.allow.is_empty() { "all".to_owned() } else { token.allow.join(", ") }),
            cell(cx.out.when(token.created_at)),
            cell(token.last_used_at.map_or_else(|| "never".to_owned(), |at| cx.out.when(at))),
            cell(token.expires_at.map_or_else(|| "never".to_owned(), |at| cx.out.when(at))),
        ]);
    }
    cx.out.table(&table, "no tokens; assistantctl token create NAME makes one")?;
    Ok(Code::Ok)
}

/// Reads a length of time that may be in days.
fn lifetime(text: &str) -> Result<Duration, String> {
    let days = text.strip_suffix('d').and_then(|days| days.trim().parse::<u64>().ok());
    match days {
        Some(days) => Ok(Duration::from_secs(days.saturating_mul(86_400))),
        None => duration(text).map_err(|_| "a length of time such as 30d, 12h or 90m".to_owned()),
    }
}

async fn revoke(token: &str, cx: &Cx) -> Result {
    // What no name holds would name another path.
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if token.is_empty() || !token.chars().all(good) {
        return Err(
            Failure::new(Code::NotFound, format!("there is no token {token:?}")).hint("assistantctl token list")
        );
    }
    let () = cx.client.delete(&format!("/api/tokens/{token}")).await?;
    if cx.out.json {
        cx.out.json(&serde_json::json!({ "revoked": token }))?;
    } else {
        cx.out.line(format!("the token {token} is revoked"))?;
    }
    Ok(Code::Ok)
}
