//! JSON as models write it: single quotes, trailing commas, bare keys, comments, Python's constants, line breaks in
//! texts. What is missing at the end is never made up: a text that was cut off is an error.

use serde_json::{Map, Number, Value};

const MAX_DEPTH: usize = 64;

/// Why a text is not even nearly JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It ends before the value does.
    Cut,
    /// Something else stands at this character (from 0).
    Unexpected { at: usize, found: char },
    /// Nested too deeply.
    Deep,
    /// Something follows the value.
    Trailing { at: usize },
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cut => f.write_str("the JSON ends too early"),
            Self::Unexpected { at, found } => write!(f, "unexpected {found:?} at character {at}"),
            Self::Deep => f.write_str("nested too deeply"),
            Self::Trailing { at } => write!(f, "something follows the JSON at character {at}"),
        }
    }
}

/// Reads a whole text.
pub(crate) fn parse(text: &str) -> Result<Value, Fault> {
    let mut reader = Reader { chars: text.chars().collect(), at: 0 };
    let value = reader.value(0)?;
    reader.blank();
    if reader.at < reader.chars.len() { Err(Fault::Trailing { at: reader.at }) } else { Ok(value) }
}

/// Reads the value that `text` begins with, and how many bytes it took.
pub(crate) fn prefix(text: &str) -> Result<(Value, usize), Fault> {
    let mut reader = Reader { chars: text.chars().collect(), at: 0 };
    let value = reader.value(0)?;
    let bytes = reader.chars[..reader.at].iter().map(|c| c.len_utf8()).sum();
    Ok((value, bytes))
}

struct Reader {
    chars: Vec<char>,
    at: usize,
}

impl Reader {
    fn peek(&self) -> Result<char, Fault> {
        self.chars.get(self.at).copied().ok_or(Fault::Cut)
    }

    fn unexpected<T>(&self) -> Result<T, Fault> {
        let found = self.peek()?;
        Err(Fault::Unexpected { at: self.at, found })
    }

    fn starts(&self, word: &str) -> bool {
        word.chars().enumerate().all(|(i, c)| self.chars.get(self.at + i) == Some(&c))
    }

    /// Skips white space and comments.
    fn blank(&mut self) {
        loop {
            while self.chars.get(self.at).is_some_and(|c| c.is_whitespace() || *c == '\u{feff}') {
                self.at += 1;
            }
            if self.starts("//") {
                while self.chars.get(self.at).is_some_and(|c| *c != '\n') {
                    self.at += 1;
                }
            } else if self.starts("/*") {
                while self.at < self.chars.len() && !self.starts("*/") {
                    self.at += 1;
                }
                self.at = (self.at + 2).min(self.chars.len());
            } else {
                return;
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, Fault> {
        if depth > MAX_DEPTH {
            return Err(Fault::Deep);
        }
        self.blank();
        match self.peek()? {
            '{' => self.object(depth),
            '[' => self.array(depth),
            '"' | '\'' | '“' => self.text().map(Value::String),
            c if c.is_ascii_digit() || matches!(c, '-' | '+' | '.') => self.number(),
            c if c.is_alphabetic() => self.word(),
            _ => self.unexpected(),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, Fault> {
        self.at += 1;
        let mut map = Map::new();
        loop {
            self.blank();
            match self.peek()? {
                '}' => {
                    self.at += 1;
                    return Ok(Value::Object(map));
                }
                ',' => {
                    self.at += 1;
                    continue;
                }
                _ => {}
            }
            let key = self.key()?;
            self.blank();
            match self.peek()? {
                ':' | '=' => self.at += 1,
                _ => return self.unexpected(),
            }
            let value = self.value(depth + 1)?;
            map.insert(key, value);
            self.blank();
            if !matches!(self.peek()?, ',' | '}') {
                return self.unexpected();
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, Fault> {
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.blank();
            match self.peek()? {
                ']' => {
                    self.at += 1;
                    return Ok(Value::Array(items));
                }
                ',' => {
                    self.at += 1;
                    continue;
                }
                _ => {}
            }
            items.push(self.value(depth + 1)?);
            self.blank();
            if !matches!(self.peek()?, ',' | ']') {
                return self.unexpected();
            }
        }
    }

    fn key(&mut self) -> Result<String, Fault> {
        if matches!(self.peek()?, '"' | '\'' | '“') {
            return self.text();
        }
        let start = self.at;
        while self.chars.get(self.at).is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '$')) {
            self.at += 1;
        }
        if self.at == start { self.unexpected() } else { Ok(self.chars[start..self.at].iter().collect()) }
    }

    fn text(&mut self) -> Result<String, Fault> {
        let close = match self.peek()? {
            '“' => '”',
            quote => quote,
        };
        self.at += 1;
        let mut text = String::new();
        loop {
            let c = self.peek()?;
            self.at += 1;
            match c {
                c if c == close => return Ok(text),
                '\\' => text.push(self.escape()?),
                c => text.push(c),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Fault> {
        let c = self.peek()?;
        self.at += 1;
        Ok(match c {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'u' => {
                let high = self.unit()?;
                if (0xd800..0xdc00).contains(&high) && self.starts("\\u") {
                    self.at += 2;
                    let low = self.unit()?;
                    let pair = 0x10000 + ((high - 0xd800) << 10) + (low.wrapping_sub(0xdc00) & 0x3ff);
                    char::from_u32(pair).unwrap_or(char::REPLACEMENT_CHARACTER)
                } else {
                    char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER)
                }
            }
            // `\'`, `\"`, `\\`, `\/` and whatever else was escaped without need.
            c => c,
        })
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Result<u32, Fault> {
        let mut unit = 0;
        for _ in 0..4 {
            let Some(digit) = self.peek()?.to_digit(16) else { return self.unexpected() };
            unit = unit * 16 + digit;
            self.at += 1;
        }
        Ok(unit)
    }

    fn number(&mut self) -> Result<Value, Fault> {
        let start = self.at;
        while self.chars.get(self.at).is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.' | '_')) {
            self.at += 1;
        }
        let digits: String = self.chars[start..self.at].iter().filter(|c| **c != '_').collect();
        let digits = digits.strip_prefix('+').unwrap_or(&digits);
        let whole =
            digits.parse::<i64>().map(Number::from).ok().or_else(|| digits.parse::<u64>().map(Number::from).ok());
        let number = whole.or_else(|| digits.parse::<f64>().ok().and_then(Number::from_f64));
        match number {
            Some(number) => Ok(Value::Number(number)),
            None => Err(Fault::Unexpected { at: start, found: self.chars[start] }),
        }
    }

    fn word(&mut self) -> Result<Value, Fault> {
        for (word, value) in [
            ("true", Value::Bool(true)),
            ("True", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("False", Value::Bool(false)),
            ("null", Value::Null),
            ("None", Value::Null),
            ("undefined", Value::Null),
        ] {
            let ends = self.chars.get(self.at + word.len()).is_none_or(|c| !c.is_alphanumeric());
            if self.starts(word) && ends {
                self.at += word.len();
                return Ok(value);
            }
        }
        // A constant that was cut off is cut off, not wrong.
        let rest: String = self.chars[self.at..].iter().collect();
        if ["true", "false", "null", "True", "False", "None"].iter().any(|word| word.starts_with(&rest)) {
            return Err(Fault::Cut);
        }
        self.unexpected()
    }
}
