//! The arguments of the runner: where the walls are. No frame can move them.

use std::{ffi::OsString, path::PathBuf};

use assistant_sandbox::protocol::Limits;

use super::{cgroup::Place, protect};

pub(crate) const USAGE: &str = "\
usage: assistant-sandbox serve --backend namespace|unit|docker|landlock --workspace DIR
         [--uid N --gid N] [--cgroup DIR|none] [--connect SOCKET] [--proxy SOCKET|passed]
         [--protect PATH]... [--protected FILE] [--landlock-abi N] [--session-seconds N]
         [--seconds N] [--memory-bytes N] [--processes N] [--cpu-millis N]
         [--tmp-bytes N] [--file-bytes N] [--output-bytes N]
Standard input is the socket to whoever started it, unless --connect names one that listens
for the runner. At --proxy the egress proxy listens for commands of level work+net; `passed`:
the daemon passes a descriptor of that socket. A session has a control group of its own below
--cgroup, else below that of the runner if it is delegated. PATH is relative to the workspace;
one that is not there is made, as a directory if it ends with a slash, else as an empty file.
For a unit, FILE names the paths that are protected already, and no command begins that could
still run after so many seconds.";

/// Who makes the walls around the runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    /// The runner itself, with namespaces.
    Namespace,
    /// systemd, which gave the session a uid of its own.
    Unit,
    /// A container engine; everything in the container is the session's.
    Docker,
    /// Nobody: Landlock and seccomp alone.
    Landlock,
}

/// Where the runner finds the egress proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Proxy {
    /// At this socket.
    At(PathBuf),
    /// Behind the descriptor that the daemon passes: then the socket need not be in sight of commands.
    Passed,
}

/// What the runner was told to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) backend: Backend,
    pub(crate) workspace: PathBuf,
    /// Where whoever started it listens, if standard input is no socket.
    pub(crate) connect: Option<PathBuf>,
    /// The egress proxy; without, no command of level `work+net` is run.
    pub(crate) proxy: Option<Proxy>,
    /// Who the commands are, if the runner was started as root.
    pub(crate) user: Option<(u32, u32)>,
    /// Paths in the workspace that no command writes, beside those that are always protected.
    pub(crate) protect: Vec<String>,
    /// For a unit: the list of paths that were protected before it began.
    pub(crate) protected: Option<PathBuf>,
    /// Whoever started us ends the session after this time, so no command begins that could still run then.
    pub(crate) session_seconds: Option<u64>,
    /// The most that a command may ask for.
    pub(crate) limits: Limits,
    /// Where the session's control group is made.
    pub(crate) cgroup: Place,
    /// For tests: the newest Landlock version that is made use of.
    pub(crate) landlock_abi: Option<i32>,
}

impl Options {
    pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let mut arguments = arguments.map(|argument| {
            argument.into_string().map_err(|argument| format!("{}: not valid UTF-8", argument.display()))
        });
        match arguments.next().transpose()?.as_deref() {
            Some("serve") => {}
            Some(other) => return Err(format!("unknown command `{other}`")),
            None => return Err("no command given".to_owned()),
        }
        let (mut backend, mut workspace, mut connect, mut uid, mut gid) = (None, None, None, None, None);
        let (mut proxy, mut protect, mut limits, mut landlock_abi) = (None, Vec::new(), Limits::default(), None);
        let (mut cgroup, mut protected, mut session_seconds) = (Place::default(), None, None);
        while let Some(name) = arguments.next().transpose()? {
            let value = arguments.next().transpose()?.ok_or_else(|| format!("{name}: needs a value"))?;
            match name.as_str() {
                "--backend" => backend = Some(parse_backend(&value)?),
                "--workspace" => workspace = Some(PathBuf::from(value)),
                "--connect" => connect = Some(PathBuf::from(value)),
                "--proxy" if value == "passed" => proxy = Some(Proxy::Passed),
                "--proxy" => proxy = Some(Proxy::At(PathBuf::from(value))),
                "--uid" => uid = Some(number(&name, &value)?),
                "--gid" => gid = Some(number(&name, &value)?),
                "--cgroup" if value == "none" => cgroup = Place::Nowhere,
                "--cgroup" => cgroup = Place::Below(PathBuf::from(value)),
                "--protect" => protect.push(value),
                "--protected" => protected = Some(PathBuf::from(value)),
                "--session-seconds" => session_seconds = Some(number(&name, &value)?),
                "--landlock-abi" => landlock_abi = Some(number(&name, &value)?),
                "--seconds" => limits.seconds = number(&name, &value)?,
                "--memory-bytes" => limits.memory_bytes = number(&name, &value)?,
                "--processes" => limits.processes = number(&name, &value)?,
                "--cpu-millis" => limits.cpu_millis = number(&name, &value)?,
                "--tmp-bytes" => limits.tmp_bytes = number(&name, &value)?,
                "--file-bytes" => limits.file_bytes = number(&name, &value)?,
                "--output-bytes" => limits.output_bytes = number(&name, &value)?,
                _ => return Err(format!("unknown option `{name}`")),
            }
        }
        let workspace = workspace.ok_or("--workspace: missing")?;
        if !workspace.is_absolute() {
            return Err(format!("--workspace: `{}` is not an absolute path", workspace.display()));
        }
        let user = match (uid, gid) {
            (Some(0), _) | (_, Some(0)) => return Err("--uid, --gid: commands never run as root".to_owned()),
            (Some(uid), Some(gid)) => Some((uid, gid)),
            (None, None) => None,
            _ => return Err("--uid and --gid: give both or none".to_owned()),
        };
        for path in &protect {
            if !protect::is_inside(path) {
                return Err(format!("--protect: `{path}` is not a path inside the workspace"));
            }
        }
        let backend = backend.ok_or("--backend: missing")?;
        Ok(Self {
            backend,
            workspace,
            connect,
            proxy,
            user,
            protect,
            protected,
            session_seconds,
            limits,
            cgroup,
            landlock_abi,
        })
    }
}

fn parse_backend(value: &str) -> Result<Backend, String> {
    match value {
        "namespace" => Ok(Backend::Namespace),
        "unit" => Ok(Backend::Unit),
        "docker" => Ok(Backend::Docker),
        "landlock" => Ok(Backend::Landlock),
        _ => Err(format!("--backend: `{value}` is none of namespace, unit, docker, landlock")),
    }
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{name}: `{value}` is not a number in range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split(' ').map(OsString::from))
    }

    #[test]
    fn arguments_are_read() {
        let options =
            parse("serve --backend namespace --workspace /w --uid 7 --gid 8 --protect a/b --seconds 5").unwrap();
        assert_eq!(options.backend, Backend::Namespace);
        assert_eq!(options.workspace, PathBuf::from("/w"));
        assert_eq!(options.user, Some((7, 8)));
        assert_eq!(options.protect, ["a/b"]);
        assert_eq!(options.connect, None);
        assert_eq!(options.limits, Limits { seconds: 5, ..Limits::default() });
        assert_eq!(options.proxy, None);
        assert_eq!(options.cgroup, Place::Delegated);
        let options = parse("serve --backend namespace --workspace /w --cgroup /g").unwrap();
        assert_eq!(options.cgroup, Place::Below(PathBuf::from("/g")));
        let options = parse("serve --backend docker --workspace /w --connect /run/s --proxy /run/p").unwrap();
        assert_eq!(options.connect, Some(PathBuf::from("/run/s")));
        assert_eq!(options.proxy, Some(Proxy::At(PathBuf::from("/run/p"))));
        let options = parse("serve --backend unit --workspace /w --proxy passed").unwrap();
        assert_eq!(options.proxy, Some(Proxy::Passed));
    }

    #[test]
    fn unsound_arguments_are_refused() {
        for (line, reason) in [
            ("serve --workspace /w", "--backend: missing"),
            ("serve --backend namespace", "--workspace: missing"),
            ("serve --backend namespace --workspace w", "not an absolute path"),
            ("serve --backend none --workspace /w", "none of namespace"),
            ("serve --backend namespace --workspace /w --uid 0 --gid 5", "never run as root"),
            ("serve --backend namespace --workspace /w --uid 5", "both or none"),
            ("serve --backend namespace --workspace /w --protect ../x", "not a path inside"),
            ("serve --backend namespace --workspace /w --protect /x", "not a path inside"),
            ("serve --backend namespace --workspace /w --seconds -1", "not a number"),
            ("serve --backend namespace --workspace", "needs a value"),
            ("serve --shell yes", "unknown option"),
            ("run", "unknown command"),
        ] {
            let message = parse(line).unwrap_err();
            assert!(message.contains(reason), "{line}: {message}");
        }
    }
}
