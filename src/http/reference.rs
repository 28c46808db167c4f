//! `/docs` and `/redoc`: the OpenAPI document as a page to read, in plain HTML that needs nothing from anywhere.

use std::{fmt::Write as _, sync::LazyLock};

use assistant_api::{ErrorKind, Role};
use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Method, Response, header},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{
    openapi,
    route::{Raw, Req, Route},
};
use crate::error::{Error, Result};

/// How the page looks: no line wider than a phone, and the reader's own theme.
const STYLE: &str = "\
body{margin:0 auto;max-width:60rem;padding:1rem;font:15px/1.5 system-ui,sans-serif;overflow-wrap:break-word}\
h1{font-size:1.5rem;margin:0}\
h2{font-size:1rem;margin:1.5rem 0 .25rem}\
summary{cursor:pointer;padding:.25rem 0}\
details[open]{padding-bottom:.5rem}\
ul{padding-left:1.25rem}\
pre{white-space:pre-wrap;margin:.25rem 0;font-size:13px}\
table{border-collapse:collapse;width:100%}\
th,td{text-align:left;vertical-align:top;padding:.25rem .75rem .25rem 0;border-top:1px solid #8886}\
@media(max-width:40rem){tr:first-child{display:none}td{display:block;border:0;padding:0}td:first-child{border-top:1px solid #8886;padding-top:.5rem}}";

/// There is nothing in the page but text and that one style (W3C CSP 3).
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    )
});

const HEADERS: [(&str, &str); 4] = [
    ("content-type", "text/html; charset=utf-8"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cache-control", "no-cache"),
];

pub(super) fn routes() -> [Route; 2] {
    ["/docs", "/redoc"].map(|path| {
        let summary = "The API as a page to read; off unless api.docs_enabled.";
        Route::new(Method::GET, path, Role::Viewer, summary, serve).errors(&[ErrorKind::NotFound]).produces("text/html")
    })
}

async fn serve(req: Req) -> Result<Raw> {
    if !req.cx.config.load().api.docs_enabled {
        return Err(Error::new(ErrorKind::NotFound, "the documentation is not served")
            .hint("set api.docs_enabled = true; docs/api.md of the package says the same"));
    }
    let page = page(&openapi::document(&super::routes(req.cx.subsystems)));
    let mut response = Response::new(Body::from(page));
    let headers = HEADERS.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    response.headers_mut().extend(headers);
    let policy = HeaderValue::from_str(&POLICY).map_err(Error::internal)?;
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    Ok(Raw(response))
}

/// Every operation, and the shapes that they name.
fn page(document: &Value) -> String {
    let title = format!("{} {}", text(&document["info"]["title"]), text(&document["info"]["version"]));
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>{title}</h1>\n<p>{}</p>\n",
        text(&document["info"]["summary"])
    );
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        let _ = writeln!(html, "<h2><code>{}</code></h2>", escape(path));
        for (method, operation) in methods.as_object().into_iter().flatten() {
            self::operation(&mut html, method, operation);
        }
    }
    html.push_str("<h2>Shapes</h2>\n");
    for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
        let name = escape(name);
        let _ = writeln!(html, "<details id=\"{name}\"><summary>{name}</summary>{}</details>", json(schema));
    }
    html.push_str("</main>\n</body>\n</html>\n");
    html
}

fn operation(html: &mut String, method: &str, operation: &Value) {
    let role = operation["x-minimum-role"].as_str().map_or_else(|| "everybody".to_owned(), escape);
    let _ = writeln!(
        html,
        "<details><summary><b>{}</b> {} <small>({role})</small></summary>",
        escape(&method.to_uppercase()),
        text(&operation["summary"]),
    );
    let parameters = operation["parameters"].as_array().filter(|list| !list.is_empty());
    if let Some(parameters) = parameters {
        html.push_str("<table>\n<tr><th>parameter</th><th>in</th><th>required</th><th>meaning</th></tr>\n");
        for one in parameters {
            let _ = writeln!(
                html,
                "<tr><td><code>{}</code></td><td>{}</td><td>{}</td><td>{} {}</td></tr>",
                text(&one["name"]),
                text(&one["in"]),
                if one["required"] == true { "yes" } else { "no" },
                text(&one["description"]),
                json(&one["schema"]),
            );
        }
        html.push_str("</table>\n");
    }
    if let Some(content) = operation["requestBody"].get("content") {
        let _ = writeln!(html, "<p>Body:</p>{}", json(content));
    }
    html.push_str("<p>Answers:</p>\n<ul>\n");
    for (status, answer) in operation["responses"].as_object().into_iter().flatten() {
        let said = match (answer["$ref"].as_str(), answer.get("content")) {
            (Some(name), _) => escape(name.rsplit('/').next().unwrap_or_default()),
            (None, Some(content)) => json(content),
            (None, None) => text(&answer["description"]),
        };
        let _ = writeln!(html, "<li>{}: {said}</li>", escape(status));
    }
    html.push_str("</ul>\n</details>\n");
}

fn json(value: &Value) -> String {
    format!("<pre>{}</pre>", escape(&serde_json::to_string_pretty(value).unwrap_or_default()))
}

fn text(value: &Value) -> String {
    escape(value.as_str().unwrap_or_default())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_shows_what_the_document_says_and_nothing_becomes_markup() {
        let html = page(&json!({
            "info": { "title": "<x>", "version": "1", "summary": "a & b" },
            "paths": { "/a/{id}": { "get": {
                "summary": "Shows \"it\".", "x-minimum-role": "viewer",
                "parameters": [{ "name": "id", "in": "path", "required": true, "description": "<b>", "schema": { "type": "integer" } }],
                "responses": { "200": { "content": { "application/json": {} } }, "404": { "$ref": "#/components/responses/not_found" } },
            } } },
            "components": { "schemas": { "Job": { "type": "object" } } },
        }));
        for shown in
            ["<h1>&lt;x&gt; 1</h1>", "a &amp; b", "<b>GET</b> Shows &quot;it&quot;.", "<td>&lt;b&gt;", "404: not_found"]
        {
            assert!(html.contains(shown), "{shown} is missing in {html}");
        }
        assert!(html.contains("<details id=\"Job\">") && !html.contains("<x>"));
    }
}
