//! The real programs: starting, stopping, refusing.

mod ctl;
mod dashboard;
mod disk;
mod network;
mod process;
