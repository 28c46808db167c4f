//! The assistant daemon. This list is the map of the code; each module's header says what it is and never does.
//!
//! Direction: `assistant_api`, [`error`], [`clock`], [`store`] <- mechanism ([`config`], [`root`], [`policy`],
//! [`ledger`], [`events`], [`jobs`], [`loops`], [`agent`], [`llm`], [`sandbox`], [`http`]) <-
//! subsystems <- [`subsystems`] <- `daemon`.

pub mod agent;
pub mod backup;
pub mod clock;
pub mod commands;
pub mod config;
pub mod convert;
pub mod counters;
pub mod crashpoint;
pub mod cx;
pub mod daemon;
pub mod error;
pub mod events;
pub mod http;
pub mod jobs;
pub mod ledger;
pub mod llm;
pub mod logging;
pub mod loops;
pub mod mail;
pub mod notify;
pub mod policy;
pub mod retention;
pub mod root;
pub mod sandbox;
pub mod settings;
pub mod status;
pub mod store;
pub mod subsystems;
pub mod systemd;
pub mod web;
pub mod workspace;
