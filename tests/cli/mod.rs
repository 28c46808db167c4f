//! The real programs: starting, stopping, refusing.

mod disk;
mod process;
