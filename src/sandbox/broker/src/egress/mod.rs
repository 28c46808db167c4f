//! The egress proxy: HTTP and HTTPS to listed hosts for commands that show a token, and nothing else.
//!
//! `proxy.rs` accepts and judges, `dial.rs` finds a public address and connects to exactly that, `tunnel.rs` and
//! `plain.rs` pass bytes on, `exchange.rs` holds the bounds and tells the end, `desk.rs` serves the daemon.

mod answer;
mod client_hello;
mod desk;
mod dial;
mod exchange;
mod grants;
mod journal;
mod meter;
pub mod network;
mod passing;
mod plain;
mod proxy;
mod target;
mod tunnel;

use std::{sync::Arc, time::Duration};

use tokio::{net::UnixListener, sync::watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{desk::Desk, grants::Grants, network::Network};
use crate::config::Config;

/// How long to wait when a connection could not be accepted, as when descriptors are short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The proxy.
pub struct Egress {
    config: watch::Sender<Arc<Config>>,
    /// Where the configuration stands, for what is told to users.
    config_file: String,
    network: Box<dyn Network>,
    grants: Grants,
    desk: Desk,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Egress {
    /// A proxy that reaches the outside through `network`.
    pub fn new(config: Config, config_file: String, network: impl Network) -> Arc<Self> {
        Arc::new(Self {
            config: watch::Sender::new(Arc::new(config)),
            config_file,
            network: Box::new(network),
            grants: Grants::default(),
            desk: Desk::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        })
    }

    /// Puts another configuration in force; what runs to a host that it does not list is ended.
    pub fn reload(&self, config: Config) {
        self.config.send_replace(Arc::new(config));
    }

    /// Serves both sockets until [`Egress::stop`]. Only processes of `users` may speak on the control socket.
    pub async fn serve(self: &Arc<Self>, proxy: UnixListener, control: UnixListener, users: Vec<u32>) {
        tokio::join!(proxy::serve(self, proxy), desk::serve(self, control, users));
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Ends everything.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}
