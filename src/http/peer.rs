//! Who is asking. On the socket the kernel says so: the credentials of whoever called connect(2), and the role that
//! follows from them. At the web door somebody has to log in.
//!
//! A descriptor that was passed on keeps naming its connector; nothing is decided on a pid or a program's name.

use std::{io, net::IpAddr, os::fd::AsRawFd as _};

use assistant_api::Role;
use nix::{
    libc,
    unistd::{Group, getuid},
};
use tokio::net::UnixStream;

use super::{config::Api, login};

/// The caller of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    pub who: Who,
    /// `None`: not let in.
    pub role: Option<Role>,
}

/// What is known of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// A process on this host, as the kernel says.
    Process { uid: u32, gid: u32, pid: i32 },
    /// Somebody at the web door.
    Web {
        /// Where from, if it is known.
        address: Option<IpAddr>,
        /// By HTTPS, to here or to a proxy in front.
        secure: bool,
        login: Option<Login>,
        /// A program of this host for itself, as far as can be seen: no proxy that says for whom it asks, no forwarder.
        of_this_host: bool,
    },
}

/// What somebody at the web door has logged in with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login {
    /// A browser, with the password; the number of its session.
    Session(i64),
    /// A program, with the token of this number.
    Token(i64),
    /// Nothing, where nobody has to (`api.auth`).
    Anybody,
}

impl Peer {
    /// How the caller is named in the database and the journal.
    pub fn label(&self) -> String {
        match self.who {
            Who::Process { uid, .. } => format!("uid:{uid}"),
            Who::Web { login: Some(login), .. } => login::label(login),
            Who::Web { address: Some(address), .. } => format!("web:{address}"),
            Who::Web { address: None, .. } => "web".into(),
        }
    }

    /// The user of a process on this host.
    pub fn uid(&self) -> Option<u32> {
        if let Who::Process { uid, .. } = self.who { Some(uid) } else { None }
    }

    /// The number of a process on this host; 0 when the kernel does not say.
    pub fn pid(&self) -> Option<i32> {
        if let Who::Process { pid, .. } = self.who { Some(pid) } else { None }
    }

    /// Asks the kernel (`SO_PEERCRED`, `SO_PEERGROUPS`, unix(7)).
    ///
    /// # Errors
    /// When it does not say who is there: the connection has to be closed.
    pub(super) fn of(stream: &UnixStream, groups: &RoleGroups) -> io::Result<Self> {
        let cred = stream.peer_cred()?;
        let mut member_of = peer_groups(stream)?;
        member_of.push(cred.gid());
        let role = role(cred.uid(), &member_of, getuid().as_raw(), groups);
        let who = Who::Process { uid: cred.uid(), gid: cred.gid(), pid: cred.pid().unwrap_or(0) };
        Ok(Self { who, role })
    }
}

/// Numbers of the groups that give a role; `None` where none is configured or it does not exist, which lets nobody in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoleGroups {
    pub viewer: Option<u32>,
    pub operator: Option<u32>,
    pub admin: Option<u32>,
}

impl RoleGroups {
    /// Looks the configured names up.
    pub fn resolve(api: &Api) -> Self {
        Self {
            viewer: api.viewer_group.as_deref().and_then(|name| gid("api.viewer_group", name)),
            operator: gid("api.operator_group", &api.operator_group),
            admin: gid("api.admin_group", &api.admin_group),
        }
    }
}

fn gid(key: &'static str, name: &str) -> Option<u32> {
    match Group::from_name(name) {
        Ok(Some(group)) => Some(group.gid.as_raw()),
        Ok(None) => {
            tracing::debug!(key, group = name, "the group does not exist: it gives nobody a role");
            None
        }
        Err(err) => {
            tracing::warn!(key, group = name, %err, "the group cannot be looked up: it gives nobody a role");
            None
        }
    }
}

/// The role of a caller: a function of these facts and nothing else.
pub fn role(uid: u32, groups: &[u32], own_uid: u32, roles: &RoleGroups) -> Option<Role> {
    let member = |gid: Option<u32>| gid.is_some_and(|gid| groups.contains(&gid));
    if uid == 0 || uid == own_uid || member(roles.admin) {
        Some(Role::Admin)
    } else if member(roles.operator) {
        Some(Role::Operator)
    } else if member(roles.viewer) {
        Some(Role::Viewer)
    } else {
        None
    }
}

/// The caller's supplementary groups at connect time.
#[expect(unsafe_code, reason = "neither nix nor rustix wraps SO_PEERGROUPS")]
fn peer_groups(stream: &UnixStream) -> io::Result<Vec<u32>> {
    let mut groups: Vec<u32> = vec![0; 64];
    loop {
        let mut bytes = libc::socklen_t::try_from(groups.len() * size_of::<u32>()).map_err(io::Error::other)?;
        // SAFETY: the buffer is valid for `bytes` bytes, which the kernel never writes beyond; it sets `bytes` to what
        // it wrote or, with ERANGE, to what it needs.
        let failed = unsafe {
            libc::getsockopt(
                stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut bytes,
            )
        } != 0;
        let error = io::Error::last_os_error();
        let count = bytes as usize / size_of::<u32>();
        if !failed {
            groups.truncate(count);
            return Ok(groups);
        }
        if error.raw_os_error() != Some(libc::ERANGE) || count <= groups.len() {
            return Err(error);
        }
        groups.resize(count, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_follow_from_uid_and_groups_alone() {
        const OWN: u32 = 990;
        let groups = RoleGroups { viewer: Some(30), operator: Some(20), admin: Some(10) };
        let none = RoleGroups::default();
        let table: &[(u32, &[u32], &RoleGroups, Option<Role>)] = &[
            (0, &[], &none, Some(Role::Admin)),
            (OWN, &[], &none, Some(Role::Admin)),
            (1000, &[10], &groups, Some(Role::Admin)),
            (1000, &[20], &groups, Some(Role::Operator)),
            (1000, &[30], &groups, Some(Role::Viewer)),
            (1000, &[30, 20, 10], &groups, Some(Role::Admin)),
            (1000, &[30, 20], &groups, Some(Role::Operator)),
            (1000, &[], &groups, None),
            (1000, &[0, 1000], &groups, None), // gid 0 alone is not root
            (65534, &[65534], &groups, None),
            (1000, &[10, 20, 30], &none, None), // an unset group lets nobody in
        ];
        for (uid, member_of, groups, expected) in table {
            assert_eq!(role(*uid, member_of, OWN, groups), *expected, "uid {uid}, groups {member_of:?}, {groups:?}");
        }
    }

    #[tokio::test]
    async fn the_kernel_names_the_peer() {
        let (one, _other) = UnixStream::pair().unwrap();
        let peer = Peer::of(&one, &RoleGroups::default()).unwrap();
        assert_eq!(peer.uid(), Some(getuid().as_raw()));
        assert_eq!(peer.pid(), Some(i32::try_from(std::process::id()).unwrap()));
        assert_eq!(peer.role, Some(Role::Admin));
        let own: Vec<u32> = nix::unistd::getgroups().unwrap().into_iter().map(nix::unistd::Gid::as_raw).collect();
        assert_eq!(peer_groups(&one).unwrap(), own);
    }
}
