//! What a conversation begins with: the system prompt, the same for every job of a configuration, and the job's context.
//!
//! The system prompt holds no time, so that it is stored once and providers can reuse it; the time stands in the first
//! message and in what is told when a run goes on.

mod context;
mod file;
#[cfg(test)]
mod tests;

pub use self::file::check;
pub(crate) use self::{
    context::{Context, EFFECTS, ITEMS, NEWS, first, instruction_notes, news_note, replaced, resumed, tools},
    file::agent_text,
};
use super::{segment::Fence, toolbox::Toolbox};
use crate::config::Config;

/// The system prompt.
pub(crate) fn system(config: &Config, agent_text: &str, toolbox: &Toolbox) -> String {
    let mut text = agent_text.trim().to_owned();
    text.push_str("\n\n# Who you are and whom you work for\n\n");
    text.push_str(&identity(config));
    text.push_str("\n# What the texts around you are\n\n");
    text.push_str(Fence::explain());
    text.push_str("\n# How the work is done\n\n");
    text.push_str(include_str!("../prompts/work.md"));
    text.push_str("\n# Tools that can be loaded\n\n");
    text.push_str(&toolbox.catalogue());
    text.push('\n');
    if !toolbox.missing().is_empty() {
        text.push_str("\n# Tools that are not there\n\n");
        text.push_str(toolbox.missing());
    }
    text
}

/// Facts, one per line; what is not set is left out.
fn identity(config: &Config) -> String {
    let name = config.identity.name.as_deref().unwrap_or(&config.app.name);
    let mut lines = vec![match &config.identity.email {
        Some(email) => format!("You are {name} <{email}>."),
        None => format!("You are {name}."),
    }];
    match (&config.admin.name, &config.admin.email) {
        (Some(name), Some(email)) => lines.push(format!("The owner, whom you work for, is {name} <{email}>.")),
        (Some(name), None) => lines.push(format!("The owner, whom you work for, is {name}.")),
        (None, Some(email)) => lines.push(format!("The owner, whom you work for, has the address {email}.")),
        (None, None) => lines.push("The owner, whom you work for, has not given a name.".into()),
    }
    if let Some(org) = &config.org.name {
        lines.push(format!("You work at {org}."));
    }
    lines.push(format!("Times without a zone are meant in {}.", config.app.timezone));
    let mut text = lines.join("\n");
    text.push('\n');
    text
}
