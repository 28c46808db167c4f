//! What is printed: tables for people, plain lines for pipes, versioned JSON for programs.

mod table;

use std::{
    borrow::Cow,
    env,
    fmt::Write as _,
    io::{self, IsTerminal as _, Write as _},
    str::FromStr,
};

use assistant_api::OUTPUT_SCHEMA;
use serde::Serialize;
use serde_json::{Map, Value};
pub use table::{Style, Table, cell, state};

use crate::{
    exit::{Code, Failure, Result},
    text,
};

/// `-o`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// Tables and text for people; plain and stable when piped. Only the named columns of a table, if any are named.
    Table(Vec<String>),
    /// The first column of a table, without its head.
    Name,
    /// One JSON document, or one per line for what streams.
    Json,
    /// One JSON document per line, also for each entry of a list.
    Ndjson,
}

impl Default for Format {
    fn default() -> Self {
        Self::Table(Vec::new())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "table" => Ok(Self::default()),
            "name" => Ok(Self::Name),
            "json" => Ok(Self::Json),
            "ndjson" => Ok(Self::Ndjson),
            _ => match text.strip_prefix("table=") {
                Some(columns) if !columns.is_empty() => {
                    Ok(Self::Table(columns.split(',').map(|column| column.trim().to_uppercase()).collect()))
                }
                _ => Err("possible are table, table=COLUMN,..., name, json and ndjson".to_owned()),
            },
        }
    }
}

/// Where and how things are printed.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about the terminal")]
pub struct Output {
    /// Whether a program reads it, in either form of JSON.
    pub json: bool,
    format: Format,
    headers: bool,
    /// Whether a person reads the standard output.
    pub terminal: bool,
    /// Whether a person reads the standard error.
    pub error_terminal: bool,
    color: bool,
    width: usize,
}

impl Output {
    /// For the standard output as it is.
    pub fn detect(format: Format, headers: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let no_color = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_none_or(|value| value == "dumb");
        let width = terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0));
        Self {
            json: matches!(format, Format::Json | Format::Ndjson),
            headers: headers && format != Format::Name,
            format,
            terminal,
            error_terminal: io::stderr().is_terminal(),
            color: terminal && !no_color && !dumb,
            width: width.max(20),
        }
    }

    /// Prints a line that this program made; what came from elsewhere in it must be clean.
    #[expect(clippy::unused_self, reason = "printing is one interface")]
    pub fn line(&self, line: impl AsRef<str>) -> Result<()> {
        print(format!("{}\n", line.as_ref()).as_bytes())
    }

    /// Prints text of any length from elsewhere, cleaned, with a line end.
    pub fn text(&self, text: &str) -> Result<()> {
        self.line(text::clean(text).trim_end_matches('\n'))
    }

    /// Emphasises text, on a terminal with colours only.
    pub fn style(&self, style: Style, text: &str) -> String {
        let code = style.code();
        if !self.color || code.is_empty() { text.to_owned() } else { format!("\u{1b}[{code}m{text}\u{1b}[0m") }
    }

    /// A point in time: its age on a terminal, else UTC.
    pub fn when(&self, at: jiff::Timestamp) -> String {
        if self.terminal { text::age(at, text::now()) } else { text::utc(at) }
    }

    /// Columns of the terminal; unlimited when there is none.
    pub fn columns(&self) -> usize {
        if self.terminal { self.width } else { usize::MAX }
    }

    /// Prints a table; `nothing` to people when it has no rows.
    pub fn table(&self, table: &Table, nothing: &str) -> Result<()> {
        if table.is_empty() {
            if self.terminal {
                self.note(nothing);
            }
            return Ok(());
        }
        let table = self.chosen(table)?;
        print(self.render(&table).as_bytes())
    }

    /// The columns that were asked for.
    fn chosen<'a>(&self, table: &'a Table) -> Result<Cow<'a, Table>> {
        let columns = match &self.format {
            Format::Name => vec![0],
            Format::Table(names) if !names.is_empty() => {
                let place = |name: &String| table.headers.iter().position(|header| header == name);
                let known = || table.headers.join(", ").to_lowercase();
                let unknown = |name: &String| {
                    let name = name.to_lowercase();
                    Failure::usage(format!("there is no column {name}")).hint(format!("there are {}", known()))
                };
                names.iter().map(|name| place(name).ok_or_else(|| unknown(name))).collect::<Result<_>>()?
            }
            _ => return Ok(Cow::Borrowed(table)),
        };
        Ok(Cow::Owned(table.columns(&columns)))
    }

    fn render(&self, table: &Table) -> String {
        let head: Vec<(String, Style)> =
            table.headers.iter().map(|header| ((*header).to_owned(), Style::Bold)).collect();
        let rows = self.headers.then_some(&head).into_iter().chain(&table.rows);
        let widths: Vec<usize> = (0..table.headers.len())
            .map(|column| rows.clone().map(|row| text::width(&row[column].0)).max().unwrap_or(0))
            .collect();
        let mut text = String::new();
        for row in rows {
            let mut left = self.columns();
            for (column, (cell, style)) in row.iter().enumerate() {
                if column + 1 == row.len() {
                    text.push_str(&self.style(*style, &text::shorten(cell, left.max(10))));
                } else {
                    text.push_str(&self.style(*style, cell));
                    text.push_str(&text::pad(cell, widths[column] + 2));
                    left = left.saturating_sub(widths[column] + 2);
                }
            }
            text.truncate(text.trim_end_matches(' ').len());
            text.push('\n');
        }
        text
    }

    /// Prints names with their values, one per line and aligned.
    pub fn fields<'a>(&self, fields: impl IntoIterator<Item = (&'a str, String)>) -> Result<()> {
        let fields: Vec<_> = fields.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 2;
        for (name, value) in fields {
            self.line(format!("{}{}{value}", self.style(Style::Bold, name), text::pad(name, width)))?;
        }
        Ok(())
    }

    /// Prints a JSON object with the schema's version as its first field: indented for people, one line for programs.
    /// As `ndjson`, a list goes out entry by entry: an object whose only array it is.
    pub fn json(&self, value: &impl Serialize) -> Result<()> {
        if self.format != Format::Ndjson {
            return self.object(value, self.terminal);
        }
        let value = serde_json::to_value(value).map_err(|err| Failure::new(Code::Failed, err.to_string()))?;
        match only_list(&value) {
            Some(entries) => entries.iter().try_for_each(|entry| self.json_line(entry)),
            None => self.json_line(&value),
        }
    }

    /// Prints one JSON object on one line, as part of a stream.
    pub fn json_line(&self, value: &impl Serialize) -> Result<()> {
        self.object(value, false)
    }

    fn object(&self, value: &impl Serialize, indented: bool) -> Result<()> {
        let unfit = |what: &str| Failure::new(Code::Failed, format!("the answer is no JSON object: {what}"));
        let mut object = Map::from_iter([("schema".to_owned(), Value::from(OUTPUT_SCHEMA))]);
        match serde_json::to_value(value).map_err(|err| unfit(&err.to_string()))? {
            Value::Object(fields) => object.extend(fields),
            other => return Err(unfit(&other.to_string())),
        }
        let text = if indented { serde_json::to_string_pretty(&object) } else { serde_json::to_string(&object) };
        self.line(escape(&text.map_err(|err| unfit(&err.to_string()))?))
    }

    /// Tells people something beside the result, on the standard error; programs are not told.
    #[expect(clippy::print_stderr, reason = "this is the command line")]
    pub fn note(&self, note: &str) {
        if !self.json {
            eprintln!("{}", text::clean(note));
        }
    }

    /// Shows a failure: to programs as the last JSON document, to people on the standard error.
    #[expect(clippy::print_stderr, reason = "this is the command line")]
    pub fn failure(&self, failure: &Failure, debug: bool) {
        if self.json {
            let error = serde_json::json!({ "error": {
                "kind": failure.kind,
                "message": failure.message,
                "hint": failure.hint,
                "field": failure.field,
                "request_id": failure.request_id,
                "exit_code": failure.code as u8,
            }});
            // There is no better place left to tell that this failed, too.
            _ = self.json_line(&error);
            return;
        }
        let mut lines = format!("error[{}]: {}", failure.kind, text::one_line(&failure.message));
        if let Some(field) = failure.field.as_deref().filter(|field| !failure.message.contains(field)) {
            _ = write!(lines, " (field {})", text::one_line(field));
        }
        if let Some(hint) = &failure.hint {
            _ = write!(lines, "\nhint: {}", text::clean(hint));
        }
        if let Some(id) = failure.request_id.as_deref().filter(|_| debug) {
            _ = write!(lines, "\nrequest id: {}", text::one_line(id));
        }
        eprintln!("{lines}");
    }
}

/// The entries of an object that is a list: it has one array, of objects, and no other part of weight.
fn only_list(value: &Value) -> Option<&Vec<Value>> {
    let mut parts = value.as_object()?.values().filter(|part| part.is_array() || part.is_object());
    let list = parts.next()?.as_array()?;
    (parts.next().is_none() && list.iter().all(Value::is_object)).then_some(list)
}

/// A value with nothing left out, indented; what a terminal may act on is escaped as JSON escapes it.
pub fn exact(value: &Value) -> String {
    escape(&format!("{value:#}")).into_owned()
}

/// Prints bytes as they are.
pub fn print(bytes: &[u8]) -> Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    Ok(stdout.flush()?)
}

/// Escapes what JSON leaves as it is but a terminal may act on; in JSON text it stands only inside of strings.
fn escape(json: &str) -> Cow<'_, str> {
    let acts = |char: char| text::drives(char) && char != '\n';
    if !json.contains(acts) {
        return json.into();
    }
    let mut escaped = String::with_capacity(json.len());
    for char in json.chars() {
        if acts(char) {
            _ = write!(escaped, "\\u{:04x}", u32::from(char));
        } else {
            escaped.push(char);
        }
    }
    escaped.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(width: Option<usize>, color: bool) -> Output {
        Output {
            json: false,
            format: Format::default(),
            headers: true,
            terminal: width.is_some(),
            error_terminal: false,
            color,
            width: width.unwrap_or(80),
        }
    }

    fn table() -> Table {
        let mut table = Table::new(&["ID", "STATUS", "SUBJECT"]);
        table.row([cell("7"), state("running"), cell("a subject that is rather long\nand has two lines")]);
        table.row([cell("1234"), state("failed"), cell("\u{1b}[2Jshort")]);
        table
    }

    #[test]
    fn tables_are_aligned_and_whole_when_piped() {
        insta::assert_snapshot!(output(None, false).render(&table()), @r"
        ID    STATUS   SUBJECT
        7     running  a subject that is rather long and has two lines
        1234  failed   short
        ");
        let bare = Output { headers: false, ..output(None, false) };
        assert!(!bare.render(&table()).contains("SUBJECT"));
    }

    #[test]
    fn tables_fit_the_terminal_and_are_coloured_there() {
        let text = output(Some(30), false).render(&table());
        assert!(text.lines().all(|line| text::width(line) <= 30), "{text}");
        assert!(output(Some(80), true).render(&table()).contains("\u{1b}[31mfailed\u{1b}[0m"));
    }

    #[test]
    fn columns_are_chosen_by_name() {
        let render = |format: &str| {
            let format: Format = format.parse().unwrap();
            let output = Output { headers: format != Format::Name, format, ..output(None, false) };
            output.chosen(&table()).map(|table| output.render(&table))
        };
        assert_eq!(render("name").unwrap(), "7\n1234\n");
        assert_eq!(render("table=status,id").unwrap(), "STATUS   ID\nrunning  7\nfailed   1234\n");
        let failure = render("table=size").unwrap_err();
        assert_eq!(failure.message, "there is no column size");
        assert_eq!(failure.hint.as_deref(), Some("there are id, status, subject"));
        for wrong in ["yaml", "table=", ""] {
            assert!(wrong.parse::<Format>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_list_is_known_by_its_only_array() {
        let list = |json| only_list(&json).map(Vec::len);
        assert_eq!(list(serde_json::json!({ "jobs": [{}, {}], "next_cursor": null })), Some(2));
        assert_eq!(list(serde_json::json!({ "jobs": [] })), Some(0));
        assert_eq!(list(serde_json::json!({ "job": {}, "logs": [{}] })), None);
        assert_eq!(list(serde_json::json!({ "names": ["a"] })), None);
        assert_eq!(list(serde_json::json!({ "ok": true })), None);
    }

    #[test]
    fn json_text_cannot_drive_the_terminal() {
        let json = serde_json::to_string("a\u{9b}31m\u{202e}\u{7f}b\n").unwrap();
        assert_eq!(escape(&json), r#""a\u009b31m\u202e\u007fb\n""#);
        assert_eq!(serde_json::from_str::<String>(&escape(&json)).unwrap(), "a\u{9b}31m\u{202e}\u{7f}b\n");
    }
}
