//! What a configuration value can be, how it is read from TOML and from the environment, and how it is written back.

use std::{ops::RangeInclusive, time::Duration};

use toml::Value;

/// How a value is described in the documentation and in messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Such as `text`, `integer`, `duration in seconds`.
    pub name: &'static str,
    /// Whether the key may be absent.
    pub optional: bool,
}

/// A type that a key can have.
pub trait Setting: Sized {
    /// How it is described.
    fn kind() -> Kind;
    /// Reads a TOML value.
    ///
    /// # Errors
    /// What was expected.
    fn from_toml(value: &Value) -> Result<Self, String>;
    /// Reads an environment value (never blank: a blank one overrides nothing).
    ///
    /// # Errors
    /// What was expected.
    fn from_env(text: &str) -> Result<Self, String>;
    /// Writes it as TOML; `None` when unset.
    fn to_toml(&self) -> Option<Value>;
}

/// Refuses a value outside `range`.
///
/// # Errors
/// What the range is.
pub fn within<T: Setting + PartialOrd>(value: &T, range: &RangeInclusive<T>) -> Result<(), String> {
    if range.contains(value) {
        return Ok(());
    }
    let (least, most) = bounds(range);
    Err(format!("{} is out of range ({least} to {most})", show(value)))
}

/// The ends of a range as they are written.
pub fn bounds<T: Setting>(range: &RangeInclusive<T>) -> (String, String) {
    (show(range.start()), show(range.end()))
}

fn show<T: Setting>(value: &T) -> String {
    value.to_toml().map_or_else(String::new, |value| value.to_string())
}

fn expected<T>(what: &str, value: &Value) -> Result<T, String> {
    Err(format!("expected {what}, found {}", value.type_str()))
}

impl Setting for String {
    fn kind() -> Kind {
        Kind { name: "text", optional: false }
    }
    fn from_toml(value: &Value) -> Result<Self, String> {
        value.as_str().map_or_else(|| expected("a text", value), |text| Ok(text.to_owned()))
    }
    fn from_env(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
    fn to_toml(&self) -> Option<Value> {
        Some(Value::String(self.clone()))
    }
}

impl Setting for bool {
    fn kind() -> Kind {
        Kind { name: "true or false", optional: false }
    }
    fn from_toml(value: &Value) -> Result<Self, String> {
        value.as_bool().map_or_else(|| expected("true or false", value), Ok)
    }
    fn from_env(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" | "on" => Ok(true),
            "0" | "false" | "no" | "off" => Ok(false),
            _ => Err(format!("expected true or false, found {text:?}")),
        }
    }
    fn to_toml(&self) -> Option<Value> {
        Some(Value::Boolean(*self))
    }
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl Setting for $type {
            fn kind() -> Kind {
                Kind { name: "integer", optional: false }
            }
            fn from_toml(value: &Value) -> Result<Self, String> {
                let Some(number) = value.as_integer() else { return expected("an integer", value) };
                Self::try_from(number).map_err(|_| format!("{number} is out of range ({} to {})", Self::MIN, Self::MAX))
            }
            fn from_env(text: &str) -> Result<Self, String> {
                text.trim().parse().map_err(|_| format!("expected an integer from {} to {}, found {text:?}", Self::MIN, Self::MAX))
            }
            fn to_toml(&self) -> Option<Value> {
                i64::try_from(*self).ok().map(Value::Integer)
            }
        }
    )*};
}

integers!(u16, u32, i64);

impl Setting for f64 {
    fn kind() -> Kind {
        Kind { name: "number", optional: false }
    }
    fn from_toml(value: &Value) -> Result<Self, String> {
        #[expect(clippy::cast_precision_loss, reason = "limits and temperatures, not counters")]
        let number = value.as_float().or_else(|| value.as_integer().map(|number| number as Self));
        match number {
            Some(number) if number.is_finite() => Ok(number),
            _ => expected("a number", value),
        }
    }
    fn from_env(text: &str) -> Result<Self, String> {
        let number: Self = text.trim().parse().map_err(|_| format!("expected a number, found {text:?}"))?;
        if number.is_finite() { Ok(number) } else { Err(format!("expected a finite number, found {text:?}")) }
    }
    fn to_toml(&self) -> Option<Value> {
        Some(Value::Float(*self))
    }
}

impl Setting for Vec<String> {
    fn kind() -> Kind {
        Kind { name: "list of texts", optional: false }
    }
    fn from_toml(value: &Value) -> Result<Self, String> {
        let Some(items) = value.as_array() else { return expected("a list of texts", value) };
        items.iter().map(String::from_toml).collect()
    }
    fn from_env(text: &str) -> Result<Self, String> {
        Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
    }
    fn to_toml(&self) -> Option<Value> {
        Some(Value::Array(self.iter().cloned().map(Value::String).collect()))
    }
}

impl<T: Setting> Setting for Option<T> {
    fn kind() -> Kind {
        Kind { optional: true, ..T::kind() }
    }
    fn from_toml(value: &Value) -> Result<Self, String> {
        if value.as_str().is_some_and(|text| text.trim().is_empty()) { Ok(None) } else { T::from_toml(value).map(Some) }
    }
    fn from_env(text: &str) -> Result<Self, String> {
        T::from_env(text).map(Some)
    }
    fn to_toml(&self) -> Option<Value> {
        self.as_ref().and_then(Setting::to_toml)
    }
}

macro_rules! durations {
    ($($(#[$doc:meta])* $name:ident: $unit:literal, $seconds:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
        pub struct $name(pub Duration);

        impl $name {
            /// Seconds of one of this unit.
            const UNIT: u64 = $seconds;

            /// From a count of this unit.
            pub const fn new(count: u64) -> Self {
                Self(Duration::from_secs(count * Self::UNIT))
            }
        }

        impl Setting for $name {
            fn kind() -> Kind {
                Kind { name: concat!("duration: an integer in ", $unit, " or a text with a unit"), optional: false }
            }
            fn from_toml(value: &Value) -> Result<Self, String> {
                match value {
                    Value::Integer(count) => u64::try_from(*count)
                        .ok()
                        .and_then(|count| count.checked_mul(Self::UNIT))
                        .map(|seconds| Self(Duration::from_secs(seconds)))
                        .ok_or_else(|| format!("{count} is out of range")),
                    Value::String(text) => super::units::duration(text).map(Self),
                    _ => expected(concat!("an integer in ", $unit, " or a text such as \"5m\""), value),
                }
            }
            fn from_env(text: &str) -> Result<Self, String> {
                match text.trim().parse::<i64>() {
                    Ok(count) => Self::from_toml(&Value::Integer(count)),
                    Err(_) => super::units::duration(text).map(Self),
                }
            }
            fn to_toml(&self) -> Option<Value> {
                let seconds = self.0.as_secs();
                if seconds.is_multiple_of(Self::UNIT) && self.0.subsec_nanos() == 0 {
                    i64::try_from(seconds / Self::UNIT).ok().map(Value::Integer)
                } else {
                    Some(Value::String(super::units::render_duration(self.0)))
                }
            }
        }
    )*};
}

durations! {
    /// A duration whose plain number counts seconds.
    Seconds: "seconds", 1;
    /// A duration whose plain number counts minutes.
    Minutes: "minutes", 60;
    /// A duration whose plain number counts hours.
    Hours: "hours", 3600;
    /// A duration whose plain number counts days of 24 hours.
    Days: "days", 86400;
}

/// A size whose plain number counts bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub struct Bytes(pub u64);

impl Setting for Bytes {
    fn kind() -> Kind {
        Kind { name: "size: an integer in bytes or a text with a unit (kB 10^3, KiB 2^10)", optional: false }
    }
    fn from_toml(value: &Value) -> Result<Self, String> {
        match value {
            Value::Integer(count) => u64::try_from(*count).map(Self).map_err(|_| format!("{count} is out of range")),
            Value::String(text) => super::units::bytes(text).map(Self),
            _ => expected("an integer in bytes or a text such as \"500MiB\"", value),
        }
    }
    fn from_env(text: &str) -> Result<Self, String> {
        match text.trim().parse() {
            Ok(count) => Ok(Self(count)),
            Err(_) => super::units::bytes(text).map(Self),
        }
    }
    fn to_toml(&self) -> Option<Value> {
        i64::try_from(self.0).ok().map(Value::Integer)
    }
}
