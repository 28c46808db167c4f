//! The OpenAPI 3.1 document, made from the route table: parameters, bodies, answers and every kind of error of every
//! route come from the types and declarations that the program itself runs on.

use std::collections::BTreeMap;

use assistant_api::{ErrorKind, Problem, Role};
use axum::http::{HeaderValue, Method, Response, header};
use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{
    login,
    peer::Who,
    problem,
    route::{BodyLimit, Raw, Req, Route, TimeLimit},
};
use crate::error::{Error, ErrorKind as Kind, Result};

pub(super) fn route() -> Route {
    let summary = "This document; for administrators on the socket, for others only with api.openapi_enabled.";
    Route::new(Method::GET, "/openapi.json", Role::Viewer, summary, serve)
        .errors(&[ErrorKind::NotFound])
        .produces("application/json")
}

async fn serve(req: Req) -> Result<Raw> {
    // Who administrates this host can read it in the package as well.
    let at_home = matches!(req.peer.who, Who::Process { .. }) && req.peer.role == Some(Role::Admin);
    if !at_home && !req.cx.config.load().api.openapi_enabled {
        return Err(Error::new(Kind::NotFound, "the OpenAPI document is not served")
            .hint("set api.openapi_enabled = true; the same document is docs/openapi.json"));
    }
    let body = serde_json::to_vec(&document(&super::routes(req.cx.subsystems)))?;
    let mut response = Response::new(axum::body::Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(Raw(response))
}

/// Makes the document.
pub fn document(routes: &[Route]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut shared = settings.into_generator();
    let mut errors = Errors { problem: shared.subschema_for::<Problem>().to_value(), known: BTreeMap::new() };
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for route in routes {
        let method = route.method.as_str().to_lowercase();
        // A parameter for the rest of a path is one like others here.
        paths
            .entry(route.path.replace("{*", "{"))
            .or_default()
            .insert(method, operation(route, &mut shared, &mut errors));
    }
    let mut answer = |kinds: &[ErrorKind]| reference(&errors.name(kinds));
    let unmatched = json!({
        "401": answer(&[ErrorKind::Unauthorized]),
        "403": answer(&[ErrorKind::Forbidden]),
        "404": answer(&[ErrorKind::NotFound, ErrorKind::NotAvailable]),
        "405": answer(&[ErrorKind::MethodNotAllowed]),
    });
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "assistantd",
            "summary": "The API of the assistant daemon.",
            "description": "Served on a Unix socket, where the kernel says who is asking, and with a login on the network. See docs/api.md.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "http://assistantd", "description": "api.sock in the daemon's runtime directory" }],
        "paths": paths,
        // What a path or a method gets that stands nowhere above.
        "x-unmatched-responses": unmatched,
        "components": {
            "schemas": shared.definitions(),
            "responses": errors.known,
            "securitySchemes": security_schemes(),
        },
    })
}

fn security_schemes() -> Value {
    let session = |secure: bool, over: &str| {
        json!({
            "type": "apiKey", "in": "cookie", "name": login::cookie_name(secure),
            "description": format!("A browser's session over {over}, opened by POST /api/login."),
        })
    };
    json!({
        "token": {
            "type": "http", "scheme": "bearer",
            "description": "A token of `assistantctl token create`; it may be kept to some routes.",
        },
        "session": session(false, "HTTP"),
        "sessionByHttps": session(true, "HTTPS"),
        "csrf": {
            "type": "apiKey", "in": "header", "name": login::CSRF,
            "description": "The session's `csrf_token`, given by POST /api/login and GET /api/session.",
        },
    })
}

/// One of these, where the route asks who it is; the first is the socket's, where the kernel says it.
fn security(route: &Route) -> Value {
    if route.role.is_none() {
        return json!([]);
    }
    let session = |name: &str| {
        let mut needed = Map::from_iter([(name.to_owned(), json!([]))]);
        if login::takes_csrf(&route.method) {
            needed.insert("csrf".to_owned(), json!([]));
        }
        needed
    };
    json!([{}, { "token": [] }, session("session"), session("sessionByHttps")])
}

fn operation(route: &Route, shared: &mut SchemaGenerator, errors: &mut Errors) -> Value {
    let mut operation = json!({
        "operationId": operation_id(route),
        "summary": route.summary,
        "tags": [route.path.trim_start_matches("/api").split('/').nth(1).filter(|tag| !tag.is_empty()).unwrap_or("api")],
        "x-minimum-role": route.role,
        "x-time-limit": match route.time {
            TimeLimit::Request => "api.request_timeout",
            TimeLimit::Stream => "api.stream_idle_timeout",
        },
        "security": security(route),
        "parameters": parameters(route),
        "responses": responses(route, shared, errors),
    });
    let body = match (route.body, (route.schemas.body)(shared)) {
        (BodyLimit::Bytes(_), Some(schema)) => json!({ "application/json": { "schema": schema } }),
        (BodyLimit::Upload | BodyLimit::Input, _) => json!({ "application/octet-stream": {} }),
        _ => return operation,
    };
    operation["requestBody"] = json!({ "required": true, "content": body });
    operation["x-body-limit"] = match route.body {
        BodyLimit::Bytes(limit) => json!(limit),
        _ => json!("api.max_upload_bytes"),
    };
    operation
}

/// `GET /api/jobs/{id}/poll` is `get_jobs_id_poll`.
fn operation_id(route: &Route) -> String {
    let path = route.path.trim_start_matches("/api").replace(['{', '}', '*'], "").replace(['/', '.', '-'], "_");
    let path = if path.is_empty() { "_api" } else { &path };
    format!("{}{path}", route.method.as_str().to_lowercase())
}

fn parameters(route: &Route) -> Vec<Value> {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut inline = settings.into_generator();
    let names: Vec<&str> =
        route.path.split(['{', '}']).skip(1).step_by(2).map(|name| name.trim_start_matches('*')).collect();
    let path = (route.schemas.path)(&mut inline).to_value();
    let mut parameters: Vec<Value> = names
        .iter()
        .map(|name| {
            // A handler may take its only parameter without naming it.
            let schema = path["properties"].get(*name).unwrap_or(&path);
            parameter("path", name, schema, true)
        })
        .collect();
    let query = (route.schemas.query)(&mut inline).to_value();
    let required = |name: &str| query["required"].as_array().is_some_and(|list| list.iter().any(|item| item == name));
    for (name, schema) in query["properties"].as_object().into_iter().flatten() {
        parameters.push(parameter("query", name, schema, required(name)));
    }
    if takes_key(route) {
        let schema = json!({
            "description": "Makes a repetition of this request give the first answer instead of doing the work again.",
            "type": "string", "minLength": 1, "maxLength": 255,
        });
        parameters.push(parameter("header", "Idempotency-Key", &schema, false));
    }
    parameters
}

fn parameter(place: &str, name: &str, schema: &Value, required: bool) -> Value {
    let mut schema = schema.clone();
    let description = schema.as_object_mut().and_then(|object| object.remove("description"));
    let mut parameter = json!({ "name": name, "in": place, "required": required, "schema": schema });
    if let Some(description) = description {
        parameter["description"] = description;
    }
    parameter
}

fn takes_key(route: &Route) -> bool {
    route.method == Method::POST && matches!(route.body, BodyLimit::Bytes(_))
}

/// Every kind of error that a route can give: its own, and those that its declaration implies.
pub fn error_kinds(route: &Route) -> Vec<ErrorKind> {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut inline = settings.into_generator();
    let has_query = (route.schemas.query)(&mut inline).to_value()["properties"].is_object();
    let has_body = (route.schemas.body)(&mut inline).is_some();
    let mut kinds = route.errors.to_vec();
    kinds.extend([
        ErrorKind::Forbidden,
        ErrorKind::Internal,
        ErrorKind::Invalid,
        // The connections of one address are counted before its request is read.
        ErrorKind::RateLimited,
        ErrorKind::TooLarge,
        ErrorKind::Unauthorized,
        ErrorKind::Unavailable,
    ]);
    if has_body || has_query || takes_key(route) || route.path.contains('{') {
        kinds.push(ErrorKind::Validation);
    }
    if has_body {
        kinds.push(ErrorKind::UnsupportedMedia);
    }
    if takes_key(route) {
        kinds.push(ErrorKind::Conflict);
    }
    if route.method != Method::GET {
        kinds.push(ErrorKind::StorageFull);
    }
    if route.time == TimeLimit::Request || route.body == BodyLimit::Upload {
        kinds.push(ErrorKind::Timeout);
    }
    kinds.sort_unstable_by_key(|kind| (problem::status(*kind), kind.as_str()));
    kinds.dedup();
    kinds
}

/// The error answers, each kept once under the names of its kinds.
struct Errors {
    problem: Value,
    known: BTreeMap<String, Value>,
}

impl Errors {
    fn name(&mut self, kinds: &[ErrorKind]) -> String {
        let names: Vec<_> = kinds.iter().map(|kind| kind.as_str()).collect();
        let name = names.join("-");
        self.known.entry(name.clone()).or_insert_with(|| {
            json!({
                "description": names.join(", "),
                "content": { "application/problem+json": { "schema": self.problem } },
                "x-error-kinds": names,
            })
        });
        name
    }
}

fn responses(route: &Route, shared: &mut SchemaGenerator, errors: &mut Errors) -> Value {
    let mut success = json!({ "description": "Done." });
    match (route.schemas.reply)(shared) {
        Some(schema) => success["content"] = json!({ "application/json": { "schema": schema } }),
        None if route.schemas.status != 204 => success["content"] = json!({ route.media: {} }),
        None => {}
    }
    let mut responses = Map::new();
    responses.insert(route.schemas.status.to_string(), success);
    if takes_key(route) {
        let gone = "A repetition of a request whose result was erased since; without a body.";
        responses.insert("410".to_owned(), json!({ "description": gone }));
    }
    let mut by_status: BTreeMap<u16, Vec<ErrorKind>> = BTreeMap::new();
    for kind in error_kinds(route) {
        by_status.entry(problem::status(kind).as_u16()).or_default().push(kind);
    }
    for (status, kinds) in by_status {
        responses.insert(status.to_string(), reference(&errors.name(&kinds)));
    }
    Value::Object(responses)
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/responses/{name}") })
}
