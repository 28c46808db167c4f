//! The folder of sent mail, on connections of their own.

use std::path::Path;

use async_imap::imap_proto::{MailboxDatum, Response};
use tokio::io::AsyncReadExt as _;

use super::{Connection, Fault, folder};
use crate::{
    cx::Cx,
    error::{Error, Result},
    mail::net::Server,
};

/// Bytes of a message that are written at once.
const PIECE: usize = 64 << 10;

/// Puts a message into a folder, read, and makes the folder if it is missing.
///
/// # Errors
/// `unavailable` when it does not lie there; in doubt when it may.
pub async fn append(cx: &Cx, folder: &str, file: &Path) -> Result<()> {
    let (server, mut connection) = connect(cx).await?;
    let put = match put(&mut connection, folder, file).await {
        Err(Fault::Refused(why)) => match connection.create(folder).await {
            Ok(()) => put(&mut connection, folder, file).await,
            Err(Fault::Refused(_)) => Err(Fault::Refused(why)),
            Err(fault) => Err(fault),
        },
        other => other,
    };
    match put {
        Ok(()) => {
            connection.close().await;
            Ok(())
        }
        // The answer may be lost, and not the message.
        Err(fault @ Fault::Gone(_)) => Err(fault.explain(&server).in_doubt()),
        Err(fault) => Err(fault.explain(&server)),
    }
}

/// Whether a message of this id, with its angle brackets, lies in a folder. A folder that does not exist has none.
///
/// # Errors
/// `unavailable` when the server does not say.
pub async fn contains(cx: &Cx, folder: &str, message_id: &str) -> Result<bool> {
    let (server, mut connection) = connect(cx).await?;
    let found = search(&mut connection, folder, message_id).await.map_err(|fault| fault.explain(&server))?;
    connection.close().await;
    Ok(found)
}

async fn connect(cx: &Cx) -> Result<(Server, Connection)> {
    let server = Server::imap(&cx.config.load().email).ok_or_else(|| {
        Error::unavailable("there is no mailbox").field("email.imap_host").hint("set email.imap_host")
    })?;
    let connection = Connection::open(cx, &server).await?;
    Ok((server, connection))
}

async fn put(connection: &mut Connection, name: &str, file: &Path) -> Result<(), Fault> {
    let ours = |err: std::io::Error| Fault::Ours(Error::unavailable("the message cannot be read").source(err));
    let mut file = tokio::fs::File::open(file).await.map_err(ours)?;
    let size = file.metadata().await.map_err(ours)?.len();
    let tag = connection.say(&format!("APPEND {} (\\Seen) {{{size}}}", folder::quoted(name))).await?;
    loop {
        match connection.hear(&tag).await? {
            Some(response) if matches!(response.parsed(), Response::Continue(_)) => break,
            Some(_) => {}
            None => return Err(Fault::Gone("it takes a message before it has come".into())),
        }
    }
    let (mut left, mut piece) = (size, vec![0; PIECE]);
    while left > 0 {
        let read = file.read(&mut piece).await.map_err(ours)?;
        let read = read.min(usize::try_from(left).unwrap_or(usize::MAX));
        if read == 0 {
            // What was announced must come: only the end of the connection takes it back.
            return Err(Fault::Ours(Error::unavailable("the message became shorter while it was read")));
        }
        connection.write(&piece[..read]).await?;
        left -= read as u64;
    }
    connection.write(b"\r\n").await?;
    while connection.hear(&tag).await?.is_some() {}
    Ok(())
}

async fn search(connection: &mut Connection, name: &str, message_id: &str) -> Result<bool, Fault> {
    match connection.examine(name).await {
        Ok(_) => {}
        Err(Fault::Refused(why)) => {
            return if connection.has_folder(name).await? { Err(Fault::Refused(why)) } else { Ok(false) };
        }
        Err(fault) => return Err(fault),
    }
    if !message_id.chars().all(|c| ('!'..='~').contains(&c)) {
        return Err(Fault::Ours(Error::validation("a message id is of printable ASCII characters")));
    }
    let tag = connection.say(&format!("UID SEARCH HEADER Message-ID {}", folder::escaped(message_id))).await?;
    let mut found = false;
    while let Some(response) = connection.hear(&tag).await? {
        found |= matches!(response.parsed(), Response::MailboxData(MailboxDatum::Search(uids)) if !uids.is_empty());
    }
    Ok(found)
}
