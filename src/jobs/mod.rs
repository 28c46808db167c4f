//! The job engine.

pub mod config;
