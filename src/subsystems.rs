//! Every subsystem the daemon is made of, in one list.

use crate::{agent::tools::ToolDef, http::route::Route, loops::LoopDef};

/// What one subsystem adds to the daemon.
pub struct Subsystem {
    pub name: &'static str,
    pub routes: fn() -> Vec<Route>,
    pub tools: &'static [ToolDef],
    pub loops: &'static [LoopDef],
}

/// The list.
pub const ALL: &[Subsystem] = &[
    crate::backup::SUBSYSTEM,
    crate::commands::SUBSYSTEM,
    crate::jobs::SUBSYSTEM,
    crate::ledger::SUBSYSTEM,
    crate::llm::SUBSYSTEM,
    crate::mail::SUBSYSTEM,
    crate::notify::SUBSYSTEM,
    crate::retention::SUBSYSTEM,
    crate::settings::SUBSYSTEM,
    crate::status::SUBSYSTEM,
    crate::web::SUBSYSTEM,
    crate::workspace::SUBSYSTEM,
];
