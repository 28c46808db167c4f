//! Files between this machine and the workspace.

use std::{
    fs::{self, File},
    io,
    path::{Component, Path, PathBuf},
};

use assistant_api::{
    client::Client,
    workspace::{Entry, FileReply, FolderReply, ItemReply, MakeFolder, Tree},
};
use tempfile::NamedTempFile;

use crate::{
    Cx,
    exit::{Code, Failure, Result},
    progress::Progress,
    text,
};

/// Files and directories that one command sends at most; more is likely a mistake such as a home directory.
const MOST: usize = 10_000;
/// Entries of one directory that the daemon lists at most.
const PAGE: usize = 1000;

/// What will be sent: directories first, then files with their sizes.
#[derive(Debug, Default)]
pub struct Plan {
    pub folders: Vec<String>,
    pub files: Vec<(PathBuf, String, u64)>,
    /// Neither files nor directories: left out.
    pub skipped: Vec<PathBuf>,
}

impl Plan {
    /// Adds a file, or a directory with all that is in it, to be sent to `remote`.
    pub fn add(&mut self, local: &Path, remote: &str) -> Result<()> {
        let meta = fs::metadata(local).map_err(|err| Failure::file("reading", local, &err))?;
        self.add_entry(local, remote.to_owned(), &meta)
    }

    fn add_entry(&mut self, local: &Path, remote: String, meta: &fs::Metadata) -> Result<()> {
        if self.folders.len() + self.files.len() >= MOST {
            return Err(Failure::usage(format!("more than {MOST} files and directories are to be sent"))
                .hint("name what is needed, or pack it into an archive"));
        }
        if meta.is_file() {
            // Found out now rather than after half of it has been sent.
            File::open(local).map_err(|err| Failure::file("reading", local, &err))?;
            self.files.push((local.to_owned(), remote, meta.len()));
        } else if meta.is_dir() {
            let list = fs::read_dir(local).and_then(Iterator::collect::<io::Result<Vec<_>>>);
            let mut list = list.map_err(|err| Failure::file("listing", local, &err))?;
            list.sort_by_key(fs::DirEntry::file_name);
            self.folders.push(remote.clone());
            for entry in list {
                let path = entry.path();
                let name = entry.file_name();
                let name = name.to_str().ok_or_else(|| not_text(&path))?;
                // Links inside of a directory may lead anywhere and round in circles: they are not followed.
                let meta = entry.metadata().map_err(|err| Failure::file("reading", &path, &err))?;
                if meta.is_symlink() {
                    self.skipped.push(path);
                } else {
                    self.add_entry(&path, format!("{remote}/{name}"), &meta)?;
                }
            }
        } else {
            self.skipped.push(local.to_owned());
        }
        Ok(())
    }

    /// Says what is left out.
    pub fn warn(&self, cx: &Cx) {
        for path in &self.skipped {
            cx.out.note(&format!("warning: {} is left out: neither a file nor a directory", path.display()));
        }
    }

    /// Sends everything and returns what is in the workspace now.
    pub async fn send(&self, cx: &Cx, overwrite: bool) -> Result<Vec<Entry>> {
        let mut progress = Progress::new(cx);
        let mut sent = Vec::new();
        for path in &self.folders {
            let reply: FolderReply =
                cx.client.post("/api/workspace/folders", &MakeFolder { path: path.clone() }).await?;
            sent.push(reply.folder);
        }
        for (index, (local, remote, size)) in self.files.iter().enumerate() {
            progress.draw(&format!("sending {} of {}: {}", index + 1, self.files.len(), local.display()));
            let file = tokio::fs::File::open(local).await.map_err(|err| Failure::file("reading", local, &err))?;
            let request = cx.client.request("PUT", "/api/workspace/upload").query("path", remote);
            let request = request.maybe("overwrite", overwrite.then_some(true));
            // A file that grows meanwhile is sent as it was when it was measured, so that its length is right.
            let reply: FileReply =
                request.upload(tokio::io::AsyncReadExt::take(file, *size), Some(*size)).fetch().await?;
            sent.push(reply.file);
        }
        Ok(sent)
    }
}

fn not_text(path: &Path) -> Failure {
    Failure::usage(format!("the name of {} is not UTF-8", path.display())).hint("rename it first")
}

/// The last part of a local path, as a name in the workspace.
pub fn name(local: &Path) -> Result<String> {
    let resolved = local.canonicalize().map_err(|err| Failure::file("reading", local, &err))?;
    // `reports/`, `.` and `..` have a name only once they are resolved; a link keeps its own.
    let name = match local.components().next_back() {
        Some(Component::Normal(name)) => Some(name),
        _ => resolved.file_name(),
    };
    let name = name.ok_or_else(|| Failure::usage(format!("{} has no name to send it under", local.display())))?;
    name.to_str().map(str::to_owned).ok_or_else(|| not_text(local))
}

/// What a fetch did.
#[derive(Debug, Default)]
pub struct Fetched {
    /// Local files that were written.
    pub files: Vec<PathBuf>,
    /// Local files that were there already with other content, and were left alone.
    pub kept: Vec<PathBuf>,
}

impl Fetched {
    /// Success unless something had to be left out.
    pub fn code(&self) -> Code {
        if self.kept.is_empty() { Code::Ok } else { Code::Conflict }
    }

    /// Says what was copied and what was not.
    pub fn report(&self, cx: &Cx) {
        for path in &self.files {
            cx.out.note(&format!("fetched {}", path.display()));
        }
        for path in &self.kept {
            cx.out.note(&format!("warning: {} exists and was left alone; fetch with --force", path.display()));
        }
    }
}

/// Copies workspace paths below `dir`, under their workspace names; never replaces a file.
pub async fn fetch_all(cx: &Cx, paths: &[String], dir: &Path) -> Result<Fetched> {
    let mut fetched = Fetched::default();
    for path in paths {
        let item: ItemReply = cx.client.request("GET", "/api/workspace/metadata").query("path", path).fetch().await?;
        fetch(cx, &item.item, &below(dir, path)?, false, &mut fetched).await?;
    }
    Ok(fetched)
}

/// Copies a file, or a directory with all that is in it, to exactly `to`.
pub async fn fetch(cx: &Cx, entry: &Entry, to: &Path, force: bool, fetched: &mut Fetched) -> Result<()> {
    let mut left = vec![(entry.clone(), to.to_owned())];
    let mut progress = Progress::new(cx);
    while let Some((entry, to)) = left.pop() {
        progress.draw(&format!("fetching {}", entry.relative_path));
        if !entry.is_dir {
            fetch_file(&cx.client, &entry, &to, force, fetched).await?;
            continue;
        }
        fs::create_dir_all(&to).map_err(|err| Failure::file("making", &to, &err))?;
        let tree = list(cx, &entry.relative_path, false).await?;
        if tree.truncated {
            return Err(Failure::new(Code::Failed, format!("{} has more than {PAGE} entries", entry.relative_path))
                .hint("fetch its files in parts, or as an archive: assistantctl query GET /api/workspace/download"));
        }
        for child in tree.entries.into_iter().rev() {
            let to = below(&to, &child.name)?;
            left.push((child, to));
        }
    }
    Ok(())
}

async fn fetch_file(client: &Client, entry: &Entry, to: &Path, force: bool, fetched: &mut Fetched) -> Result<()> {
    let dir = to.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(dir).map_err(|err| Failure::file("making", dir, &err))?;
    let failed = |err: io::Error| Failure::file("writing", to, &err);
    let mut file = NamedTempFile::with_prefix_in(".assistantctl-", dir).map_err(failed)?;
    download(client, &entry.relative_path, &mut file).await?;
    if to.is_dir() {
        return Err(Failure::new(Code::Conflict, format!("{} is a directory", to.display())));
    }
    if !force && to.exists() {
        if !same(file.path(), to).map_err(failed)? {
            fetched.kept.push(to.to_owned());
        }
        return Ok(());
    }
    mode(file.as_file()).map_err(failed)?;
    if force {
        file.persist(to).map_err(|err| failed(err.error))?;
    } else {
        file.persist_noclobber(to).map_err(|err| failed(err.error))?;
    }
    fetched.files.push(to.to_owned());
    Ok(())
}

/// Streams a workspace file.
pub async fn download(client: &Client, path: &str, to: &mut impl io::Write) -> Result<()> {
    let request = client.request("GET", "/api/workspace/download").query("path", path);
    let mut chunks = request.stream().await?;
    while let Some(chunk) = chunks.next().await? {
        to.write_all(&chunk)?;
    }
    Ok(to.flush()?)
}

/// Lists a directory of the workspace.
pub async fn list(cx: &Cx, path: &str, recursive: bool) -> Result<Tree> {
    let request = cx.client.request("GET", "/api/workspace/tree").query("path", path).query("max_entries", PAGE);
    Ok(request.maybe("recursive", recursive.then_some(true)).fetch().await?)
}

/// A path below `dir`; a name from the daemon that would lead out of it is refused.
fn below(dir: &Path, path: &str) -> Result<PathBuf> {
    let relative = Path::new(path);
    let inside = relative.components().all(|part| matches!(part, Component::Normal(_)));
    if !inside || path.is_empty() || path.chars().any(text::drives) {
        return Err(Failure::new(Code::Failed, format!("{path:?} is not a name that can be written here")));
    }
    Ok(dir.join(relative))
}

/// Temporary files are private; what is fetched has the mode of any new file.
fn mode(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mask = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    nix::sys::stat::umask(mask);
    file.set_permissions(fs::Permissions::from_mode(0o666 & !mask.bits()))
}

fn same(a: &Path, b: &Path) -> io::Result<bool> {
    if fs::metadata(a)?.len() != fs::metadata(b)?.len() {
        return Ok(false);
    }
    let (mut a, mut b) = (io::BufReader::new(File::open(a)?), io::BufReader::new(File::open(b)?));
    loop {
        let (left, right) = (io::BufRead::fill_buf(&mut a)?, io::BufRead::fill_buf(&mut b)?);
        let length = left.len().min(right.len());
        if length == 0 {
            return Ok(left.len() == right.len());
        }
        if left[..length] != right[..length] {
            return Ok(false);
        }
        io::BufRead::consume(&mut a, length);
        io::BufRead::consume(&mut b, length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_the_daemon_stay_below_the_directory() {
        assert_eq!(below(Path::new("out"), "a/b.md").unwrap(), Path::new("out/a/b.md"));
        for bad in ["", "/etc/passwd", "../x", "a/../../x", "a\u{1b}[2J"] {
            assert!(below(Path::new("out"), bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_plan_holds_folders_and_files_and_leaves_links_out() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("reports");
        fs::create_dir_all(root.join("empty")).unwrap();
        fs::write(root.join("a.csv"), "1").unwrap();
        std::os::unix::fs::symlink("/etc", root.join("link")).unwrap();
        let mut plan = Plan::default();
        plan.add(&root, "jobs/7/in/reports").unwrap();
        assert_eq!(plan.folders, ["jobs/7/in/reports", "jobs/7/in/reports/empty"]);
        assert_eq!(plan.files, [(root.join("a.csv"), "jobs/7/in/reports/a.csv".to_owned(), 1)]);
        assert_eq!(plan.skipped, [root.join("link")]);
        assert_eq!(plan.add(&root.join("none"), "x").unwrap_err().code, Code::NotFound);
        assert_eq!(name(&root.join(".")).unwrap(), "reports");
    }

    #[test]
    fn files_are_compared_by_content() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &[u8]| {
            fs::write(dir.path().join(name), content).unwrap();
            dir.path().join(name)
        };
        let (a, b, c) = (write("a", b"one"), write("b", b"one"), write("c", b"two"));
        assert!(same(&a, &b).unwrap());
        assert!(!same(&a, &c).unwrap());
    }
}
