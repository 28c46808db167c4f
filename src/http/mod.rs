//! HTTP on every kind of listener: one accept loop, one route table, one shape of errors.

pub mod config;
pub mod peer;
pub mod problem;
pub mod route;
