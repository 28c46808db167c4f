//! The system calls that a command may make.
//!
//! One filter program, because the kernel allows one listener and takes the strictest answer of all filters: a second
//! filter's `ERRNO` would win over this one's notice, and the refusal would go unreported. It looks at the architecture
//! (a foreign one is killed), then at the x32 bit, then finds the number's range by binary search. Its leaves allow,
//! say `ENOSYS`, notify the runner, or are whole filters compiled by seccompiler that look at the arguments of that one
//! call. So every refusal but the `ENOSYS` ones is heard, counted and answered `EPERM` by the runner, which never lets a
//! call go on: there is nothing to race. Without the runner they fail with `ENOSYS`.
//!
//! In the runner, before the fork: [`Program::new`]. In the child, as the last layer, after `no_new_privs`:
//! [`Program::install`], then [`send_fd`] of the listener over a Unix socket to the runner. There: [`receive_fd`],
//! [`Listener::new`], and [`Listener::receive`] into a [`Tally`] whenever [`Listener::fd`] is readable. The child's copy
//! of the listener must not outlive the exec (it is close-on-exec), else the command could answer for itself.

mod checks;
mod compact;
mod denied;
mod listener;
mod program;
mod table;
#[cfg(test)]
mod tests;

pub use denied::{Denied, Tally};
pub use listener::{Listener, receive_fd, send_fd};
pub use program::{Around, Program};

/// The names of all system calls that the filter knows, whatever it does with them: the floor that a container engine's
/// own filter needs, because what that one refuses is never reported.
pub fn known() -> impl Iterator<Item = &'static str> {
    table::rows().map(table::Row::name)
}
