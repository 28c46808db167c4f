//! Containers for the daemon, one a session: `config.rs` says from what, `template.rs` what each may, `engine.rs` asks for
//! it, `session.rs` connects both ends.

pub mod config;
mod engine;
mod profile;
mod receive;
mod session;
mod template;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    net::UnixListener,
    sync::{OnceCell, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{config::Config, engine::Engine};
use crate::{container::Refused, peers};

/// How long to wait when a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The broker between daemon and engine.
pub struct Broker {
    config: Config,
    /// A directory of its own, for the sockets of runners; its path is the label of its containers.
    directory: PathBuf,
    room: Arc<Semaphore>,
    /// Set once the containers of an earlier broker are gone.
    cleared: OnceCell<()>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Broker {
    /// A broker; `directory` belongs to it alone, and must be one that the engine finds.
    ///
    /// # Errors
    /// The path of the directory is too long for sockets in it.
    pub fn new(config: Config, directory: PathBuf) -> io::Result<Arc<Self>> {
        session::check_length(&directory)?;
        Ok(Arc::new(Self {
            room: Arc::new(Semaphore::new(config.sessions as usize)),
            config,
            directory,
            cleared: OnceCell::new(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }))
    }

    /// Serves until [`Broker::stop`]. Only processes of `users` are listened to.
    pub async fn serve(self: &Arc<Self>, listener: UnixListener, users: Vec<u32>) {
        if let Err(refused) = self.engine().await {
            tracing::warn!("{refused}"); // it may come later
        }
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) if peers::admits(&users, &stream) => {
                    let broker = self.clone();
                    self.tasks.spawn(async move { session::attend(&broker, stream).await });
                }
                Ok(_) => {}
                Err(err) => {
                    tracing::warn!(%err, "accepting a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Ends every session and its container.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// The engine, without containers that an earlier broker left.
    async fn engine(&self) -> Result<Engine, Refused> {
        let engine = Engine::connect(&self.config.engine).await?;
        let clear = async {
            let removed = engine.remove_orphans(&self.label()).await?;
            if removed > 0 {
                tracing::warn!(removed, "containers of an earlier process are removed");
            }
            Ok::<_, bollard::errors::Error>(())
        };
        self.cleared.get_or_try_init(|| clear).await.map_err(session::failed)?;
        Ok(engine)
    }

    fn label(&self) -> String {
        self.directory.display().to_string()
    }
}
