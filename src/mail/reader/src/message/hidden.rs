//! Finds what a page hides from people, and takes it out.

use std::{collections::HashSet, rc::Rc};

use html5ever::Attribute;
use markup5ever_rcdom::{Handle, NodeData, RcDom};

const WHITE: [u8; 3] = [255; 3];
/// How near two colours are that nobody tells apart, by the sum of their differences.
const NEAR: u32 = 24;

/// What a style sheet in the page hides, by the last part of a selector.
#[derive(Default)]
struct Rules {
    classes: HashSet<String>,
    ids: HashSet<String>,
    tags: HashSet<String>,
}

/// What an element inherits.
#[derive(Clone, Copy)]
struct Ground {
    behind: [u8; 3],
    text: [u8; 3],
}

/// Takes out every element that nobody would see; whether any of them held text.
pub(super) fn remove(dom: &RcDom) -> bool {
    let rules = rules(&dom.document);
    let ground = Ground { behind: WHITE, text: [0; 3] };
    let mut hid = false;
    let mut ahead = vec![(dom.document.clone(), ground)];
    while let Some((node, ground)) = ahead.pop() {
        node.children.borrow_mut().retain(|child| {
            if let NodeData::Comment { .. } = child.data {
                return false;
            }
            let NodeData::Element { name, attrs, .. } = &child.data else { return true };
            let Some(below) = look(&name.local, &attrs.borrow(), &rules, ground) else {
                hid |= has_text(child);
                return false;
            };
            ahead.push((Rc::clone(child), below));
            true
        });
    }
    hid
}

/// What lies under the element, or `None` when it is hidden.
fn look(tag: &str, attributes: &[Attribute], rules: &Rules, ground: Ground) -> Option<Ground> {
    let get = |wanted: &str| attributes.iter().find(|one| &*one.name.local == wanted).map(|one| one.value.to_string());
    if get("hidden").is_some() || tag == "template" || tag == "noembed" || rules.tags.contains(tag) {
        return None;
    }
    if get("class").is_some_and(|all| all.split_whitespace().any(|one| rules.classes.contains(one)))
        || get("id").is_some_and(|id| rules.ids.contains(id.trim()))
    {
        return None;
    }
    let mut ground = ground;
    let mut coloured = false;
    if let Some(colour) = get("bgcolor").as_deref().and_then(colour) {
        ground.behind = colour;
    }
    if let Some(found) = get("color").filter(|_| tag == "font").or_else(|| get("text")).as_deref().and_then(colour) {
        (ground.text, coloured) = (found, true);
    }
    if tag == "font" && get("size").is_some_and(|size| size.trim() == "0") {
        return None;
    }
    let style = get("style").unwrap_or_default();
    if hides(&style) {
        return None;
    }
    for (name, value) in declarations(&style) {
        match name.as_str() {
            "background" | "background-color" => {
                let found = value.split_whitespace().find_map(colour);
                ground.behind = found.unwrap_or(ground.behind);
            }
            "color" => match colour(&value) {
                Some(found) => (ground.text, coloured) = (found, true),
                None if value.starts_with("transparent") => return None,
                None => {}
            },
            _ => {}
        }
    }
    (!coloured || !near(ground.text, ground.behind)).then_some(ground)
}

fn near(a: [u8; 3], b: [u8; 3]) -> bool {
    a.iter().zip(b).map(|(a, b)| u32::from(a.abs_diff(b))).sum::<u32>() <= NEAR
}

fn has_text(node: &Handle) -> bool {
    let mut ahead = vec![node.clone()];
    while let Some(node) = ahead.pop() {
        if let NodeData::Text { contents } = &node.data
            && !contents.borrow().trim().is_empty()
        {
            return true;
        }
        ahead.extend(node.children.borrow().iter().cloned());
    }
    false
}

fn declarations(style: &str) -> impl Iterator<Item = (String, String)> {
    style.split(';').filter_map(|one| {
        let (name, value) = one.split_once(':')?;
        let value = value.trim().trim_end_matches("!important").trim();
        Some((name.trim().to_ascii_lowercase(), value.to_ascii_lowercase()))
    })
}

/// Whether declarations take an element out of sight.
fn hides(style: &str) -> bool {
    let style = without_comments(style);
    let mut clipped = false;
    let mut flat = false;
    for (name, value) in declarations(&style) {
        let zero = || number(&value).is_some_and(|size| size.abs() < 1.01);
        let hidden = match name.as_str() {
            "display" => value == "none",
            "visibility" => matches!(value.as_str(), "hidden" | "collapse"),
            "opacity" => number(&value).is_some_and(|share| share < 0.05),
            "font-size" => zero() || number(&value).is_some_and(|size| size < 2.0) && value.ends_with("px"),
            "mso-hide" => value == "all",
            "text-indent" | "left" | "right" | "top" | "margin-left" | "margin-top" => {
                number(&value).is_some_and(|size| size <= -500.0)
            }
            "clip" => value.replace([' ', ','], "").contains("rect(0000)"),
            "clip-path" => value.contains("100%") || value.contains("circle(0"),
            "transform" => value.replace(' ', "").contains("scale(0"),
            _ => false,
        };
        if hidden {
            return true;
        }
        clipped |= name.starts_with("overflow") && value.starts_with("hidden");
        flat |= matches!(name.as_str(), "height" | "max-height" | "width" | "max-width") && zero();
    }
    clipped && flat
}

/// The number at the beginning of a value; sizes relative to the text are taken in hundredths of it.
fn number(value: &str) -> Option<f64> {
    let end = value.find(|c: char| !matches!(c, '0'..='9' | '.' | '-' | '+')).unwrap_or(value.len());
    let number: f64 = value.get(..end)?.parse().ok()?;
    let unit = value[end..].trim();
    Some(if matches!(unit, "em" | "rem" | "ex") && number != 0.0 { number * 16.0 } else { number })
}

fn colour(text: &str) -> Option<[u8; 3]> {
    let text = text.trim().trim_end_matches("!important").trim().to_ascii_lowercase();
    let named = match text.as_str() {
        "white" => WHITE,
        "snow" | "ghostwhite" | "ivory" => [250, 250, 250],
        "whitesmoke" => [245, 245, 245],
        "black" => [0; 3],
        "red" => [255, 0, 0],
        "green" => [0, 128, 0],
        "blue" => [0, 0, 255],
        "yellow" => [255, 255, 0],
        "gray" | "grey" => [128; 3],
        "silver" => [192; 3],
        "navy" => [0, 0, 128],
        "maroon" => [128, 0, 0],
        "teal" => [0, 128, 128],
        "purple" => [128, 0, 128],
        "orange" => [255, 165, 0],
        _ => return hex(&text).or_else(|| function(&text)),
    };
    Some(named)
}

fn hex(text: &str) -> Option<[u8; 3]> {
    let digits = text.strip_prefix('#').unwrap_or(text);
    if !digits.is_ascii() {
        return None;
    }
    let byte = |text: &str| u8::from_str_radix(text, 16).ok();
    match digits.len() {
        3 | 4 if text.starts_with('#') => {
            let one = |at: usize| byte(&digits[at..=at]).map(|value| value * 17);
            Some([one(0)?, one(1)?, one(2)?])
        }
        6 | 8 => Some([byte(&digits[..2])?, byte(&digits[2..4])?, byte(&digits[4..6])?]),
        _ => None,
    }
}

/// `rgb(1, 2, 3)` and `rgba(1 2 3 / 1)`.
fn function(text: &str) -> Option<[u8; 3]> {
    let inside = text.strip_prefix("rgb")?.trim_start_matches('a').trim().strip_prefix('(')?.split(')').next()?;
    let mut numbers =
        inside.split([',', ' ', '/']).filter(|part| !part.is_empty()).map(|part| part.parse::<f64>().ok());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "held between 0 and 255 before")]
    let mut next = || numbers.next().flatten().map(|value| value.clamp(0.0, 255.0) as u8);
    Some([next()?, next()?, next()?])
}

fn without_comments(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("/*") {
        kept.push_str(before);
        rest = after.split_once("*/").map_or("", |(_, after)| after);
    }
    kept.push_str(rest);
    kept
}

/// The rules of all style sheets in the page. What holds only on some screens is left aside: mail has such for small
/// ones, and would lose what larger ones show.
fn rules(document: &Handle) -> Rules {
    let mut rules = Rules::default();
    let mut ahead = vec![document.clone()];
    while let Some(node) = ahead.pop() {
        if let NodeData::Element { name, .. } = &node.data
            && &*name.local == "style"
        {
            let mut sheet = String::new();
            for child in node.children.borrow().iter() {
                if let NodeData::Text { contents } = &child.data {
                    sheet.push_str(&contents.borrow());
                }
            }
            read_sheet(&without_comments(&sheet), &mut rules);
        }
        ahead.extend(node.children.borrow().iter().cloned());
    }
    rules
}

fn read_sheet(sheet: &str, rules: &mut Rules) {
    let mut rest = sheet;
    while let Some((selectors, after)) = rest.split_once('{') {
        let selectors = selectors.rsplit(['}', ';']).next().unwrap_or_default().trim();
        let media = selectors.strip_prefix("@media").map(str::trim);
        if matches!(media, Some("all" | "screen")) {
            rest = after;
            continue;
        }
        if selectors.starts_with('@') {
            rest = behind_block(after);
            continue;
        }
        let (body, after) = after.split_once('}').unwrap_or((after, ""));
        rest = after;
        if !hides(body) {
            continue;
        }
        for selector in selectors.split(',') {
            let last = selector.split([' ', '>', '+', '~']).rfind(|part| !part.is_empty()).unwrap_or_default();
            // Only with a state, such as under a pointer.
            if last.contains(':') {
                continue;
            }
            if let Some((_, class)) = last.split_once('.') {
                rules.classes.insert(class.split(['.', '[', '#']).next().unwrap_or_default().to_owned());
            } else if let Some((_, id)) = last.split_once('#') {
                rules.ids.insert(id.split(['.', '[']).next().unwrap_or_default().to_owned());
            } else if !last.is_empty() && last.chars().all(|c| c.is_ascii_alphanumeric()) && last != "body" {
                rules.tags.insert(last.to_ascii_lowercase());
            }
        }
    }
}

/// What follows a block that has begun.
fn behind_block(text: &str) -> &str {
    let mut depth = 1;
    for (at, c) in text.char_indices() {
        depth += match c {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        if depth == 0 {
            return &text[at + 1..];
        }
    }
    ""
}
