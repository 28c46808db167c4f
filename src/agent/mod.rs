//! The agent loop: a job's conversation with its model.
//!
//! `turn` is the loop itself, a pure state machine; `driver` does what it asks for. A conversation is the job's stored
//! steps (`steps`, `history`): resuming is loading them. `prompt` says what it begins with, `compact` what of it goes
//! into the next request, `parse` reads what models write, `control` are the tools that steer the run.

mod cache;
mod claims;
mod compact;
pub mod config;
pub mod control;
mod detector;
mod driver;
mod execute;
mod history;
mod parse;
pub mod prompt;
mod segment;
mod steps;
mod store;
#[cfg(test)]
mod tests;
mod toolbox;
pub mod tools;
mod turn;

pub use self::toolbox::Toolbox;

use tokio_util::sync::CancellationToken;

use crate::{
    cx::Cx,
    jobs::{Claimed, Outcome},
    llm::BoxFuture,
};

/// Runs a claimed job; the runner applies the outcome.
pub fn run<'a>(cx: &'a Cx, claimed: &'a Claimed, cancel: &'a CancellationToken) -> BoxFuture<'a, Outcome> {
    Box::pin(driver::run(cx, claimed, cancel))
}
