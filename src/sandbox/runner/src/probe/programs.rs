//! Ordinary programs at ordinary work.

use std::{
    env,
    path::Path,
    process::{Command, Stdio},
};

use super::{Place, Stop, Tried, ensure, files::lines};

const LIST: &str = include_str!("lists/programs.txt");

/// One piece of work.
#[derive(Clone, Copy)]
pub(super) struct Program {
    pub(super) name: &'static str,
    needs: &'static str,
    script: &'static str,
    prints: &'static str,
}

/// All that are listed.
pub(super) fn all() -> impl Iterator<Item = Program> {
    lines(LIST).filter_map(|line| {
        let (name, rest) = line.split_once(" | ")?;
        let (needs, rest) = rest.split_once(" | ")?;
        let (script, prints) = rest.rsplit_once(" | ")?;
        Some(Program { name: name.trim(), needs: needs.trim(), script: script.trim(), prints: prints.trim() })
    })
}

impl Program {
    pub(super) fn go(&self, place: &Place) -> Tried {
        let path = env::var_os("PATH").unwrap_or_default();
        if !env::split_paths(&path).any(|directory| directory.join(self.needs).exists()) {
            return Err(Stop::Absent(format!("{} is not installed", self.needs)));
        }
        ensure(Path::new("/bin/sh").exists(), "there is no /bin/sh")?;
        let scratch = place.scratch()?;
        let output = Command::new("/bin/sh")
            .args(["-e", "-c", &self.script.replace("\\|", "|")])
            .current_dir(scratch.path())
            .stdin(Stdio::null())
            .output()?;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let tail = |text: &str| text.chars().rev().take(600).collect::<Vec<_>>().into_iter().rev().collect::<String>();
        ensure(output.status.success(), format!("{}: {}", output.status, tail(&err)))?;
        ensure(out.contains(self.prints), format!("printed {:?}; {}", tail(&out), tail(&err)))?;
        Ok(self.prints.to_owned())
    }
}
