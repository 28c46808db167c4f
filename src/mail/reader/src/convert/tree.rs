//! A document as pandoc holds it, without anything that would be fetched or be taken as it stands: images become their
//! description, raw parts of other formats go.

use serde_json::{Value, json};

use super::{Failed, Page, Result};

/// What is kept of what a document says about itself.
const KEPT: [&str; 5] = ["title", "subtitle", "author", "date", "lang"];

pub(super) fn stripped(input: &[u8], page: &mut Page<'_>) -> Result<()> {
    // It is nested no deeper than serde_json reads, which is 128.
    let mut document: Value =
        serde_json::from_slice(input).map_err(|err| Failed(format!("it is not a document of pandoc: {err}")))?;
    let Some(blocks) = document.get_mut("blocks") else {
        return Err(Failed("it is not a document of pandoc: it has no blocks".to_owned()));
    };
    strip(blocks);
    if let Some(Value::Object(meta)) = document.get_mut("meta") {
        meta.retain(|name, _| KEPT.contains(&name.as_str()));
        meta.values_mut().for_each(strip);
    }
    serde_json::to_writer(page, &document).map_err(|err| Failed(err.to_string()))
}

fn strip(value: &mut Value) {
    match value {
        Value::Array(values) => {
            values.retain(|value| !matches!(value["t"].as_str(), Some("RawBlock" | "RawInline")));
            values.iter_mut().for_each(strip);
        }
        Value::Object(fields) => {
            if fields.get("t").and_then(Value::as_str) == Some("Image") {
                let text = fields.get("c").map_or(Value::Null, |content| content[1].clone());
                *value = json!({ "t": "Span", "c": [["", [], []], if text.is_array() { text } else { json!([]) }] });
                return strip(value);
            }
            // Attributes may name what a reader of the result would load or run.
            if let Some(Value::Array(content)) = fields.get_mut("c") {
                content.iter_mut().for_each(bare);
            }
            fields.values_mut().for_each(strip);
        }
        _ => {}
    }
}

/// Attributes are `[identifier, [classes], [[name, value]]]`.
fn bare(value: &mut Value) {
    if let Value::Array(parts) = value
        && let [Value::String(_), Value::Array(classes), Value::Array(pairs)] = parts.as_mut_slice()
        && classes.iter().all(Value::is_string)
    {
        pairs.clear();
    }
}
