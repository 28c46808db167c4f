//! The program as a whole, against a daemon that gives prepared answers.

#![expect(unreachable_pub, reason = "in a program `pub` says what a module offers to the others")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first thing that is not as it should be")]
#![expect(clippy::needless_pass_by_value, reason = "prepared answers are made on the spot")]

mod answers;
mod failures;
mod fake;
mod follow;
mod outputs;
mod secrets;
mod terminal;
mod transfers;
