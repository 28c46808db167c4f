//! What a model may do with mail.

mod read;
mod search;
mod send;

use crate::{agent::tools::ToolDef, cx::Cx};

pub(super) const TOOLS: &[ToolDef] =
    &[ToolDef::of::<search::EmailSearch>(), ToolDef::of::<read::EmailRead>(), ToolDef::of::<send::EmailSend>()];

const GROUP: &str = "Email";

/// Whether there is any mail to be read.
fn has_mailbox(cx: &Cx) -> bool {
    cx.config.load().email.imap_host.is_some()
}

const NO_MAILBOX: &str = "no mailbox is configured (email.imap_host): there is no mail to look at";
