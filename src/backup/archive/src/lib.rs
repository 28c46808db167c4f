//! Backups of the assistant: database and workspace in one file, which is checked as a whole before anything of it is
//! used.
//!
//! ```text
//! create   database ─ copy ─┐
//!          workspace, kept ─┴▶ tar ─▶ zstd ─▶ SHA-256 ─▶ age (if there are recipients) ─▶ file
//! restore  file ─▶ the same backwards, into a directory beside ─▶ checked ─▶ swapped into its place
//! ```
//!
//! * [`manifest`] the line that stands for each entry; [`tape`] the entries, as tar knows them; [`seal`] compression,
//!   checksum and encryption around them.
//! * [`gather`] reads trees that others write in meanwhile; [`unpack`] writes trees from archives that nobody vouches for.
//! * [`create`], [`verify`], [`restore`] are the verbs; [`place`] is where things lie, and as whom they are touched.

pub mod create;
pub mod gather;
pub mod manifest;
pub mod place;
pub mod restore;
pub mod seal;
pub mod source;
pub mod tape;
pub mod unpack;
pub mod verify;

/// The version of the format; a reader refuses those that it does not know.
pub const FORMAT: u32 = 1;
