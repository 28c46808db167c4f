//! Waiting for mail: the server tells of it (IDLE, RFC 2177).

use std::time::Duration;

use async_imap::imap_proto::{MailboxDatum, Response};

use super::{Connection, Fault};

/// Why the wait is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mail) enum Idled {
    /// There is something new.
    News,
    /// It is time to say that we are still there.
    Renew,
    /// Somebody here wants something.
    Woken,
}

impl Connection {
    /// Waits until the server tells of something, `wake` completes, or it is time to ask anew. Says `ready` once the
    /// server listens.
    ///
    /// # Errors
    /// [`Fault::Refused`] where the server does not do that.
    pub(in crate::mail) async fn idle(
        &mut self,
        wake: impl Future<Output = ()>,
        ready: impl FnOnce(),
    ) -> Result<Idled, Fault> {
        let tag = self.say("IDLE").await?;
        loop {
            match self.hear(&tag).await? {
                Some(response) if matches!(response.parsed(), Response::Continue(_)) => break,
                Some(_) => {}
                None => return Err(Fault::Refused("it ends IDLE before it begins".into())),
            }
        }
        ready();
        let renew = tokio::time::sleep(self.times.idle);
        tokio::pin!(wake, renew);
        let idled = loop {
            // What came with the answer to a former command counts too.
            if self.news {
                break Idled::News;
            }
            tokio::select! {
                response = self.read(Duration::from_hours(24)) => {
                    if matches!(response?.parsed(), Response::MailboxData(MailboxDatum::Recent(1..))) {
                        break Idled::News;
                    }
                }
                () = &mut wake => break Idled::Woken,
                () = &mut renew => break Idled::Renew,
            }
        };
        self.write(b"DONE\r\n").await?;
        while self.hear(&tag).await?.is_some() {}
        Ok(idled)
    }
}
