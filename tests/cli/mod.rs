//! The real programs: starting, stopping, refusing.

mod ctl;
mod disk;
mod process;
