//! `docs/openapi.json` and the tables of `docs/api.md` say what the program says; `BLESS=1` writes them.

use std::{fmt::Write as _, fs, path::Path};

use assistant_api::{ErrorKind, Role};
use assistantd::{
    http::{self, openapi, problem},
    subsystems,
};
use schemars::schema_for;
use serde_json::Value;

use super::served::Served;

const HOW: &str = "is stale: run BLESS=1 cargo test --test it api::documents";

#[track_caller]
fn is_current(file: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, expected).unwrap();
    }
    assert!(fs::read_to_string(&path).unwrap_or_default() == expected, "{file} {HOW}");
}

fn document() -> Value {
    openapi::document(&http::routes(subsystems::ALL))
}

#[test]
fn the_openapi_document_is_current() {
    is_current("docs/openapi.json", &(serde_json::to_string_pretty(&document()).unwrap() + "\n"));
}

#[test]
fn the_tables_of_the_manual_are_current() {
    let file = "docs/api.md";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = fs::read_to_string(&path).unwrap();
    let text = filled(&text, "error kinds", &kinds());
    is_current(file, &filled(&text, "routes", &routes()));
}

/// The text with what stands between `<!-- name -->` and the next `<!-- end -->` replaced.
fn filled(text: &str, name: &str, content: &str) -> String {
    let begin = format!("<!-- {name} -->\n");
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("no {begin}"));
    let (_, after) = rest.split_once("<!-- end -->").unwrap();
    format!("{before}{begin}\n{content}\n<!-- end -->{after}")
}

/// Each kind with its documentation, as the schema of [`ErrorKind`] has it.
fn described() -> Vec<(ErrorKind, String)> {
    let schema = schema_for!(ErrorKind).to_value();
    let variants = schema["oneOf"].as_array().unwrap();
    variants
        .iter()
        .map(|variant| {
            let kind: ErrorKind = serde_json::from_value(variant["const"].clone()).unwrap();
            (kind, variant["description"].as_str().unwrap().replace('\n', " "))
        })
        .collect()
}

fn kinds() -> String {
    let mut text = String::from("| Kind | Status | Meaning |\n|---|---|---|\n");
    for (kind, meaning) in described() {
        let _ = writeln!(text, "| `{}` | {} | {meaning} |", kind.as_str(), problem::status(kind).as_u16());
    }
    text
}

fn routes() -> String {
    let mut routes = http::routes(subsystems::ALL);
    routes.sort_by(|one, other| (one.path, one.method.as_str()).cmp(&(other.path, other.method.as_str())));
    let mut text = String::from("| Method | Path | Role | What |\n|---|---|---|---|\n");
    for route in routes {
        let role = match route.role {
            None => "anybody",
            Some(Role::Viewer) => "viewer",
            Some(Role::Operator) => "operator",
            Some(Role::Admin) => "admin",
        };
        let _ = writeln!(text, "| {} | `{}` | {role} | {} |", route.method, route.path, route.summary);
    }
    text
}

#[test]
fn the_document_is_whole() {
    let document = document();
    let mut ids = std::collections::BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let name = format!("{method} {path}");
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} twice");
            let parameters = operation["parameters"].as_array().unwrap();
            let in_path = parameters.iter().filter(|parameter| parameter["in"] == "path").count();
            assert_eq!(in_path, path.matches('{').count(), "{name}");
            for parameter in parameters {
                assert!(parameter["schema"].is_object(), "{name}: {parameter}");
            }
            let responses = operation["responses"].as_object().unwrap();
            for status in ["401", "403", "429", "500", "503"] {
                assert!(responses.contains_key(status), "{name} has no {status}");
            }
            is_secured(&document, operation, method, &name);
            let success = responses.iter().find(|(status, _)| status.starts_with('2')).expect("a success").1;
            assert!(operation["responses"]["204"].is_object() || success["content"].is_object(), "{name}");
        }
    }
    let answers = document["components"]["responses"].as_object().unwrap().values();
    let given: Vec<&Value> = answers.flat_map(|answer| answer["x-error-kinds"].as_array().unwrap()).collect();
    for (kind, _) in described() {
        assert!(given.iter().any(|given| **given == kind.as_str()), "{kind:?} is given by no route");
    }
    let mut missing = Vec::new();
    find_broken(&document, &document, &mut missing);
    assert!(missing.is_empty(), "references without a target: {missing:?}");
}

/// Who needs no login, as on the socket, and what a login is elsewhere; what changes something takes more of a browser.
fn is_secured(document: &Value, operation: &Value, method: &str, name: &str) {
    let ways = operation["security"].as_array().unwrap();
    if operation["x-minimum-role"].is_null() {
        assert!(ways.is_empty(), "{name} takes no login");
        return;
    }
    let named: Vec<Vec<&str>> =
        ways.iter().map(|way| way.as_object().unwrap().keys().map(String::as_str).collect()).collect();
    let expected: [&[&str]; 4] = match method {
        "get" => [&[], &["token"], &["session"], &["sessionByHttps"]],
        _ => [&[], &["token"], &["session", "csrf"], &["sessionByHttps", "csrf"]],
    };
    assert_eq!(named, expected, "{name}");
    for scheme in named.concat() {
        assert!(document["components"]["securitySchemes"][scheme].is_object(), "{name}: {scheme}");
    }
}

fn find_broken(document: &Value, value: &Value, missing: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            if let Some(target) = object.get("$ref").and_then(Value::as_str)
                && document.pointer(target.trim_start_matches('#')).is_none()
            {
                missing.push(target.to_owned());
            }
            object.values().for_each(|value| find_broken(document, value, missing));
        }
        Value::Array(list) => list.iter().for_each(|value| find_broken(document, value, missing)),
        _ => {}
    }
}

#[tokio::test]
async fn the_document_is_served_to_administrators_on_the_socket() {
    let served = Served::start();
    let reply = served.get("/openapi.json").await;
    assert_eq!((reply.status, reply.json()["openapi"].as_str()), (200, Some("3.1.0")));
}
