//! The workspace: the one directory whose files the assistant and its person share. What tools and API can do with it.
//!
//! Every path goes through [`crate::root`]; here is what may be done there (`guard.rs`), and that every change is
//! written into the ledger before it is made, with the old content kept (`change.rs`).
//! Nothing here knows of HTTP or of models: `api.rs` and `tools.rs` do.

mod actor;
mod api;
mod archive;
mod change;
pub mod config;
mod convert;
mod entry;
mod guard;
mod history;
mod open;
mod origins;
mod put;
mod read;
mod reconcile;
mod retention;
mod search;
mod store;
mod tools;
mod transfer;
mod trash;
mod undo;
mod unpack;
mod upload;
mod weigh;

#[cfg(test)]
mod tests;

pub use self::{
    actor::Actor,
    archive::Archive,
    convert::{convert, put_file},
    history::{history, old_content, put_back},
    open::{attach, open_root},
    put::{append, folder, write},
    read::{Part, list, metadata, open_file, read, to_send, version},
    reconcile::reconcile,
    retention::{Removed, retention},
    search::search,
    transfer::{copy, rename},
    trash::{delete, listing, restore},
    undo::undo,
    unpack::{sweep, unzip, zip},
    upload::Upload,
    weigh::{Weight, Weights, weigh, weigh_versions},
};
use crate::subsystems::Subsystem;

/// Registers the workspace.
pub(crate) const SUBSYSTEM: Subsystem =
    Subsystem { name: "workspace", routes: api::routes, tools: tools::TOOLS, loops: &[] };

/// Where the content of the workspace came from, at the worst: of what a command may have read.
///
/// # Errors
/// What the database says.
pub async fn least_origin(cx: &crate::cx::Cx) -> crate::error::Result<crate::policy::Origin> {
    cx.store.read(store::least_origin).await
}
