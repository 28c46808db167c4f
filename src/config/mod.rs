//! Configuration: TOML files, drop-ins, environment, in that order; every key declared once (`section.rs`).

pub mod general;
pub mod section;
pub mod units;
pub mod value;

/// Everything that can be set. Secrets are not here: see `secrets.rs`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    pub app: general::App,
    pub identity: general::Identity,
    pub admin: general::Admin,
    pub org: general::Org,
    pub llm: crate::llm::config::Llm,
    pub limits: crate::agent::config::Limits,
    pub loop_detector: crate::agent::config::LoopDetector,
    pub prompt: crate::agent::config::Prompt,
    pub tool_result_cache: crate::agent::config::ToolResultCache,
    pub jobs: crate::jobs::config::Jobs,
    pub filesystem: crate::workspace::config::Filesystem,
    pub policy: crate::policy::config::Policy,
    pub api: crate::http::config::Api,
    pub retention: crate::retention::config::Retention,
    pub notify: crate::notify::config::Notify,
}
