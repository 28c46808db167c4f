//! Who is asking, as the kernel says.

use assistant_api::Role;

/// The caller of a request.
#[derive(Clone, Debug)]
pub struct Peer {
    pub uid: u32,
    pub gid: u32,
    pub pid: i32,
    /// `None`: known, but not let in.
    pub role: Option<Role>,
}

impl Peer {
    /// How the caller is named in the database and the journal.
    pub fn label(&self) -> String {
        format!("uid:{}", self.uid)
    }
}
