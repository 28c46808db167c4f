//! Paths in the workspace that no command may change, by whatever way their bytes or their names could be reached.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use super::{Place, Probe, Rule, Stop, Tried, any, attempt, place::Scratch};
use crate::protocol::Guarantee::Write;

pub(super) const PROBES: &[Probe] = &[
    Probe::must_fail(Write, "write-protected-file", |place| over(place, FILES, write)).harmful(),
    Probe::must_fail(Write, "truncate-protected-file", |place| {
        over(place, FILES, |path| attempt(OpenOptions::new().write(true).truncate(true).open(path), "truncated"))
    })
    .harmful(),
    Probe::must_fail(Write, "remove-protected-file", |place| {
        over(place, FILES, |path| attempt(fs::remove_file(path), "removed"))
    })
    .harmful(),
    Probe::must_fail(Write, "replace-protected-file", |place| {
        over(place, FILES, |path| {
            let scratch = in_workspace(place)?;
            fs::write(scratch.join("new"), "x")?;
            attempt(fs::rename(scratch.join("new"), path), "replaced")
        })
    })
    .harmful(),
    Probe::must_fail(Write, "make-file-in-protected-directory", |place| {
        over(place, DIRECTORIES, |path| attempt(fs::write(path.join("pre-commit"), "x"), "made"))
    })
    .harmful(),
    Probe::must_fail(Write, "move-protected-path-away", |place| {
        over(place, ALL, |path| {
            let aside = path.with_extension("aside");
            attempt(fs::rename(path, &aside).and_then(|()| fs::rename(&aside, path)), "moved")
        })
    })
    .harmful(),
    Probe::must_fail(Write, "write-protected-file-after-moving-its-parent", parent_moved).harmful(),
    Probe::must_fail(Write, "write-protected-path-through-symlink", |place| {
        over(place, ALL, |path| {
            let scratch = place.scratch()?;
            let link = scratch.join("link");
            symlink(path, &link)?;
            write(&if path.is_dir() { link.join("pre-commit") } else { link })
        })
    })
    .harmful(),
    Probe::must_fail(Write, "write-protected-file-through-hard-link", |place| {
        over(place, FILES, |path| {
            let scratch = in_workspace(place)?;
            let link = scratch.join("link");
            attempt(fs::hard_link(path, &link), "linked")?;
            write(&link)
        })
    })
    .harmful(),
    Probe::must_fail(Write, "write-protected-file-through-proc", |place| {
        over(place, FILES, |path| {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
                return Err(Stop::Broken(format!("{} is no file", path.display())));
            };
            std::env::set_current_dir(parent)?;
            write(&Path::new("/proc/self/cwd").join(name))
        })
    })
    .harmful(),
    Probe::must_fail(Write, "chmod-protected-path", |place| {
        over(place, ALL, |path| {
            let permissions = fs::metadata(path)?.permissions();
            attempt(fs::set_permissions(path, permissions), "its mode was set")
        })
    })
    .harmful(),
    Probe::new("write-workspace", Rule::NeedsWrite, Some(Write), work).harmful(),
];

const FILES: &[&str] = &[".git/config", ".git/hooks/pre-push.sample", ".assistant/config.toml"];
const DIRECTORIES: &[&str] = &[".git/hooks", ".assistant", ".assistant/cache"];
const ALL: &[&str] =
    &[".git/config", ".git/hooks", ".git/hooks/pre-push.sample", ".assistant", ".assistant/config.toml"];

fn in_workspace(place: &Place) -> Result<Scratch, Stop> {
    Place::scratch_in(&place.workspace).map_err(|err| Stop::Refused(err.to_string()))
}

/// Tries it on each of them that is there.
fn over(place: &Place, paths: &[&str], deed: impl Fn(&Path) -> Tried) -> Tried {
    let path = |path: &&str| match path.strip_prefix(".assistant") {
        Some(below) => place.ours.join(below.trim_start_matches('/')),
        None => place.workspace.join(path),
    };
    let there: Vec<PathBuf> = paths.iter().map(path).filter(|path| path.exists()).collect();
    if there.is_empty() {
        return Err(Stop::Absent(format!("none of {} in {}", paths.join(", "), place.workspace.display())));
    }
    any(there.iter().map(|path| deed(path).map(|done| format!("{}: {done}", path.display()))))
}

fn write(path: &Path) -> Tried {
    let done = OpenOptions::new().append(true).create(true).open(path).and_then(|mut file| file.write_all(b"\n"));
    attempt(done, "written")
}

/// `.git` itself is nobody's but the command's: under another name its parts are as they were.
fn parent_moved(place: &Place) -> Tried {
    let (git, aside) = (place.workspace.join(".git"), place.workspace.join(".git-aside"));
    attempt(fs::rename(&git, &aside), "moved")?;
    let tried = any([write(&aside.join("config")), write(&aside.join("hooks/pre-commit"))]);
    fs::create_dir(&git)?;
    let anew = attempt(fs::create_dir(git.join("hooks")), "hooks made beside the moved ones");
    let _ = fs::remove_dir_all(&git);
    fs::rename(&aside, &git)?;
    any([tried, anew])
}

fn work(place: &Place) -> Tried {
    let scratch = in_workspace(place)?;
    fs::create_dir_all(scratch.join("a/b"))?;
    fs::write(scratch.join("a/b/file"), "content")?;
    fs::rename(scratch.join("a/b/file"), scratch.join("moved"))?;
    fs::hard_link(scratch.join("moved"), scratch.join("linked"))?;
    symlink("linked", scratch.join("symlink"))?;
    let content = fs::read_to_string(scratch.join("symlink"))?;
    fs::remove_file(scratch.join("moved"))?;
    super::ensure(content == "content", format!("read back: {content}"))?;
    Ok("made, moved, linked, read, removed".to_owned())
}
