//! Moving messages to another folder, and never removing one that is not to be moved.

use super::{Connection, Fault, fetch::set, folder};

impl Connection {
    /// Moves messages; those that are gone already are no fault. The folder is made if it is missing.
    pub(in crate::mail) async fn archive(&mut self, uids: &[u32], name: &str) -> Result<(), Fault> {
        match self.move_all(uids, name).await {
            Err(Fault::Refused(why)) => {
                // It may be there: then it is refused for another reason, and so is this.
                match self.create(name).await {
                    Ok(()) => self.move_all(uids, name).await,
                    Err(Fault::Refused(_)) => Err(Fault::Refused(why)),
                    Err(fault) => Err(fault),
                }
            }
            other => other,
        }
    }

    async fn move_all(&mut self, uids: &[u32], name: &str) -> Result<(), Fault> {
        let (uids, name) = (set(uids), folder::quoted(name));
        if self.can("MOVE") {
            return self.run(&format!("UID MOVE {uids} {name}")).await;
        }
        self.run(&format!("UID COPY {uids} {name}")).await?;
        self.run(&format!("UID STORE {uids} +FLAGS.SILENT (\\Deleted)")).await?;
        // Without UIDPLUS (RFC 4315) nothing but EXPUNGE is left, which would remove what others have marked too: the
        // messages stay, marked.
        if self.can("UIDPLUS") { self.run(&format!("UID EXPUNGE {uids}")).await } else { Ok(()) }
    }
}
