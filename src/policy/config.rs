//! `[policy]`

use crate::config::section::section;

section! {
    /// What tools may do, decided before every call.
    pub struct Policy = "policy" {
        /// Rules that go before the built-in ones, first match wins:
        /// `{ tool = "file_*", access = "write", origin = "web", decision = "ask", reason = "..." }`.
        rules: super::Rules = super::Rules::default();
    }
}
