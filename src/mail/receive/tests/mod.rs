//! Receiving from a server that does what no good one does.

mod bed;
mod logins;
mod messages;
mod server;
mod trouble;
