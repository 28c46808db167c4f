//! `[filesystem]`, `[workspace]`

use crate::config::{section::section, value::Bytes};

section! {
    /// The workspace: the one directory whose files the assistant reads and writes.
    pub struct Filesystem = "filesystem" {
        /// Its path. Unset: `workspace` in the state directory.
        shared_root: Option<String> = None, env "AGENT_FILESYSTEM_SHARED_ROOT", check crate::config::check::absolute;
        /// Refuse to use it unless it is a mount point.
        require_mount: bool = false, env "AGENT_FILESYSTEM_REQUIRE_MOUNT";
        /// Umask of the files that the daemon makes in it, octal.
        shared_file_umask: String = "0002".into(), env "AGENT_FILESYSTEM_SHARED_FILE_UMASK", check crate::config::check::umask;
        /// Bytes that one read returns.
        max_read_bytes: Bytes = Bytes(102_400), env "AGENT_FILESYSTEM_MAX_READ_BYTES";
        /// Bytes that one write or append takes.
        max_write_bytes: Bytes = Bytes(16 << 20);
        /// Where deleted files go, relative to the workspace.
        trash_directory: String = ".trash".into(), env "AGENT_FILESYSTEM_TRASH_DIRECTORY", check crate::config::check::relative;
        /// Entries of a tree that one search, copy or archive looks at.
        max_walk_entries: u32 = 200_000;
        /// Bytes that one downloaded directory may have.
        max_archive_bytes: Bytes = Bytes(2 << 30);
    }
}

/// Documents that are no text.
pub(super) const DOCUMENTS: [&str; 13] =
    [".doc", ".docx", ".epub", ".odp", ".ods", ".odt", ".pdf", ".ppt", ".pptx", ".rtf", ".xls", ".xlsm", ".xlsx"];

section! {
    /// What is made of the documents in it.
    pub struct Workspace = "workspace" {
        /// Kinds of documents that are converted, by the end of the name; texts always are.
        convertible_document_extensions: Vec<String> = DOCUMENTS.map(String::from).into();
        /// Largest file that is converted; never above `conversion.max_input_bytes`.
        max_conversion_bytes: Bytes = Bytes(25 << 20), env "AGENT_WORKSPACE_MAX_CONVERSION_BYTES";
    }
}

impl Filesystem {
    /// The umask as a number; 0002 if what is configured is none, which is refused when the workspace is opened.
    pub fn umask(&self) -> u32 {
        let text = self.shared_file_umask.trim_start_matches("0o");
        u32::from_str_radix(text, 8).ok().filter(|umask| *umask <= 0o777).unwrap_or(0o002)
    }
}
