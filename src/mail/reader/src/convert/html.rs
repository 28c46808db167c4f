//! Web pages, token by token: no tree is built, so that no depth of nesting costs anything.

use std::cell::RefCell;

use html5ever::{
    tendril::StrTendril,
    tokenizer::{
        BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts, states::RawKind,
    },
};

use super::{Failed, Page, Result, markdown};

/// Bytes that are given to the tokenizer at once.
const CHUNK: usize = 64 << 10;
/// Lists that are shown inside of each other.
const MAX_LISTS: usize = 16;
/// Elements of a kind that are remembered as open, and cells of a row.
const MAX_OPEN: usize = 256;

/// What a page says, as Markdown. Images are their descriptions; scripts, styles and forms are left out.
pub(super) fn page(text: &str, page: &mut Page<'_>) -> Result<()> {
    let tokenizer = Tokenizer::new(Sink(RefCell::new(Writer::new(page))), TokenizerOpts::default());
    let queue = BufferQueue::default();
    let mut rest = text;
    while !rest.is_empty() {
        let mut at = rest.len().min(CHUNK);
        while !rest.is_char_boundary(at) {
            at += 1;
        }
        let (chunk, after) = rest.split_at(at);
        rest = after;
        queue.push_back(StrTendril::from_slice(chunk));
        let _ = tokenizer.feed(&queue); // scripts are not run
        if tokenizer.sink.0.borrow().failed.is_some() {
            break;
        }
    }
    tokenizer.end();
    let mut writer = tokenizer.sink.0.into_inner();
    writer.block(2);
    writer.failed.take().map_or(Ok(()), Err)
}

struct Sink<'a, 'b>(RefCell<Writer<'a, 'b>>);

impl TokenSink for Sink<'_, '_> {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let mut writer = self.0.borrow_mut();
        match token {
            Token::CharacterTokens(text) => writer.characters(&text),
            Token::TagToken(tag) => {
                let raw = raw(&tag);
                match tag.kind {
                    TagKind::StartTag => writer.open(&tag),
                    TagKind::EndTag => writer.close(&tag.name),
                }
                if let Some(raw) = raw {
                    return TokenSinkResult::RawData(raw);
                }
            }
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

/// Elements whose content is not HTML.
fn raw(tag: &Tag) -> Option<RawKind> {
    if tag.kind == TagKind::EndTag {
        return None;
    }
    match &*tag.name {
        "script" => Some(RawKind::ScriptData),
        "style" | "iframe" | "noembed" | "noframes" | "xmp" => Some(RawKind::Rawtext),
        "title" | "textarea" => Some(RawKind::Rcdata),
        _ => None,
    }
}

/// Elements of which nothing is said.
const SILENT: [&str; 10] =
    ["script", "style", "title", "textarea", "iframe", "noembed", "noframes", "xmp", "template", "select"];

struct Writer<'a, 'b> {
    page: &'a mut Page<'b>,
    failed: Option<Failed>,
    /// Of the present paragraph, cell or heading.
    line: String,
    begin: String,
    silent: Vec<String>,
    lists: Vec<Option<u32>>,
    /// Addresses of links, with where their text begins.
    links: Vec<(usize, Option<String>)>,
    pre: bool,
    table: markdown::Table,
    row: Option<Vec<String>>,
}

impl<'a, 'b> Writer<'a, 'b> {
    fn new(page: &'a mut Page<'b>) -> Self {
        Self {
            page,
            failed: None,
            line: String::new(),
            begin: String::new(),
            silent: Vec::new(),
            lists: Vec::new(),
            links: Vec::new(),
            pre: false,
            table: markdown::Table::default(),
            row: None,
        }
    }

    fn write(&mut self, text: &str) {
        if self.failed.is_none() {
            self.failed = self.page.text(text).err();
        }
    }

    fn characters(&mut self, text: &str) {
        if self.silent.is_empty() && self.failed.is_none() {
            self.line.push_str(text);
            if !self.pre && self.line.len() > CHUNK && self.row.is_none() && self.links.is_empty() {
                self.block(0);
            }
        }
    }

    /// Ends the line, followed by so many line feeds.
    fn block(&mut self, feeds: usize) {
        self.links.clear();
        let line = std::mem::take(&mut self.line);
        if let Some(row) = &mut self.row {
            if let Some(cell) = row.last_mut() {
                cell.push_str(&line);
                cell.push(' ');
            }
            return;
        }
        let line = super::plain::clean(&line);
        let said = markdown::one_line(&line);
        if said.is_empty() {
            return;
        }
        let begin = std::mem::take(&mut self.begin);
        self.write(&format!("{begin}{said}{}", "\n".repeat(feeds.max(1))));
    }

    fn open(&mut self, tag: &Tag) {
        let name = &*tag.name;
        if SILENT.contains(&name) && !tag.self_closing {
            if self.silent.len() < MAX_OPEN {
                self.silent.push(name.to_owned());
            }
            return;
        }
        if !self.silent.is_empty() {
            return;
        }
        let attribute = |wanted: &str| {
            let mut attributes = tag.attrs.iter();
            attributes.find(|attribute| &*attribute.name.local == wanted).map(|attribute| attribute.value.to_string())
        };
        match name {
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                self.block(2);
                self.begin = format!("{} ", "#".repeat(name[1..].parse().unwrap_or(1)));
            }
            "ul" | "ol" => {
                self.block(if self.lists.is_empty() { 2 } else { 1 });
                if self.lists.len() < MAX_OPEN {
                    self.lists.push((name == "ol").then_some(0));
                }
            }
            "li" => self.item(),
            "blockquote" => {
                self.block(2);
                "> ".clone_into(&mut self.begin);
            }
            "pre" => {
                self.block(2);
                self.pre = true;
            }
            "br" if self.pre => self.line.push('\n'),
            "br" => self.block(1),
            "hr" => {
                self.block(2);
                self.write("---\n\n");
            }
            "img" => self.line.push_str(&attribute("alt").unwrap_or_default()),
            "a" if self.links.len() < MAX_OPEN => self.links.push((self.line.len(), attribute("href"))),
            "table" => {
                self.block(2);
                self.table = markdown::Table::default();
            }
            "tr" => {
                self.end_row();
                self.row = Some(Vec::new());
            }
            "td" | "th" => {
                self.block(1);
                if let Some(row) = self.row.as_mut().filter(|row| row.len() < MAX_OPEN) {
                    row.push(String::new());
                }
            }
            _ if is_block(name) => self.block(2),
            _ => {}
        }
    }

    fn item(&mut self) {
        self.block(1);
        let depth = self.lists.len().clamp(1, MAX_LISTS);
        let mark = match self.lists.last_mut() {
            Some(Some(number)) => {
                *number += 1;
                format!("{number}. ")
            }
            _ => "- ".to_owned(),
        };
        self.begin = format!("{}{mark}", "  ".repeat(depth - 1));
    }

    fn close(&mut self, name: &str) {
        if let Some(at) = self.silent.iter().rposition(|silent| silent == name) {
            self.silent.truncate(at);
            return;
        }
        if !self.silent.is_empty() {
            return;
        }
        match name {
            "a" => self.end_link(),
            "ul" | "ol" => {
                self.block(1);
                self.lists.pop();
                if self.lists.is_empty() && self.row.is_none() {
                    self.write("\n");
                }
            }
            "li" | "td" | "th" => self.block(1),
            "pre" if self.pre => {
                self.pre = false;
                let text = std::mem::take(&mut self.line);
                if self.failed.is_none() && self.row.is_none() {
                    self.failed = markdown::fenced(self.page, "", super::plain::clean(&text).trim_matches('\n')).err();
                    self.write("\n");
                }
            }
            "tr" => self.end_row(),
            "table" => {
                self.end_row();
                self.write("\n");
            }
            _ if is_block(name) => self.block(2),
            _ => {}
        }
    }

    fn end_link(&mut self) {
        let Some((begin, Some(address))) = self.links.pop() else { return };
        if !markdown::is_link(&address) || address.starts_with('#') || !self.line.is_char_boundary(begin) {
            return;
        }
        let text = markdown::one_line(&self.line[begin.min(self.line.len())..]).replace(['[', ']'], "");
        self.line.truncate(begin);
        let link =
            if text.is_empty() || text == address { format!("<{address}>") } else { format!("[{text}]({address})") };
        self.line.push_str(&link);
    }

    fn end_row(&mut self) {
        if self.row.is_none() {
            return;
        }
        self.block(1);
        let row = self.row.take().unwrap_or_default();
        if self.failed.is_none() && row.iter().any(|cell| !cell.trim().is_empty()) {
            let cells: Vec<_> = row.iter().map(|cell| super::plain::clean(cell).into_owned()).collect();
            self.failed = self.table.row(self.page, cells.iter().map(String::as_str)).err();
        }
    }
}

fn is_block(name: &str) -> bool {
    matches!(
        name,
        "p" | "div"
            | "section"
            | "article"
            | "header"
            | "footer"
            | "main"
            | "aside"
            | "nav"
            | "figure"
            | "figcaption"
            | "address"
            | "dl"
            | "dt"
            | "dd"
            | "body"
            | "form"
            | "fieldset"
            | "caption"
            | "center"
            | "blockquote"
            | "h1"
            | "h2"
            | "h3"
            | "h4"
            | "h5"
            | "h6"
    )
}
