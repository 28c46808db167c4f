//! A daemon and what surrounds it: the service manager, its configuration, its database.

mod notices;
mod refused;
mod reload;
mod show;
