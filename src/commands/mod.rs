//! Commands: what jobs and people run in the sandbox, and what is kept of it.

mod api;
mod live;
mod proof;
mod record;
mod run;
mod scripts;
mod tools;

pub use self::run::{Asked, run};
use crate::subsystems::Subsystem;

/// What commands add to the daemon.
pub const SUBSYSTEM: Subsystem = Subsystem { name: "commands", routes: api::routes, tools: tools::TOOLS, loops: &[] };
