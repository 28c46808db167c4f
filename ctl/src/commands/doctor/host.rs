//! The host that is looked at: its files below a root, and what its programs say.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::PathBuf, process::Command};

/// What a program prints with these arguments.
type Programs = dyn Fn(&str, &[&str]) -> Option<String> + Send + Sync;

/// A host; tests make one of a directory and answers.
pub(super) struct Host {
    root: PathBuf,
    programs: Box<Programs>,
    /// Whether root looks.
    pub(super) is_root: bool,
}

/// What is to be known of a file.
pub(super) struct Meta {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Host {
    /// The one that this program runs on.
    pub(super) fn real() -> Self {
        let programs = |program: &str, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).output().ok()?;
            Some(String::from_utf8_lossy(&output.stdout).into_owned()).filter(|text| !text.is_empty())
        };
        Self { root: "/".into(), programs: Box::new(programs), is_root: nix::unistd::geteuid().is_root() }
    }

    #[cfg(test)]
    pub(super) fn fake(
        root: &std::path::Path,
        programs: impl Fn(&str, &[&str]) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        Self { root: root.to_owned(), programs: Box::new(programs), is_root: true }
    }

    /// A path below the root.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    pub(super) fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    pub(super) fn read(&self, path: &str) -> io::Result<String> {
        fs::read_to_string(self.path(path))
    }

    pub(super) fn meta(&self, path: &str) -> io::Result<Meta> {
        let meta = fs::metadata(self.path(path))?;
        Ok(Meta { mode: meta.mode() & 0o7777, uid: meta.uid(), gid: meta.gid() })
    }

    /// The names in a directory, sorted; none where it is not there.
    pub(super) fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.path(path)) {
            Ok(entries) => entries,
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(err) => return Err(err),
        };
        let mut names: Vec<_> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort();
        Ok(names)
    }

    /// What a program prints; nothing where it is not there.
    pub(super) fn ask(&self, program: &str, arguments: &[&str]) -> Option<String> {
        (self.programs)(program, arguments)
    }

    /// Whether systemd is the service manager (`sd_booted(3)`).
    pub(super) fn has_systemd(&self) -> bool {
        self.exists("/run/systemd/system")
    }

    /// Whether the package put its units here.
    pub(super) fn is_packaged(&self) -> bool {
        super::units::file(self, "assistantd.service").is_some()
    }

    /// The number of a group, by its name.
    pub(super) fn gid(&self, name: &str) -> Option<u32> {
        self.entry("/etc/group", name)?.get(2)?.parse().ok()
    }

    /// The number of a user, by their name.
    pub(super) fn uid(&self, name: &str) -> Option<u32> {
        self.entry("/etc/passwd", name)?.get(2)?.parse().ok()
    }

    /// The members that a group lists.
    pub(super) fn members(&self, group: &str) -> Vec<String> {
        let entry = self.entry("/etc/group", group).unwrap_or_default();
        let members = entry.get(3).map(String::as_str).unwrap_or_default();
        members.split(',').filter(|member| !member.is_empty()).map(str::to_owned).collect()
    }

    fn entry(&self, file: &str, name: &str) -> Option<Vec<String>> {
        let text = self.read(file).ok()?;
        let entries = text.lines().map(|line| line.split(':').map(str::to_owned).collect::<Vec<_>>());
        entries.into_iter().find(|entry| entry.first().is_some_and(|first| first == name))
    }
}
