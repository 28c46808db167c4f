//! What there is of each secret, and what lacks one; never a value.

use assistant_api::secrets::SecretState;

use crate::{cx::Cx, llm::ModelInfo};

/// Each secret with where it came from, or what cannot be done for lack of it.
pub(super) fn states(cx: &Cx, models: &[ModelInfo]) -> Vec<SecretState> {
    let mut states = Vec::clone(&cx.process.secrets.load());
    for state in &mut states {
        let lacking = models.iter().find(|model| model.missing.is_some_and(|secret| secret.credential() == state.name));
        if let Some(model) = lacking {
            let unreadable = state.problem.take().map_or_else(String::new, |problem| format!("{problem}; "));
            state.problem = Some(format!("{unreadable}the {} model at {} needs it", model.role, model.host));
        }
    }
    states
}
