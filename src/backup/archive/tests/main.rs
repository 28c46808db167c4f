//! Backups are made of a state that is written meanwhile, and brought back; what is not whole, or not ours, is refused.

#![expect(unreachable_pub, reason = "in a program `pub` says what a module offers to the others")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first thing that is not as it should be")]
#![expect(clippy::disallowed_methods, reason = "the database is looked at from outside, as another program would")]

mod altered;
mod bed;
mod hostile;
mod kills;
mod round;
