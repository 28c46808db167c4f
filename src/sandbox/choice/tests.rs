#![expect(clippy::disallowed_methods, reason = "a counterpart, not part of the daemon")]

mod hosts;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use assistant_sandbox::protocol::{Guarantee, Ready};
use tokio::net::UnixListener;

use super::*;
use crate::sandbox::{config::Choice, double};

/// A socket as systemd's, with a runner behind it that promises what is said; how often it was asked.
fn unit(socket: &Path, ready: Ready) -> Arc<AtomicUsize> {
    let listener = UnixListener::bind(socket).unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Relaxed);
            double::serve(stream, &ready).await;
        }
    });
    asked
}

fn config(socket: &Path) -> Sandbox {
    Sandbox { unit_socket: socket.to_str().unwrap().to_owned(), backend: Choice::Unit, ..Sandbox::default() }
}

#[tokio::test]
async fn a_refusal_counts_for_some_seconds() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("run.sock");
    let mut ready = double::ready(double::place(dir.path()));
    ready.guarantees.remove(&Guarantee::Ipc);
    let asked = unit(&socket, ready);
    let (config, clock, choices) = (config(&socket), Clock::fixed(Timestamp::UNIX_EPOCH), Choices::default());
    let open = async |config: &Sandbox, anew| {
        let opened = choices.open(&clock, dir.path(), config, Level::Work, anew).await;
        opened.map(|(backend, _)| backend)
    };
    for _ in 0..10 {
        let err = open(&config, false).await.unwrap_err();
        assert!(err.message().contains("unit: without ipc (not given)"), "{err}");
        clock.advance(Duration::from_millis(400));
    }
    assert_eq!(asked.load(Relaxed), 1, "the others were told what the first was");
    clock.advance(Duration::from_secs(2));
    open(&config, false).await.unwrap_err();
    assert_eq!(asked.load(Relaxed), 2, "being told again does not make it last longer");
    open(&config, true).await.unwrap_err();
    assert_eq!(asked.load(Relaxed), 3, "who wants to know it is told anew");
    let last = choices.last(&config).unwrap();
    assert_eq!((last.backend, last.refused.len()), (None, 1));
    assert!(last.problem.unwrap().contains("without ipc"));
    // Another configuration knows nothing of it.
    let less = Sandbox { require: crate::sandbox::config::Guarantees(vec![Guarantee::Read]), ..config.clone() };
    assert!(choices.last(&less).is_none());
    assert_eq!(open(&less, false).await.unwrap(), Backend::Unit);
    assert_eq!(choices.last(&less).unwrap().backend, Some(Backend::Unit));
}
