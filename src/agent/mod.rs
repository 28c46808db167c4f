//! The agent loop: a job's conversation with its model.

pub mod config;
pub mod tools;
