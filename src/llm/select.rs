//! Which models are asked, from what is configured and which keys are there.

use std::sync::Arc;

use super::{Answer, BoxFuture, Llm, LlmError, ModelInfo, OnDelta, Request, Role, rehearsal::Rehearsal};
use crate::config::{Config, secrets::Secrets};

/// What a job without any model is told.
pub const NOT_CONFIGURED: &str = "no model configured: run assistantctl setup or set OPENROUTER_API_KEY";

impl Role {
    /// As it stands in configuration and API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Small => "small",
        }
    }
}

/// Makes the models that the configuration names.
///
/// Never fails: what is wrong with the configuration is said by [`Llm::models`] and by every answer.
pub fn build(config: &Config, _secrets: &Secrets) -> Arc<dyn Llm> {
    match config.llm.provider.as_deref() {
        Some("rehearsal") => match rehearsal(config) {
            Ok(rehearsal) => Arc::new(rehearsal),
            Err(problem) => Arc::new(Unusable { problem }),
        },
        _ => Arc::new(Unusable { problem: NOT_CONFIGURED.to_owned() }),
    }
}

fn rehearsal(config: &Config) -> Result<Rehearsal, String> {
    let rehearsal = match &config.llm.rehearsal_file {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|err| format!("llm.rehearsal_file {path} cannot be read: {err}"))?;
            Rehearsal::from_json(&text).map_err(|err| format!("llm.rehearsal_file {path}: {err}"))?
        }
        None => Rehearsal::demo()?,
    };
    Ok(rehearsal.with_max_chars(config.limits.max_prompt_chars.into()))
}

/// Stands where no model can be made.
struct Unusable {
    problem: String,
}

impl Llm for Unusable {
    fn ask<'a>(&'a self, _: &'a Request, _: Option<OnDelta>) -> BoxFuture<'a, Result<Answer, LlmError>> {
        Box::pin(std::future::ready(Err(LlmError::NotConfigured(self.problem.clone()))))
    }

    fn models(&self) -> Vec<ModelInfo> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests;
