//! Configuration: TOML files, drop-ins, environment, in that order; every key declared once (`section.rs`).
//!
//! `load.rs` reads the layers and remembers where each value came from, `fault.rs` says what is wrong and where,
//! `secrets.rs` holds what no file may hold, `paths.rs` knows where things lie.

pub(crate) mod check;
#[cfg(test)]
mod document;
mod environment_file;
mod fault;
pub mod general;
mod later;
mod load;
mod paths;
pub mod secrets;
pub mod section;
pub mod units;
pub mod value;

use self::section::Table;
pub use self::{
    environment_file::read as read_environment_file,
    fault::{ConfigError, Fault, Place},
    load::{Loaded, Origin, Origins, Sources, load, strange_names},
    paths::{Environment, Paths, Wanted},
    secrets::{SecretName, Secrets, WeakSecret},
};

/// What is odd about what was read, and stops nothing.
#[derive(Clone, Debug, Default)]
pub struct Noticed {
    /// [`Loaded::warnings`]
    pub settings: Vec<String>,
    pub secrets: Vec<WeakSecret>,
}

/// Declares [`Config`]: a section is one line.
macro_rules! config {
    ($($field:ident: $type:ty;)*) => {
        /// Everything that can be set. Secrets are not here: see [`Secrets`].
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Config { $(pub $field: $type,)* }

        impl Config {
            /// The sections, in the order of the documentation.
            pub fn tables(&self) -> Vec<&dyn Table> {
                vec![$(&self.$field),*]
            }

            fn tables_mut(&mut self) -> Vec<&mut dyn Table> {
                vec![$(&mut self.$field),*]
            }
        }
    };
}

config! {
    app: general::App;
    log: general::Log;
    identity: general::Identity;
    admin: general::Admin;
    org: general::Org;
    llm: crate::llm::config::Llm;
    search: crate::llm::config::Search;
    limits: crate::agent::config::Limits;
    loop_detector: crate::agent::config::LoopDetector;
    prompt: crate::agent::config::Prompt;
    tool_result_cache: crate::agent::config::ToolResultCache;
    jobs: crate::jobs::config::Jobs;
    filesystem: crate::workspace::config::Filesystem;
    workspace: crate::workspace::config::Workspace;
    policy: crate::policy::config::Policy;
    sandbox: crate::sandbox::config::Sandbox;
    api: crate::http::config::Api;
    retention: crate::retention::config::Retention;
    backup: crate::backup::config::Backup;
    notify: crate::notify::config::Notify;
    email: crate::mail::config::Email;
    mail: crate::mail::config::Mail;
    artifacts: crate::mail::config::Artifacts;
    clamav: crate::mail::config::Clamav;
    conversion: crate::mail::config::Conversion;
}
