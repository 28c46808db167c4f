//! The web, as far as jobs may look into it; and the pages by which people look at the daemon.

mod domains;
mod pages;
mod search;
#[cfg(test)]
mod tests;
mod tools;

pub use self::search::{Findings, Question, search};
use crate::subsystems::Subsystem;

/// What the web adds to the daemon.
pub const SUBSYSTEM: Subsystem = Subsystem { name: "web", routes: pages::routes, tools: tools::TOOLS, loops: &[] };
