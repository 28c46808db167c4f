//! The API through a real socket.

mod activation;
mod attacks;
mod bounds;
mod cells;
mod documents;
mod events;
mod exposed;
mod foreign;
mod https;
mod jobs;
mod login;
mod metrics;
mod pages;
mod refusals;
mod repeats;
mod roles;
mod served;
mod status;
mod stopping;
mod uploads;
