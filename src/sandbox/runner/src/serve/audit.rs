//! What Landlock refused, as the kernel's audit tells it to those who may read it: to a runner that root started in the
//! initial namespaces, while auditing is enabled on the machine, since kernel 6.15.
//!
//! The records of all domains come over one socket. A command's own are those of the domain that its first process made,
//! which the kernel names with the first denial of the domain. A record that comes too late, or for which the socket has
//! no room, is not counted: what is told is true, and need not be all.

use std::{
    collections::{BTreeMap, VecDeque},
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    rc::Rc,
    time::{Duration, Instant},
};

use assistant_sandbox::protocol::{Denial, Level};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt, socket,
        sockopt,
    },
};

/// `AUDIT_*` of `linux/audit.h`, and the group that hears the log.
const GET: u16 = 1000;
const ACCESS: u16 = 1423;
const DOMAIN: u16 = 1424;
const READLOG: u32 = 1;

/// Of `linux/netlink.h`.
const ERROR: u16 = 2;
const REQUEST: u16 = 1;
const HEAD: usize = 16;

/// Bytes that the kernel keeps for us between two looks.
const ROOM: usize = 1 << 20;

/// How long the kernel may take to answer, before auditing counts as switched off.
const ANSWER: Duration = Duration::from_secs(1);

/// A command's end is told when no record has come for so long: one that failed may have done so for what is in them.
const QUIET_AFTER_SUCCESS: Duration = Duration::from_millis(2);
const QUIET_AFTER_FAILURE: Duration = Duration::from_millis(20);

/// And at the latest after so long.
const LATEST: Duration = Duration::from_millis(100);

/// Records that are taken in one look.
const AT_ONCE: usize = 4096;

/// Different denials of one command that are kept apart.
const KINDS: usize = 64;

/// Denials of domains whose maker is not known yet. The kernel names him directly after the first.
const EARLY: usize = 64;

/// Characters of a target. A command chooses the names of what it tries.
const LONGEST: usize = 256;

/// The audit log of the machine.
#[derive(Clone)]
pub(crate) struct Log(Rc<OwnedFd>);

/// A log that may turn out to be switched off.
pub(crate) struct Asked {
    log: Log,
    begun: Instant,
}

impl Asked {
    /// Opens the log and asks whether auditing is switched on; nothing where it cannot be read. While we are root still:
    /// the kernel lets nobody else listen, and answers only in the initial pid namespace, so that its numbers of processes
    /// are ours. It starts a thread to answer, for which whoever asks had better not wait.
    pub(crate) fn open() -> Option<Self> {
        let socket =
            socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkAudit).ok()?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, READLOG)).ok()?;
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &ROOM);
        let mut request = [0; HEAD];
        request[..4].copy_from_slice(&16_u32.to_ne_bytes());
        request[4..6].copy_from_slice(&GET.to_ne_bytes());
        request[6..8].copy_from_slice(&REQUEST.to_ne_bytes());
        let sent = send(socket.as_raw_fd(), &request, MsgFlags::MSG_DONTWAIT) == Ok(HEAD);
        sent.then(|| Self { log: Log(Rc::new(socket)), begun: Instant::now() })
    }

    /// The log, if auditing is switched on.
    pub(crate) fn answer(self) -> Option<Log> {
        let latest = self.begun + ANSWER;
        let mut enabled = None;
        while enabled.is_none() && self.log.wait(latest.saturating_duration_since(Instant::now())) {
            self.log.read(|kind, body| match kind {
                // The status begins with a mask and this.
                GET => enabled = body.get(4..8).map(|word| word != [0; 4]),
                ERROR => enabled = Some(false),
                _ => {}
            });
        }
        (enabled == Some(true)).then_some(self.log)
    }
}

impl Log {
    /// Waits for a record. False: none has come.
    fn wait(&self, time: Duration) -> bool {
        let timeout = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
        poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)], timeout).is_ok_and(|ready| ready > 0)
    }

    /// Takes what has come: number and text of each record.
    fn read(&self, mut take: impl FnMut(u16, &[u8])) {
        let mut record = vec![0; 16 << 10];
        for _ in 0..AT_ONCE {
            match recv(self.0.as_raw_fd(), &mut record, MsgFlags::MSG_DONTWAIT) {
                Ok(length) if length >= HEAD => take(u16::from_ne_bytes([record[4], record[5]]), &record[HEAD..length]),
                // Some were lost for want of room.
                Ok(_) | Err(nix::errno::Errno::ENOBUFS | nix::errno::Errno::EINTR) => {}
                Err(_) => break,
            }
        }
    }
}

/// What the log says of one command.
pub(crate) struct Trail {
    log: Log,
    refused: Refused,
}

impl Trail {
    /// From now on: what came before was of others.
    pub(crate) fn begin(log: &Log, level: Level) -> Self {
        log.read(|_, _| ());
        Self { log: log.clone(), refused: Refused::new(level) }
    }

    /// The process that puts itself under the rules, as we number it.
    pub(crate) fn made_by(&mut self, process: i32) {
        self.refused.maker = Some(process);
    }

    /// Counts what has come. Not before the maker is known, or the record that names him would be missed.
    pub(crate) fn follow(&mut self) {
        if self.refused.maker.is_some() {
            self.log.read(|kind, text| self.refused.hear(kind, text));
        }
    }

    /// The same when it has ended: the kernel writes the log a little later than it refuses.
    pub(crate) fn end(&mut self, succeeded: bool) -> Vec<Denial> {
        let quiet = if succeeded { QUIET_AFTER_SUCCESS } else { QUIET_AFTER_FAILURE };
        let latest = Instant::now() + LATEST;
        self.follow();
        while self.log.wait(quiet) && Instant::now() < latest {
            self.follow();
        }
        self.refused.denials()
    }
}

/// Denials of one domain, counted by target and rule.
struct Refused {
    level: Level,
    maker: Option<i32>,
    domain: Option<u64>,
    early: VecDeque<(u64, Access)>,
    counts: BTreeMap<Access, u64>,
}

impl Refused {
    fn new(level: Level) -> Self {
        Self { level, maker: None, domain: None, early: VecDeque::new(), counts: BTreeMap::new() }
    }

    fn hear(&mut self, kind: u16, text: &[u8]) {
        let Ok(text) = std::str::from_utf8(text) else { return };
        let text = text.trim_end_matches('\0');
        let Some(domain) = field(text, "domain").and_then(|digits| u64::from_str_radix(digits, 16).ok()) else {
            return;
        };
        match (kind, self.domain) {
            (ACCESS, Some(own)) if own != domain => {}
            (ACCESS, own) => match (Access::read(text), own) {
                (Some(access), Some(_)) => self.count(access),
                (Some(access), None) => {
                    self.early.truncate(EARLY - 1);
                    self.early.push_front((domain, access));
                }
                (None, _) => {}
            },
            (DOMAIN, None) => {
                let maker = field(text, "pid").and_then(|pid| pid.parse().ok());
                let begins = field(text, "status") == Some("allocated");
                if begins && maker.is_some() && maker == self.maker {
                    self.domain = Some(domain);
                    for (of, access) in std::mem::take(&mut self.early) {
                        if of == domain {
                            self.count(access);
                        }
                    }
                } else {
                    self.early.retain(|(of, _)| *of != domain);
                }
            }
            _ => {}
        }
    }

    fn count(&mut self, mut access: Access) {
        if self.counts.len() >= KINDS && !self.counts.contains_key(&access) {
            access = Access { target: "others".to_owned(), rule: "not within the rules".to_owned() };
        }
        *self.counts.entry(access).or_default() += 1;
    }

    fn denials(&self) -> Vec<Denial> {
        let denial = |(access, count): (&Access, &u64)| Denial {
            layer: "landlock".to_owned(),
            target: access.target.clone(),
            rule: access.rule.clone(),
            suggestion: access.way(self.level).map(str::to_owned),
            count: *count,
        };
        self.counts.iter().map(denial).collect()
    }
}

/// A refused access: to what, and for lack of which rights.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Access {
    target: String,
    rule: String,
}

impl Access {
    fn read(text: &str) -> Option<Self> {
        let rule = field(text, "blockers")?.to_owned();
        let target = if let Some(path) = field(text, "path") {
            plain(path)
        } else if let Some(port) = field(text, "dest").or_else(|| field(text, "src")) {
            format!("TCP port {port}")
        } else {
            // Its name is nothing that the command should know.
            "another process".to_owned()
        };
        Some(Self { target, rule })
    }

    /// What would allow it, if anything.
    fn way(&self, level: Level) -> Option<&'static str> {
        let all = |rights: &[&str]| self.rule.split(',').all(|right| rights.contains(&right));
        if self.rule == "net.connect_tcp" {
            let here = level == Level::WorkNet;
            return Some(if here { "a request through the proxy that http_proxy names" } else { "the level work+net" });
        }
        // What is looked for where it is has no use elsewhere.
        let within = |dir| self.target.starts_with(dir);
        let fixed = ["/proc/", "/sys/", "/dev/", "/etc/"].into_iter().any(within) && !within("/dev/shm/");
        if !self.rule.starts_with("fs.") || fixed {
            None
        } else if all(&["fs.read_file", "fs.read_dir", "fs.execute"]) {
            Some("a copy of it in the workspace")
        } else if level == Level::Read {
            Some("a place below TMPDIR, or the level work")
        } else {
            Some("a place in the workspace, or below TMPDIR")
        }
    }
}

/// The value of a field. What a record quotes has neither spaces nor quotes in it.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

/// A name as a record gives it: in quotes, or as hexadecimal digits if there is anything unusual in it. Control characters
/// are shown by their numbers, because a command chose them and a person reads them.
fn plain(value: &str) -> String {
    let name = match value.strip_prefix('"') {
        Some(quoted) => quoted.trim_end_matches('"').to_owned(),
        None => bytes(value).map_or_else(|| value.to_owned(), |bytes| String::from_utf8_lossy(&bytes).into_owned()),
    };
    let mut shown = String::new();
    for character in name.chars().take(LONGEST) {
        if character.is_control() { shown.extend(character.escape_default()) } else { shown.push(character) }
    }
    if name.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    rest.is_empty().then(|| pairs.iter().map(byte).collect())?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As kernel 6.18 wrote them, with numbers and names changed.
    const LINES: [(u16, &str); 6] = [
        (
            ACCESS,
            "audit(1795377026.197:741): domain=1c78e3670 blockers=fs.read_file path=2F746D702F6120622F66 dev=\"vda\" ino=10018962",
        ),
        (
            DOMAIN,
            "audit(1795377026.197:741): domain=1c78e3670 status=allocated mode=enforcing pid=8642 uid=65534 exe=\"/usr/bin/x\" comm=\"x\"",
        ),
        (
            ACCESS,
            "audit(1795377026.201:745): domain=1c78e3670 blockers=fs.make_dir path=\"/tmp/audx\" dev=\"vda\" ino=10018930",
        ),
        (ACCESS, "audit(1795377026.205:747): domain=1c78e3670 blockers=net.connect_tcp daddr=127.0.0.1 dest=9"),
        (ACCESS, "audit(1795377026.205:748): domain=1c78e3670 blockers=scope.signal opid=1 ocomm=\"secret\""),
        (DOMAIN, "audit(1795377026.277:756): domain=1c78e3670 status=deallocated denials=15"),
    ];

    fn heard(maker: i32, lines: &[(u16, &str)]) -> Vec<Denial> {
        let mut refused = Refused::new(Level::Work);
        refused.maker = Some(maker);
        for (kind, text) in lines {
            refused.hear(*kind, text.as_bytes());
        }
        refused.denials()
    }

    #[test]
    fn the_records_of_a_commands_own_domain_are_told() {
        let mut lines = LINES.to_vec();
        lines.insert(2, LINES[0]);
        let denials = heard(8642, &lines);
        let told: Vec<_> = denials
            .iter()
            .map(|told| (told.target.as_str(), told.rule.as_str(), told.count, told.suggestion.as_deref()))
            .collect();
        assert_eq!(
            told,
            [
                ("/tmp/a b/f", "fs.read_file", 2, Some("a copy of it in the workspace")),
                ("/tmp/audx", "fs.make_dir", 1, Some("a place in the workspace, or below TMPDIR")),
                ("TCP port 9", "net.connect_tcp", 1, Some("the level work+net")),
                ("another process", "scope.signal", 1, None),
            ]
        );
        assert!(denials.iter().all(|told| told.layer == "landlock"));
    }

    #[test]
    fn what_others_were_refused_is_not_told() {
        assert_eq!(heard(8643, &LINES), []);
        // Another domain among the records of ours.
        let other = "domain=2 blockers=fs.read_file path=\"/other\" dev=\"vda\" ino=1";
        let named = "domain=2 status=allocated mode=enforcing pid=99 uid=0 exe=\"/x\" comm=\"x\"";
        let lines = [(ACCESS, other), LINES[0], (DOMAIN, named), (ACCESS, other), LINES[1], (ACCESS, other)];
        assert_eq!(heard(8642, &lines).len(), 1);
        // Records of another kind, whatever they say.
        assert_eq!(heard(8642, &[LINES[0], LINES[1], (1300, LINES[2].1)]).len(), 1);
    }

    #[test]
    fn no_record_is_too_odd() {
        for text in ["", "domain=", "domain=zz", "domain=1", "domain=1 blockers=fs.read_file path=2F7"] {
            heard(1, &[(ACCESS, text), (DOMAIN, text)]);
        }
        let mut refused = Refused::new(Level::Work);
        refused.maker = Some(1);
        refused.hear(DOMAIN, b"domain=1 status=allocated pid=1");
        refused.hear(ACCESS, &[0xff; 9]);
        for number in 0..1000 {
            refused.hear(ACCESS, format!("domain=1 blockers=fs.read_file path=\"/{number}\"").as_bytes());
        }
        let denials = refused.denials();
        assert_eq!(denials.len(), KINDS + 1);
        assert_eq!(denials.iter().map(|told| told.count).sum::<u64>(), 1000);
        let mut early = Refused::new(Level::Work);
        for number in 0..1000 {
            early.hear(ACCESS, format!("domain={number:x} blockers=fs.read_file path=\"/\"").as_bytes());
        }
        assert_eq!(early.early.len(), EARLY);
    }

    #[test]
    fn names_are_shown_plainly() {
        assert_eq!(plain("\"/a\""), "/a");
        assert_eq!(plain("2FC3BC"), "/ü");
        assert_eq!(plain("2F1B5B0A"), "/\\u{1b}[\\n");
        assert_eq!(plain("2FFF"), "/\u{fffd}");
        assert_eq!(plain(&format!("\"{}\"", "a".repeat(5000))).chars().count(), LONGEST + 1);
    }

    #[test]
    fn a_way_fits_the_level_and_the_place() {
        let way =
            |rule: &str, target: &str, level| Access { target: target.to_owned(), rule: rule.to_owned() }.way(level);
        assert_eq!(way("fs.write_file", "/workspace/a", Level::Read), Some("a place below TMPDIR, or the level work"));
        assert_eq!(way("fs.write_file", "/proc/2/comm", Level::Work), None);
        assert!(way("net.connect_tcp", "TCP port 9", Level::WorkNet).is_some_and(|way| way.contains("http_proxy")));
        assert_eq!(way("net.bind_tcp", "TCP port 9", Level::WorkNet), None);
    }
}
