//! Reads a request's parameters and body into a handler's types. What is wrong is said by place, field and rule; what
//! was sent is never repeated in the answer.

use std::any::TypeId;

use axum::{
    extract::{
        FromRequestParts as _, Path,
        path::{ErrorKind as PathError, FailedToDeserializePathParams},
        rejection::PathRejection,
    },
    http::request::Parts,
};
use serde::de::{DeserializeOwned, IntoDeserializer as _, value::UnitDeserializer};
use serde_path_to_error::Path as FieldPath;

use crate::error::{Error, Result};

/// `()`, where a handler asks for nothing.
fn nothing<T: DeserializeOwned + 'static>() -> Option<T> {
    if TypeId::of::<T>() != TypeId::of::<()>() {
        return None;
    }
    let unit: UnitDeserializer<serde::de::value::Error> = ().into_deserializer();
    T::deserialize(unit).ok()
}

/// The parameters in the path.
pub(super) async fn path<P: DeserializeOwned + Send + 'static>(parts: &mut Parts, pattern: &str) -> Result<P> {
    if let Some(none) = nothing() {
        return Ok(none);
    }
    match Path::<P>::from_request_parts(parts, &()).await {
        Ok(Path(path)) => Ok(path),
        Err(PathRejection::FailedToDeserializePathParams(err)) => Err(path_error(&err, pattern)),
        Err(_) => Err(Error::internal("a route without its parameters")),
    }
}

fn path_error(err: &FailedToDeserializePathParams, pattern: &str) -> Error {
    let only = || pattern.split(['{', '}']).nth(1).unwrap_or("path").trim_start_matches('*').to_owned();
    let (name, rule) = match err.kind() {
        PathError::ParseErrorAtKey { key, expected_type, .. } => (key.clone(), expected(expected_type)),
        PathError::ParseError { expected_type, .. } | PathError::ParseErrorAtIndex { expected_type, .. } => {
            (only(), expected(expected_type))
        }
        PathError::DeserializeError { key, message, .. } => (key.clone(), describe(message).1),
        PathError::InvalidUtf8InPathParam { key } => (key.clone(), "has to be UTF-8".into()),
        _ => (only(), "is not valid".into()),
    };
    Error::validation(format!("{name} {rule}")).field(format!("path.{name}"))
}

/// The parameters after the question mark.
pub(super) fn query<Q: DeserializeOwned + 'static>(text: Option<&str>) -> Result<Q> {
    if let Some(none) = nothing() {
        return Ok(none);
    }
    let pairs = form_urlencoded::parse(text.unwrap_or_default().as_bytes());
    serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(pairs))
        .map_err(|err| invalid("query", err.path(), &err.inner().to_string()))
}

/// A JSON body; an empty one counts as an object without fields.
pub(super) fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let bytes = if bytes.trim_ascii().is_empty() { b"{}" } else { bytes };
    let mut source = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut source).map_err(|err| {
        let cause = err.inner();
        if cause.is_data() { invalid("body", err.path(), &cause.to_string()) } else { not_json(cause) }
    })?;
    source.end().map_err(|err| not_json(&err))?;
    Ok(value)
}

fn not_json(err: &serde_json::Error) -> Error {
    Error::validation(format!("the body is not JSON (line {}, column {})", err.line(), err.column()))
        .field("body")
        .hint("send one JSON value, as docs/api.md shows it")
}

fn invalid(place: &str, path: &FieldPath, message: &str) -> Error {
    let (named, rule) = describe(message);
    let mut field: Vec<String> = path.iter().map(ToString::to_string).filter(|name| is_name(name)).collect();
    if let Some(named) = named
        && field.last() != Some(&named)
    {
        field.push(named);
    }
    let field = field.join(".");
    if field.is_empty() {
        Error::validation(format!("the {place} {rule}")).field(place.to_owned())
    } else {
        Error::validation(format!("{field} {rule}")).field(format!("{place}.{field}"))
    }
}

/// Turns serde's sentence into a field that it names, if any, and a rule; leaves out every value that was sent.
fn describe(message: &str) -> (Option<String>, String) {
    let message = message.rsplit_once(" at line ").map_or(message, |(message, _)| message);
    let quoted = || message.split('`').nth(1).filter(|name| is_name(name)).map(str::to_owned);
    let rule = |text: &str| text.rsplit_once("expected ").map(|(_, rule)| rule.to_owned());
    if message.starts_with("missing field ") {
        (quoted(), "is missing".into())
    } else if message.starts_with("duplicate field ") {
        (quoted(), "is given twice".into())
    } else if message.starts_with("unknown field ") {
        let known =
            rule(message).map_or_else(String::new, |known| format!("; known: {}", known.replace("one of ", "")));
        (quoted(), format!("is not a known field{known}"))
    } else if message.starts_with("unknown variant ") {
        (None, rule(message).map_or("is not a known value".into(), |known| format!("has to be {known}")))
    } else if ["invalid type: ", "invalid value: ", "invalid length "].iter().any(|start| message.starts_with(start)) {
        (None, rule(message).map_or("is not valid".into(), |wanted| expected(&wanted)))
    } else if message.contains("digit found in string") || message.contains("cannot parse integer") {
        (None, "has to be an integer".into())
    } else if message.starts_with("number too ") {
        (None, "is out of range".into())
    } else if message.contains("`true` or `false`") {
        (None, "has to be true or false".into())
    } else {
        (None, "is not valid".into())
    }
}

fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.[]".contains(&byte))
}

fn expected(kind: &str) -> String {
    let kind = match kind {
        "i64" | "i32" | "u64" | "u32" | "u16" | "usize" => "an integer",
        "f64" | "f32" => "a number",
        "bool" | "a boolean" => "true or false",
        "a string" | "string" | "String" | "str" => "a text",
        "a sequence" => "a list",
        "a map" => "an object",
        kind if kind.starts_with("struct ") => "an object",
        kind => kind,
    };
    format!("has to be {kind}")
}

#[cfg(test)]
mod tests {
    use assistant_api::jobs::NewJob;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct List {
        #[expect(dead_code, reason = "read to see it refused")]
        limit: Option<u32>,
        #[expect(dead_code, reason = "read to see it refused")]
        deep: Option<bool>,
    }

    fn check(result: Result<impl std::fmt::Debug>, field: &str, message: &str) {
        let err = result.unwrap_err();
        assert_eq!((err.field_name().unwrap_or_default(), err.message()), (field, message));
    }

    #[test]
    fn an_error_names_field_and_rule_and_never_the_value() {
        check(json::<NewJob>(b"{"), "body", "the body is not JSON (line 1, column 1)");
        check(json::<()>(b"null x"), "body", "the body is not JSON (line 1, column 6)");
        check(json::<NewJob>(b""), "body.subject", "subject is missing");
        check(json::<NewJob>(br#"{"subject":"a"}"#), "body.body", "body is missing");
        check(json::<NewJob>(br#"{"subject":5,"body":"b"}"#), "body.subject", "subject has to be a text");
        check(
            json::<NewJob>(br#"{"subject":"s","body":"b","priority":"SECRET"}"#),
            "body.priority",
            "priority has to be an integer",
        );
        check(
            json::<NewJob>(br#"{"subject":"s","body":"b","attachments":[1]}"#),
            "body.attachments.[0]",
            "attachments.[0] has to be a text",
        );
        check(json::<NewJob>(b"[1]"), "body.[0]", "[0] has to be a text");
        let unknown = json::<NewJob>(br#"{"subject":"s","body":"b","priorty":1}"#).unwrap_err();
        assert_eq!(unknown.field_name(), Some("body.priorty"));
        assert!(unknown.message().starts_with("priorty is not a known field; known: `subject`, `body`"), "{unknown}");
        let hostile = json::<NewJob>(br#"{"subject":"s","body":"b","<script>":1}"#).unwrap_err();
        assert!(!format!("{:?}", hostile.message()).contains("script"), "{hostile}");

        check(query::<List>(Some("limit=SECRET")), "query.limit", "limit has to be an integer");
        check(query::<List>(Some("limit=99999999999")), "query.limit", "limit is out of range");
        check(query::<List>(Some("deep=maybe")), "query.deep", "deep has to be true or false");
        assert!(query::<List>(Some("other=1")).is_ok());
        query::<()>(Some("other=1")).unwrap();
    }
}
