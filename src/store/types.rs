//! How ids, times and JSON stand in the database: ids as integers, times as integer microseconds UTC, JSON as text.

use jiff::Timestamp;
use rusqlite::{Row, types::FromSql};
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// A time as it is stored.
pub fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

/// A stored time.
pub fn timestamp(micros: i64) -> rusqlite::Result<Timestamp> {
    Timestamp::from_microsecond(micros)
        .map_err(|err| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Integer, err.into()))
}

/// Typed columns by name.
pub trait RowExt {
    /// A column of any type that `SQLite` knows.
    fn col<T: FromSql>(&self, name: &str) -> rusqlite::Result<T>;
    /// A time column.
    fn time(&self, name: &str) -> rusqlite::Result<Timestamp>;
    /// A time column that may be null.
    fn opt_time(&self, name: &str) -> rusqlite::Result<Option<Timestamp>>;
    /// A JSON column.
    fn json<T: DeserializeOwned>(&self, name: &str) -> rusqlite::Result<T>;
    /// A JSON column that may be null.
    fn opt_json<T: DeserializeOwned>(&self, name: &str) -> rusqlite::Result<Option<T>>;
}

impl RowExt for Row<'_> {
    fn col<T: FromSql>(&self, name: &str) -> rusqlite::Result<T> {
        self.get(name)
    }

    fn time(&self, name: &str) -> rusqlite::Result<Timestamp> {
        timestamp(self.get(name)?)
    }

    fn opt_time(&self, name: &str) -> rusqlite::Result<Option<Timestamp>> {
        self.get::<_, Option<i64>>(name)?.map(timestamp).transpose()
    }

    fn json<T: DeserializeOwned>(&self, name: &str) -> rusqlite::Result<T> {
        parse(self.get_ref(name)?.as_str()?)
    }

    fn opt_json<T: DeserializeOwned>(&self, name: &str) -> rusqlite::Result<Option<T>> {
        self.get_ref(name)?.as_str_or_null()?.map(parse).transpose()
    }
}

fn parse<T: DeserializeOwned>(text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text)
        .map_err(|err| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, err.into()))
}

/// A value as its JSON column.
pub fn to_json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(Error::internal)
}
