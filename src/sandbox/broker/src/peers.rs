//! Who may speak to these processes: the daemon, known by its user.

use std::io;

use nix::unistd::{Uid, User, geteuid};
use tokio::net::UnixStream;

/// The process's own user, and the one with this name or number.
pub fn users(name: Option<&str>) -> io::Result<Vec<u32>> {
    let mut users = vec![geteuid().as_raw()];
    if let Some(name) = name {
        let known = match name.parse() {
            Ok(uid) => Some(Uid::from_raw(uid)),
            Err(_) => User::from_name(name)?.map(|user| user.uid),
        };
        let known = known.ok_or_else(|| io::Error::other(format!("there is no user {name:?}")))?;
        users.push(known.as_raw());
    }
    Ok(users)
}

/// Whether the process at the other end is one of `users`; anybody else is logged.
pub(crate) fn admits(users: &[u32], stream: &UnixStream) -> bool {
    match stream.peer_cred() {
        Ok(peer) if users.contains(&peer.uid()) => return true,
        Ok(peer) => tracing::warn!(uid = peer.uid(), "a connection of a user who is not the daemon's is refused"),
        Err(err) => tracing::warn!(%err, "a connection of nobody known is refused"),
    }
    false
}
