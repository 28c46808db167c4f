//! Tool calls as models write them: arguments that are nearly JSON, and calls that stand in the text of an answer.

mod lenient;
#[cfg(test)]
mod tests;
mod written;

use serde_json::{Map, Value};

use self::lenient::Fault;
pub(crate) use self::written::written_calls;
use super::segment;

/// Characters of malformed arguments that the model is shown again.
const SHOWN: usize = 500;

/// The arguments of a call as an object; the error is for the model.
///
/// `cut_off` says that the answer reached its token limit, so that an early end is explained.
pub(crate) fn arguments(text: &str, cut_off: bool) -> Result<Map<String, Value>, Value> {
    object(text, 0).map_err(|reason| {
        let reason = match reason {
            Reason::Fault(Fault::Cut) if cut_off => {
                "the answer reached its token limit before the arguments were complete; nothing was done. \
                 Split the work: write long texts in several calls, for example file_write and then file_append"
                    .to_owned()
            }
            Reason::Fault(fault) => format!("the arguments are not JSON: {fault}"),
            Reason::NotAnObject(found) => format!("the arguments must be one JSON object, not {found}"),
        };
        serde_json::json!({ "error": reason, "kind": "validation", "raw_arguments_preview": segment::cut(text, SHOWN) })
    })
}

enum Reason {
    Fault(Fault),
    NotAnObject(&'static str),
}

fn object(text: &str, depth: usize) -> Result<Map<String, Value>, Reason> {
    let text = unfence(text.trim());
    if text.is_empty() {
        return Ok(Map::new());
    }
    let value = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(_) => lenient::parse(text).map_err(Reason::Fault)?,
    };
    match value {
        Value::Object(map) => Ok(map),
        Value::Null => Ok(Map::new()),
        // Encoded twice.
        Value::String(inner) if depth < 3 && !inner.trim().is_empty() => object(&inner, depth + 1),
        Value::String(inner) if inner.trim().is_empty() => Ok(Map::new()),
        Value::Array(mut items) if items.len() == 1 => match items.pop() {
            Some(Value::Object(map)) => Ok(map),
            _ => Err(Reason::NotAnObject("a list")),
        },
        Value::Array(_) => Err(Reason::NotAnObject("a list")),
        Value::String(_) => Err(Reason::NotAnObject("a text")),
        Value::Number(_) => Err(Reason::NotAnObject("a number")),
        Value::Bool(_) => Err(Reason::NotAnObject("true or false")),
    }
}

/// The text without the Markdown fence around it.
fn unfence(text: &str) -> &str {
    let Some(inner) = text.strip_prefix("```") else { return text };
    let inner = inner.strip_suffix("```").unwrap_or(inner);
    // The word after the fence names the language.
    let inner = inner.trim_start_matches(|c: char| c.is_ascii_alphabetic() || c == '_');
    inner.trim()
}

/// Mends the small mistakes of types that the schema shows: a number in quotes, a list in quotes, a single item where
/// a list belongs, null where the field may be absent. Everything else is left for the tool to refuse.
pub(crate) fn coerce(schema: &Value, arguments: &mut Map<String, Value>) {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let Some(properties) = schema["properties"].as_object() else { return };
    arguments
        .retain(|name, value| !value.is_null() || required.contains(&name.as_str()) || !properties.contains_key(name));
    for (name, value) in arguments.iter_mut() {
        let Some(property) = properties.get(name) else { continue };
        let allows = |kind: &str| match &property["type"] {
            Value::String(only) => only == kind,
            Value::Array(kinds) => kinds.iter().any(|one| one == kind),
            _ => false,
        };
        if allows("string") || property.get("type").is_none() {
            continue;
        }
        if let Value::String(text) = value {
            let parsed: Option<Value> = serde_json::from_str(text.trim()).ok();
            let fits = match &parsed {
                Some(Value::Number(number)) => allows("number") || (allows("integer") && !number.is_f64()),
                Some(Value::Bool(_)) => allows("boolean"),
                Some(Value::Array(_)) => allows("array"),
                Some(Value::Object(_)) => allows("object"),
                _ => false,
            };
            match parsed {
                Some(parsed) if fits => *value = parsed,
                _ if allows("boolean") && text.eq_ignore_ascii_case("true") => *value = Value::Bool(true),
                _ if allows("boolean") && text.eq_ignore_ascii_case("false") => *value = Value::Bool(false),
                _ if allows("array") && !text.trim().is_empty() => *value = Value::Array(vec![value.take()]),
                _ => {}
            }
        } else if let Some(number) = value.as_f64()
            && value.is_f64()
            && allows("integer")
            && !allows("number")
            && number.fract() == 0.0
            && number.abs() < 9e15
        {
            #[expect(clippy::cast_possible_truncation, reason = "a whole number below 2^53")]
            let whole = number as i64;
            *value = whole.into();
        }
    }
}

/// JSON with sorted keys, so that equal arguments have equal texts.
pub(crate) fn canonical(value: &Value) -> String {
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Object(map) => {
                let mut keys: Vec<_> = map.keys().collect();
                keys.sort_unstable();
                keys.into_iter().map(|key| (key.clone(), sorted(&map[key]))).collect::<Map<_, _>>().into()
            }
            Value::Array(items) => items.iter().map(sorted).collect(),
            other => other.clone(),
        }
    }
    sorted(value).to_string()
}

/// SHA-256 of a tool's name and its resolved arguments, hexadecimal: what an approval is bound to.
pub(crate) fn args_hash(tool: &str, arguments: &Value) -> String {
    hex(&format!("{tool}\n{}", canonical(arguments)))
}

/// SHA-256 of a text, hexadecimal.
pub(crate) fn hex(text: &str) -> String {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(text.as_bytes());
    digest.iter().fold(String::with_capacity(64), |mut hex, byte| {
        for nibble in [byte >> 4, byte & 15] {
            hex.push(char::from_digit(nibble.into(), 16).unwrap_or('0'));
        }
        hex
    })
}

/// A tool's name as it was meant: without a namespace that some models put before it.
pub(crate) fn tool_name(written: &str) -> String {
    let name = written.trim().trim_matches(['"', '`', '\'']);
    let name = name.rsplit(['.', ':', '/', '|', '>']).next().unwrap_or(name).trim();
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).take(64).collect();
    let name = name.trim_end_matches("()").to_owned();
    match name.as_str() {
        "" => "unknown".into(),
        "request_human_input" | "request_admin_input" => "request_input".into(),
        _ => name,
    }
}
