//! The API through a real socket.

mod bounds;
mod events;
mod refusals;
mod repeats;
mod roles;
mod served;
mod stopping;
