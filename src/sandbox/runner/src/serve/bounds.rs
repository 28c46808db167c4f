//! The control group of the unit that we are in: its bounds, and how often the kernel ended something for want of memory.
//! Read where the unit shows us the hierarchies; either version, and both at once.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where the unit shows them.
pub(crate) const SHOWN: &str = "/run/cgroup";

/// A control group, as far as it can be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Bytes of memory that all processes may have.
    pub(crate) memory: Option<u64>,
    /// Processes and threads.
    pub(crate) tasks: Option<u64>,
    /// Thousandths of a processor.
    pub(crate) cpu_millis: Option<u64>,
    /// The file that counts the kernel's kills.
    pub(crate) events: Option<PathBuf>,
}

impl Bounds {
    /// That of this process, where the hierarchies are shown at this path.
    pub(crate) fn of_this_process(shown: &Path) -> Self {
        Self::find(shown, &fs::read_to_string("/proc/self/cgroup").unwrap_or_default())
    }

    /// `memberships` is the text of `/proc/PID/cgroup`.
    fn find(shown: &Path, memberships: &str) -> Self {
        let mut found = Self::default();
        for line in memberships.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
            let path = path.trim_start_matches('/');
            if controllers.is_empty() {
                // Where both versions are in use, the second has a directory of its own.
                let group = if shown.join("cgroup.controllers").exists() { shown } else { &shown.join("unified") };
                found.second_version(&group.join(path));
            } else {
                found.first_version(controllers, &shown.join(controllers).join(path));
            }
        }
        found
    }

    fn second_version(&mut self, group: &Path) {
        self.memory = self.memory.or(number(&group.join("memory.max")));
        self.tasks = self.tasks.or(number(&group.join("pids.max")));
        let text = fs::read_to_string(group.join("cpu.max")).unwrap_or_default();
        let mut parts = text.split_whitespace().map(str::parse::<u64>);
        if let (Some(Ok(quota)), Some(Ok(period @ 1..))) = (parts.next(), parts.next()) {
            self.cpu_millis = Some(quota * 1000 / period);
        }
        let events = group.join("memory.events");
        if events.exists() {
            self.events = Some(events);
        }
    }

    fn first_version(&mut self, controllers: &str, group: &Path) {
        for controller in controllers.split(',') {
            match controller {
                "memory" => {
                    // No bound is shown as a number that no machine has.
                    self.memory = number(&group.join("memory.limit_in_bytes")).filter(|bytes| *bytes < 1 << 60);
                    self.events = Some(group.join("memory.oom_control")).filter(|path| path.exists());
                }
                "pids" => self.tasks = number(&group.join("pids.max")),
                "cpu" => {
                    let period = number(&group.join("cpu.cfs_period_us"));
                    let quota = number(&group.join("cpu.cfs_quota_us"));
                    self.cpu_millis = quota.zip(period.filter(|period| *period > 0)).map(|(q, p)| q * 1000 / p);
                }
                _ => {}
            }
        }
    }

    /// How often the kernel has ended one of its processes for want of memory; none if that is not shown.
    pub(crate) fn kills(&self) -> Option<u64> {
        let text = fs::read_to_string(self.events.as_ref()?).ok()?;
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
    }

    /// Whether the kernel bounds memory, processes and processors of all together.
    pub(crate) fn of_all(&self) -> bool {
        self.memory.is_some() && self.tasks.is_some() && self.cpu_millis.is_some()
    }
}

/// A number, where there is one and not `max` or -1.
fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, files: &[(&str, &str)]) {
        for (path, content) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }

    #[test]
    fn the_second_version_is_read() {
        let dir = tempfile::tempdir().unwrap();
        write(
            dir.path(),
            &[
                ("cgroup.controllers", "cpu memory pids\n"),
                ("s.slice/u.service/memory.max", "2147483648\n"),
                ("s.slice/u.service/pids.max", "516\n"),
                ("s.slice/u.service/cpu.max", "150000 100000\n"),
                ("s.slice/u.service/memory.events", "low 0\noom 3\noom_kill 2\noom_group_kill 0\n"),
            ],
        );
        let group = Bounds::find(dir.path(), "0::/s.slice/u.service\n");
        assert_eq!((group.memory, group.tasks, group.cpu_millis), (Some(2 << 30), Some(516), Some(1500)));
        assert_eq!(group.kills(), Some(2));
        assert!(group.of_all());
    }

    #[test]
    fn the_first_version_is_read_beside_the_second() {
        let dir = tempfile::tempdir().unwrap();
        write(
            dir.path(),
            &[
                ("memory/u/memory.limit_in_bytes", "67108864\n"),
                ("memory/u/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"),
                ("pids/u/pids.max", "max\n"),
                ("cpu,cpuacct/u/cpu.cfs_quota_us", "-1\n"),
                ("cpu,cpuacct/u/cpu.cfs_period_us", "100000\n"),
            ],
        );
        let group = Bounds::find(dir.path(), "4:memory:/u\n3:pids:/u\n2:cpu,cpuacct:/u\n1:name=systemd:/u\n0::/u\n");
        assert_eq!((group.memory, group.tasks, group.cpu_millis), (Some(64 << 20), None, None));
        assert_eq!(group.kills(), Some(1));
        assert!(!group.of_all());
    }

    #[test]
    fn without_hierarchies_nothing_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let group = Bounds::find(dir.path(), "0::/u\n");
        assert_eq!((group.clone(), group.kills()), (Bounds::default(), None));
    }
}
