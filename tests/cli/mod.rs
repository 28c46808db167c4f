//! The real programs: starting, stopping, refusing.

mod process;
