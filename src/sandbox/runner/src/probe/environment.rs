//! What a command is started with: variables, terminal, session, identity.

use std::{env, fs::File, path::Path};

use super::{Place, Probe, Stop, Tried, any, attempt, files::lines};
use crate::protocol::Guarantee::{Read, Signals};

pub(super) const PROBES: &[Probe] = &[
    Probe::must_fail(Read, "cve-2026-22708-variables-that-run-programs", |_| {
        any(lines(VARIABLES).map(|name| match env::var(name) {
            Ok(_) => Ok(format!("{name} is set")),
            Err(_) => Err(Stop::Refused(format!("{name} is not set"))),
        }))
    }),
    Probe::must_fail(Read, "secrets-in-variables", |_| {
        let found: Vec<_> = env::vars_os()
            .filter_map(|(name, _)| name.into_string().ok())
            .filter(|name| !name.starts_with("GIT_CONFIG_KEY_"))
            .filter(|name| ["KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL"].iter().any(|part| name.contains(part)))
            .collect();
        if found.is_empty() { Err(Stop::Refused("none has such a name".to_owned())) } else { Ok(found.join(", ")) }
    }),
    Probe::must_fail(Read, "read-credentials-directory", |_| {
        any(["/run/credentials/assistantd.service", "/run/credentials/@system", "/run/credentials"]
            .map(|path| attempt(std::fs::read_dir(path), format!("{path} was listed"))))
    }),
    Probe::must_fail(Signals, "open-controlling-terminal", |_| attempt(File::open("/dev/tty"), "/dev/tty was opened")),
    Probe::must_fail(Signals, "standard-input-is-a-terminal", |_| {
        use std::io::IsTerminal as _;
        let terminal = std::io::stdin().is_terminal() || std::io::stdout().is_terminal();
        if terminal { Ok("a terminal".to_owned()) } else { Err(Stop::Refused("no terminal".to_owned())) }
    }),
    Probe::must_fail(Signals, "share-a-session-with-the-runner", |_| {
        #[expect(unsafe_code, reason = "plain system calls")]
        let (own, first) = unsafe { (libc::getsid(0), libc::getsid(1)) };
        if own > 0 && own == first && std::os::unix::process::parent_id() > 1 {
            return Ok(format!("session {own} is that of process 1 as well"));
        }
        // Zero is a session that began outside of this process's namespace.
        if own == 0 { Ok("a session from outside".to_owned()) } else { Err(Stop::Refused(format!("session {own}"))) }
    }),
    Probe::must_fail(Read, "configuration-by-preloaded-libraries", |_| {
        attempt(File::open("/etc/ld.so.preload"), "/etc/ld.so.preload was opened")
    }),
    Probe::must_work("temporary-directories-are-private", temporary),
    Probe::must_work("programs-are-found", |_| {
        let path = env::var("PATH").map_err(|err| Stop::Broken(err.to_string()))?;
        match path.split(':').find(|part| Path::new(part).join("sh").exists()) {
            Some(part) => Ok(format!("sh is in {part}")),
            None => Err(Stop::Broken(format!("no sh in {path}"))),
        }
    }),
];

const VARIABLES: &str = include_str!("lists/variables.txt");

fn temporary(_: &Place) -> Tried {
    for name in ["HOME", "TMPDIR", "PIP_CACHE_DIR", "NPM_CONFIG_CACHE"] {
        let value = env::var(name).map_err(|err| Stop::Broken(format!("{name}: {err}")))?;
        super::ensure(Path::new(&value).starts_with("/tmp"), format!("{name} is {value}"))?;
        std::fs::create_dir_all(&value)?;
        drop(Place::scratch_in(Path::new(&value))?);
    }
    Ok("all below /tmp and writable".to_owned())
}
