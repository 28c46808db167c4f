//! The real programs: starting, stopping, refusing.

pub(crate) mod ctl;
mod dashboard;
mod disk;
mod log;
mod network;
mod process;
mod upkeep;
