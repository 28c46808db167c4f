//! HTML of mail: as text for the model, and cleaned for people. What is hidden from people reaches neither.

use std::collections::HashSet;

use html5ever::{
    ParseOpts, parse_document,
    serialize::{SerializeOpts, serialize},
    tendril::TendrilSink as _,
    tree_builder::TreeBuilderOpts,
};
use markup5ever_rcdom::{RcDom, SerializableHandle};

use super::hidden;

/// What is shown of a page.
pub(super) struct Shown {
    pub(super) text: String,
    pub(super) html: String,
    /// Something was hidden.
    pub(super) hid: bool,
}

pub(super) fn shown(page: &str) -> Shown {
    let options = ParseOpts {
        tree_builder: TreeBuilderOpts { scripting_enabled: false, ..Default::default() },
        ..Default::default()
    };
    let dom = parse_document(RcDom::default(), options).one(page);
    let hid = hidden::remove(&dom);
    let mut kept = Vec::new();
    let document: SerializableHandle = dom.document.clone().into();
    if serialize(&mut kept, &document, SerializeOpts::default()).is_err() {
        kept.clear();
    }
    let html = clean(&String::from_utf8_lossy(&kept));
    let text = html2text::config::plain()
        .allow_width_overflow()
        .no_link_wrapping()
        .no_table_borders()
        .string_from_read(html.as_bytes(), 1000)
        .unwrap_or_default();
    Shown { text, html, hid }
}

/// Text, headings, lists, tables and links; nothing that loads, runs, submits or styles.
fn clean(page: &str) -> String {
    let allowed: HashSet<&str> = [
        "a",
        "abbr",
        "b",
        "blockquote",
        "br",
        "code",
        "dd",
        "del",
        "div",
        "dl",
        "dt",
        "em",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "i",
        "ins",
        "li",
        "ol",
        "p",
        "pre",
        "q",
        "s",
        "small",
        "span",
        "strike",
        "strong",
        "sub",
        "sup",
        "table",
        "tbody",
        "td",
        "tfoot",
        "th",
        "thead",
        "tr",
        "tt",
        "u",
        "ul",
    ]
    .into();
    let empty: HashSet<&str> = [
        "script", "style", "title", "template", "noscript", "textarea", "select", "button", "object", "iframe", "svg",
        "math", "audio", "video", "canvas",
    ]
    .into();
    ammonia::Builder::default()
        .tags(allowed)
        .clean_content_tags(empty)
        .tag_attributes(
            [("a", ["href"].into()), ("td", ["colspan", "rowspan"].into()), ("th", ["colspan", "rowspan"].into())]
                .into(),
        )
        .generic_attributes(HashSet::new())
        .url_schemes(["http", "https", "mailto"].into())
        .url_relative(ammonia::UrlRelative::Deny)
        .link_rel(Some("noopener noreferrer"))
        .clean(page)
        .to_string()
}
