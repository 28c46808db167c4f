//! The web, as far as jobs may look into it; and the pages by which people look at the daemon.

mod api;
mod domains;
mod search;
#[cfg(test)]
mod tests;
mod tools;

pub use self::search::{Findings, Question, search};
use crate::subsystems::Subsystem;

/// What the web adds to the daemon.
pub const SUBSYSTEM: Subsystem = Subsystem { name: "web", routes: api::routes, tools: tools::TOOLS, loops: &[] };
