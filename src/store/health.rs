//! What is wrong with the database, if anything: a full disk and a corrupt file are states, not just errors.

use std::sync::{Arc, Mutex, PoisonError};

use assistant_api::ErrorKind;
use rusqlite::ErrorCode;

use crate::{error::Error, logging::catalog};

/// The last failure that concerns the database as a whole; cleared by the next write that commits.
#[derive(Clone, Default)]
pub struct Health(Arc<Mutex<Option<String>>>);

impl Health {
    /// `None` when the database can be used, else the reason.
    pub fn problem(&self) -> Option<String> {
        self.lock().clone()
    }

    /// Records `error` if it says that the database as a whole is in trouble.
    pub(super) fn note(&self, error: &Error) {
        if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::Unavailable) {
            let mut problem = self.lock();
            if problem.as_deref() != Some(error.message()) {
                tracing::error!(target: catalog::DB_TROUBLE, problem = error.message(), "the database is in trouble");
                *problem = Some(error.message().to_owned());
            }
        }
    }

    pub(super) fn note_success(&self) {
        let mut problem = self.lock();
        if problem.take().is_some() {
            tracing::info!("the database is usable again");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an error says that another program holds the database.
pub fn is_locked(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<rusqlite::Error>());
    matches!(
        source.and_then(rusqlite::Error::sqlite_error_code),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

/// Tells a full disk, a corrupt file and a read-only file system (SQLite result codes) from faults of our own.
pub(crate) fn classify(err: rusqlite::Error) -> Error {
    let Some(code) = err.sqlite_error_code() else {
        return Error::internal(err);
    };
    let error = match code {
        ErrorCode::DiskFull => Error::storage_full("the disk that holds the database is full")
            .hint("free space in the state directory; the daemon goes on by itself once there is room"),
        ErrorCode::SystemIoFailure => Error::unavailable("the database cannot be read or written: input/output error")
            .hint("check the disk that holds the state directory, its space and its quota"),
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Error::unavailable("the database is damaged").hint(
            "stop the daemon and bring a backup back with assistantctl backup restore FILE --force (assistantctl backup list \
             has them)",
        ),
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen => {
            Error::unavailable("the database cannot be written: no permission or a read-only file system")
                .hint("check owner and mode of the state directory and how its file system is mounted")
        }
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            Error::unavailable("the database is locked by another program").hint("end what holds it open and try again")
        }
        _ => return Error::internal(err),
    };
    error.source(err)
}
