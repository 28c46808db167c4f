//! The web, as far as jobs may look into it.

mod domains;
mod search;
#[cfg(test)]
mod tests;
mod tools;

pub use self::search::{Findings, Question, search};
use crate::subsystems::Subsystem;

/// What the web adds to the daemon.
pub const SUBSYSTEM: Subsystem = Subsystem { name: "web", routes: Vec::new, tools: tools::TOOLS, loops: &[] };
