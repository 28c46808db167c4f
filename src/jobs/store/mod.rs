//! SQL of the job engine: plain functions over a connection, times passed in; every change is compare-and-set.

pub mod approvals;
pub mod change;
pub mod claim;
pub mod create;
pub mod erase;
pub mod filter;
pub mod finish;
pub mod instructions;
pub mod list;
pub mod log;
pub mod pause;
pub mod requester;
pub mod row;
pub mod search;
pub mod spend;
pub mod status;
pub mod steps;
pub mod thread;
pub mod usage;

#[cfg(test)]
pub(crate) mod tests;
