//! One entry per key: the field, its documentation, its default and its environment name, from which come the struct,
//! the loader, `config/assistant.toml` and `docs/configuration.md`.

use super::value::{Kind, Setting};

/// What is known of one key.
pub struct Key {
    /// Name within its section.
    pub name: &'static str,
    /// The doc comment of the field.
    pub doc: &'static [&'static str],
    /// The environment name of the reference system, if it had one.
    pub env: Option<&'static str>,
    /// What values look like.
    pub kind: fn() -> Kind,
    /// The smallest and the largest value, if there are bounds.
    pub range: Option<fn() -> (String, String)>,
}

impl Key {
    /// The environment name: the reference's, or `ASSISTANT_<SECTION>_<KEY>` (a dot becomes an underscore).
    pub fn env_name(&self, section: &str) -> String {
        self.env.map_or_else(
            || format!("ASSISTANT_{}_{}", section.replace('.', "_"), self.name).to_uppercase(),
            str::to_owned,
        )
    }
}

/// A table of the configuration file.
pub trait Section: Default + Clone + Send + Sync + 'static {
    /// The table's path, such as `llm` or `artifacts.clamav`.
    const NAME: &'static str;
    /// What the table is about.
    const DOC: &'static [&'static str];
    /// Its keys, in the order of the documentation.
    const KEYS: &'static [Key];
    /// Sets a key from a TOML value.
    ///
    /// # Errors
    /// What is wrong with the value; the caller adds where it stands.
    fn set_toml(&mut self, key: &str, value: &toml::Value) -> Result<(), String>;
    /// Sets a key from an environment value, in the reference's plain units.
    ///
    /// # Errors
    /// What is wrong with the value.
    fn set_env(&mut self, key: &str, value: &str) -> Result<(), String>;
    /// The key's value as TOML; `None` when it is unset.
    fn get(&self, key: &str) -> Option<toml::Value>;
}

/// A [`Section`] whose type is erased, so that all of them can be walked.
pub trait Table {
    /// [`Section::NAME`]
    fn name(&self) -> &'static str;
    /// [`Section::DOC`]
    fn doc(&self) -> &'static [&'static str];
    /// [`Section::KEYS`]
    fn keys(&self) -> &'static [Key];
    /// [`Section::set_toml`]
    ///
    /// # Errors
    /// What is wrong with the value.
    fn set_toml(&mut self, key: &str, value: &toml::Value) -> Result<(), String>;
    /// [`Section::set_env`]
    ///
    /// # Errors
    /// What is wrong with the value.
    fn set_env(&mut self, key: &str, value: &str) -> Result<(), String>;
    /// [`Section::get`]
    fn get(&self, key: &str) -> Option<toml::Value>;
}

impl<S: Section> Table for S {
    fn name(&self) -> &'static str {
        S::NAME
    }
    fn doc(&self) -> &'static [&'static str] {
        S::DOC
    }
    fn keys(&self) -> &'static [Key] {
        S::KEYS
    }
    fn set_toml(&mut self, key: &str, value: &toml::Value) -> Result<(), String> {
        Section::set_toml(self, key, value)
    }
    fn set_env(&mut self, key: &str, value: &str) -> Result<(), String> {
        Section::set_env(self, key, value)
    }
    fn get(&self, key: &str) -> Option<toml::Value> {
        Section::get(self, key)
    }
}

/// The kind of a setting type, for [`Key::kind`].
pub fn kind_of<T: Setting>() -> Kind {
    T::kind()
}

/// Declares a [`Section`]:
///
/// ```ignore
/// section! {
///     /// What the table is about.
///     pub struct Limits = "limits" {
///         /// Model calls per run of a job.
///         max_iterations_per_task: u32 = 50, env "AGENT_LIMITS_MAX_ITERATIONS_PER_TASK";
///         /// A key that the reference did not have, with the range of its values.
///         workers: u32 = 4, in 1..=64;
///         /// One whose value is looked at by a function.
///         zone: String = "UTC".into(), check crate::config::check::zone;
///     }
/// }
/// ```
macro_rules! section {
    (
        $(#[doc = $section_doc:literal])+
        pub struct $name:ident = $path:literal {
            $($(#[doc = $doc:literal])+ $field:ident: $type:ty = $default:expr $(, env $env:literal)? $(, in $range:expr)? $(, check $check:path)?;)*
        }
    ) => {
        $(#[doc = $section_doc])+
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name { $($(#[doc = $doc])+ pub $field: $type,)* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $crate::config::section::Section for $name {
            const NAME: &'static str = $path;
            const DOC: &'static [&'static str] = &[$($section_doc),+];
            const KEYS: &'static [$crate::config::section::Key] = &[$($crate::config::section::Key {
                name: stringify!($field),
                doc: &[$($doc),+],
                env: $crate::config::section::env_name!($($env)?),
                kind: $crate::config::section::kind_of::<$type>,
                range: $crate::config::section::range!($type $(, $range)?),
            },)*];

            fn set_toml(&mut self, key: &str, value: &toml::Value) -> Result<(), String> {
                match key {
                    $(stringify!($field) => {
                        let value: $type = $crate::config::value::Setting::from_toml(value)?;
                        $($crate::config::value::within(&value, &$range)?;)?
                        $($crate::config::check::held(&value, $check)?;)?
                        self.$field = value;
                        Ok(())
                    })*
                    _ => Err("unknown key".into()),
                }
            }

            fn set_env(&mut self, key: &str, value: &str) -> Result<(), String> {
                match key {
                    $(stringify!($field) => {
                        let value: $type = $crate::config::value::Setting::from_env(value)?;
                        $($crate::config::value::within(&value, &$range)?;)?
                        $($crate::config::check::held(&value, $check)?;)?
                        self.$field = value;
                        Ok(())
                    })*
                    _ => Err("unknown key".into()),
                }
            }

            fn get(&self, key: &str) -> Option<toml::Value> {
                match key {
                    $(stringify!($field) => $crate::config::value::Setting::to_toml(&self.$field),)*
                    _ => None,
                }
            }
        }
    };
}

macro_rules! env_name {
    () => {
        None
    };
    ($env:literal) => {
        Some($env)
    };
}

macro_rules! range {
    ($type:ty) => {
        None
    };
    ($type:ty, $range:expr) => {
        Some(|| $crate::config::value::bounds::<$type>(&$range))
    };
}

pub(crate) use {env_name, range, section};
