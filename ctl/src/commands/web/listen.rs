//! Where the daemon listens on the network: set and taken away so that a daemon that refuses to start can be mended.

use std::{
    fs,
    io::{self, Write as _},
    net::{SocketAddr, ToSocketAddrs as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use serde_json::json;
use tempfile::NamedTempFile;
use toml_edit::Value;

use crate::{
    Cx,
    commands::config::drop_in::{self, DropIn},
    exit::{Code, Failure, Result},
    host::{Host, SERVICE},
    replace::Prepared,
};

/// The socket unit of the network.
pub const UNIT: &str = "assistantd-web.socket";
/// Where systemd looks for the administrator's drop-ins.
const UNITS: &str = "/etc/systemd/system";
/// The drop-in of the socket unit that these commands write; nothing else does.
const ADDRESS: &str = "60-address.conf";
/// The file of `conf.d` that these commands write; nothing else does.
const FILE: &str = "60-web.toml";
const WHY: &str = "journalctl -u assistantd -n 20 says why";

/// Make the daemon available on an address of this host
///
/// Under systemd it gives assistantd-web.socket the address and enables it,
/// else it sets api.bind_host and api.port. An address that outsiders can reach
/// is refused, before anything is written, unless --allow-public-bind is there.
/// People need a password then: assistantctl web password. What fails half-way
/// is undone.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assistantctl web enable --bind 192.168.1.50:8000
  assistantctl web enable --bind 127.0.0.1:8000
  assistantctl web enable --bind 0.0.0.0:8000 --allow-public-bind")]
pub struct Enable {
    /// The address, or a name of this host, with a port
    #[arg(long, value_name = "ADDR:PORT")]
    bind: String,
    /// Listen there even if everybody can come: on 0.0.0.0, ::, or an address of
    /// the Internet
    #[arg(long)]
    allow_public_bind: bool,
    /// Speak HTTPS with this certificate (PEM), which the daemon's user can read;
    /// it is kept by later calls
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// Its key (PEM), which no other user can read
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// Speak HTTP again
    #[arg(long, conflicts_with = "tls_certificate")]
    no_tls: bool,
    /// The configuration file [default: the daemon's]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Take the daemon off the network; the socket on this host stays
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assistantctl web disable")]
pub struct Disable {
    /// The configuration file [default: the daemon's]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Where it is written.
struct Place {
    host: Host,
    units: PathBuf,
    file: DropIn,
}

/// What becomes of HTTPS.
enum Tls {
    /// What it was.
    Kept,
    Off,
    /// Certificate and key.
    With(String, String),
}

impl Enable {
    fn tls(&self) -> Result<Tls> {
        // The daemon has another working directory.
        let whole = |path: &Path| {
            let path = std::path::absolute(path).map_err(|err| Failure::file("finding", path, &err))?;
            path.into_os_string().into_string().map_err(|_| Failure::usage("a path of the certificate is no text"))
        };
        match (&self.tls_certificate, &self.tls_key) {
            (Some(certificate), Some(key)) => Ok(Tls::With(whole(certificate)?, whole(key)?)),
            _ if self.no_tls => Ok(Tls::Off),
            _ => Ok(Tls::Kept),
        }
    }
}

/// A file as it was.
struct Former {
    path: PathBuf,
    content: Option<Vec<u8>>,
    mode: u32,
}

pub async fn enable(args: Enable, cx: &Cx) -> Result {
    let addresses = resolve(&args.bind)?;
    let tls = args.tls()?;
    let place = Place::of(args.config, cx).await?;
    place.refuse(&args.bind, args.allow_public_bind, &tls)?;
    place.enable(&args.bind, &addresses, args.allow_public_bind, &tls)?;
    let at: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
    if cx.out.json {
        cx.out.json(&json!({ "bind": at, "restart_needed": !place.host.service }))?;
        return Ok(Code::Ok);
    }
    if place.host.service {
        cx.out.line(format!("the daemon listens on {}", at.join(" and ")))?;
    } else {
        cx.out.line(format!("{} has {}", place.file.path().display(), at.join(" and ")))?;
        cx.out.note("it takes effect when the daemon starts again");
    }
    cx.out
        .note("people log in with a password (assistantctl web password), programs with a token (assistantctl token)");
    Ok(Code::Ok)
}

pub async fn disable(args: Disable, cx: &Cx) -> Result {
    let place = Place::of(args.config, cx).await?;
    place.disable()?;
    if cx.out.json {
        cx.out.json(&json!({ "bind": [], "restart_needed": !place.host.service }))?;
        return Ok(Code::Ok);
    }
    cx.out.line("nothing of these commands opens the network any more")?;
    if !place.host.service {
        cx.out.note("it takes effect when the daemon starts again");
    }
    Ok(Code::Ok)
}

/// What is set, whether or not the daemon runs.
pub async fn configured(cx: &Cx) -> Result<Option<String>> {
    let host = Host::here();
    if host.service && !cx.named {
        let state = host.run("systemctl", ["is-enabled", UNIT], b"");
        let enabled = state.is_ok_and(|said| said.starts_with(b"enabled"));
        return if enabled { unit_addresses(&host).map(|at| Some(at.join(" and "))) } else { Ok(None) };
    }
    let settings = match cx.client.get("/api/config").await {
        Err(err) if err.is_unreachable() && cx.named => {
            return Ok(Some("unknown: this daemon does not say which files it reads".to_owned()));
        }
        Err(err) if err.is_unreachable() => crate::commands::config::daemon::show()?,
        other => other?,
    };
    let value = |key: &str| settings.settings.iter().find(|setting| setting.key == key).map(|found| &found.value);
    let host = value("api.bind_host").and_then(|value| value.as_str()).map(str::trim).filter(|host| !host.is_empty());
    let port = value("api.port").and_then(serde_json::Value::as_u64).unwrap_or(8000);
    Ok(host.map(|host| if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }))
}

impl Place {
    async fn of(config: Option<PathBuf>, cx: &Cx) -> Result<Self> {
        let mut host = Host::here();
        // A daemon that was named, or its file, need not be the service.
        host.service &= config.is_none() && !cx.named;
        Ok(Self { host, units: UNITS.into(), file: DropIn::new(&drop_in::main_file(config, cx).await?, FILE) })
    }

    fn unit(&self) -> PathBuf {
        self.units.join(format!("{UNIT}.d")).join(ADDRESS)
    }

    /// The file with the address in it, or only with what the service needs of it.
    fn text(&self, bind: &str, public: bool, bound: bool, tls: &Tls) -> Result<String> {
        let (host, port) = split(bind)?;
        let mut keys = vec![
            ("api.bind_host", bound.then(|| Value::from(host))),
            ("api.port", bound.then(|| Value::from(i64::from(port)))),
            ("api.allow_public_bind", public.then(|| Value::from(true))),
        ];
        match tls {
            Tls::Kept => {}
            Tls::Off => keys.extend([("api.tls_certificate", None), ("api.tls_key", None)]),
            Tls::With(certificate, key) => keys.extend([
                ("api.tls_certificate", Some(Value::from(certificate))),
                ("api.tls_key", Some(Value::from(key))),
            ]),
        }
        self.file.edit(&self.file.read()?, keys)
    }

    /// What the guard would refuse, before anything is written: the daemon's own program says so, of a copy that has the
    /// address.
    fn refuse(&self, bind: &str, public: bool, tls: &Tls) -> Result<()> {
        self.file.check(&self.text(bind, public, true, tls)?).map_err(|failure| {
            if failure.message.contains("would listen on") {
                return failure
                    .hint("give a private address such as 192.168.1.50; if it is meant, add --allow-public-bind");
            }
            failure
        })
    }

    fn enable(&self, bind: &str, addresses: &[SocketAddr], public: bool, tls: &Tls) -> Result<()> {
        if !self.host.service {
            return self.file.prepare(&self.text(bind, public, true, tls)?)?.commit();
        }
        let (unit, file) = (Former::of(&self.unit())?, Former::of(self.file.path())?);
        let was = self.host.run("systemctl", ["is-enabled", UNIT], b"").is_ok();
        let done = || {
            self.file.prepare(&self.text(bind, public, false, tls)?)?.commit()?;
            // The empty one takes away what the package has.
            let mut text = "[Socket]\nListenStream=\n".to_owned();
            for address in addresses {
                text.extend(["ListenStream=", &address.to_string(), "\n"]);
            }
            write(&unit.path, text.as_bytes(), 0o644)?;
            self.host.run("systemctl", ["daemon-reload"], b"")?;
            self.is_alone(addresses)?;
            self.host.run("systemctl", ["enable", UNIT], b"")?;
            self.open()
        };
        done().map_err(|failure| {
            let undone = unit.restore().and(file.restore());
            _ = self.host.run("systemctl", ["daemon-reload"], b"");
            if was {
                _ = self.open();
            } else {
                _ = self.host.run("systemctl", ["disable", "--now", UNIT], b"");
                _ = self.restart();
            }
            match undone {
                Ok(()) => Failure { message: format!("{}; all is as it was", failure.message), ..failure },
                Err(err) => {
                    Failure { message: format!("{}; and undoing it: {}", failure.message, err.message), ..failure }
                }
            }
        })
    }

    /// Makes sure that no drop-in that somebody else wrote has the last word.
    fn is_alone(&self, addresses: &[SocketAddr]) -> Result<()> {
        let found = unit_addresses(&self.host)?;
        let mut wanted: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
        wanted.sort_unstable();
        if found == wanted {
            return Ok(());
        }
        let others = show(&self.host, "DropInPaths")?;
        let others: Vec<_> = others.split_whitespace().filter(|path| Path::new(path) != self.unit()).collect();
        let message = format!("{UNIT} would listen on {}, which {} sets", found.join(" and "), others.join(" and "));
        Err(Failure::new(Code::Failed, message)
            .hint(format!("take its ListenStream= lines out, or keep it and use: systemctl enable --now {UNIT}")))
    }

    fn disable(&self) -> Result<()> {
        let remove = |path: &Path| match fs::remove_file(path) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => {
                Err(Failure::file("removing", path, &err).hint("run it as root, with sudo before it"))
            }
            _ => Ok(()),
        };
        remove(self.file.path())?;
        if !self.host.service {
            return Ok(());
        }
        remove(&self.unit())?;
        self.host.run("systemctl", ["disable", UNIT], b"")?;
        self.host.run("systemctl", ["daemon-reload"], b"")?;
        self.host.run("systemctl", ["stop", UNIT], b"")?;
        // The daemon holds the socket as long as it runs.
        self.restart()
    }

    /// Opens the socket of the network and hands it to the service. A socket does not open while its service runs, and
    /// whoever asks on the API's socket meanwhile starts that again: hence the attempts.
    fn open(&self) -> Result<()> {
        _ = self.host.run("systemctl", ["reset-failed", UNIT, SERVICE], b"");
        let mut attempts = 3;
        let opens = || {
            self.host.run("systemctl", ["stop", SERVICE], b"")?;
            self.host.run("systemctl", ["restart", UNIT], b"")
        };
        while let Err(failure) = opens() {
            attempts -= 1;
            if attempts == 0 {
                return Err(failure.hint(WHY));
            }
        }
        self.host.run("systemctl", ["start", SERVICE], b"").map(drop).map_err(|failure| failure.hint(WHY))
    }

    fn restart(&self) -> Result<()> {
        _ = self.host.run("systemctl", ["reset-failed", SERVICE], b"");
        self.host.run("systemctl", ["restart", SERVICE], b"").map(drop).map_err(|failure| failure.hint(WHY))
    }
}

/// What the socket unit listens on as systemd has read it, whoever wrote that: addresses, and paths of sockets.
fn unit_addresses(host: &Host) -> Result<Vec<String>> {
    let shown = show(host, "Listen")?;
    // Such as "[fd00::7]:8000 (Stream)".
    let listens = shown.lines().filter_map(|line| line.rsplit_once(" (")).map(|(address, _)| address.to_owned());
    let mut found: Vec<_> = listens.collect();
    found.sort_unstable();
    Ok(found)
}

/// A property of the socket unit.
fn show(host: &Host, property: &str) -> Result<String> {
    let shown = host.run("systemctl", ["show", "--value", "--property", property, UNIT], b"")?;
    Ok(String::from_utf8_lossy(&shown).into_owned())
}

impl Former {
    fn of(path: &Path) -> Result<Self> {
        let failed = |err| Failure::file("reading", path, &err);
        match fs::read(path) {
            Ok(content) => {
                let mode = fs::metadata(path).map_err(failed)?.permissions().mode() & 0o7777;
                Ok(Self { path: path.to_owned(), content: Some(content), mode })
            }
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                Ok(Self { path: path.to_owned(), content: None, mode: 0o644 })
            }
            Err(err) => Err(failed(err)),
        }
    }

    fn restore(&self) -> Result<()> {
        match &self.content {
            // In place, where it still belongs to whom it belonged to.
            Some(content) => fs::write(&self.path, content)
                .and_then(|()| fs::set_permissions(&self.path, fs::Permissions::from_mode(self.mode)))
                .map_err(|err| Failure::file("writing", &self.path, &err)),
            None => match fs::remove_file(&self.path) {
                Err(err) if err.kind() != io::ErrorKind::NotFound => Err(Failure::file("removing", &self.path, &err)),
                _ => Ok(()),
            },
        }
    }
}

/// Writes a file that everybody may read.
fn write(file: &Path, content: &[u8], mode: u32) -> Result<()> {
    let written = || {
        let dir = file.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(dir)?;
        let mut temporary = NamedTempFile::with_prefix_in(".address-", dir)?;
        temporary.write_all(content)?;
        temporary.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
        temporary.as_file().sync_all()?;
        Ok(temporary)
    };
    let temporary = written().map_err(|err| {
        let failure = Failure::file("writing", file, &err);
        if failure.code == Code::Denied { failure.hint("run it as root, with sudo before it") } else { failure }
    })?;
    Prepared { temporary, file: file.to_owned() }.commit()
}

/// Host and port of `ADDR:PORT`; the address of IPv6 without its brackets.
fn split(bind: &str) -> Result<(&str, u16)> {
    let wrong = || {
        Failure::usage(format!("--bind {bind:?} is no address with a port"))
            .hint("such as 192.168.1.50:8000 or [fd00::7]:8000")
    };
    let (host, port) = bind.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
    let plain = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match plain {
        Some(plain) if !plain.is_empty() => Ok((plain, port)),
        None if !host.is_empty() && !host.contains(':') => Ok((host, port)),
        _ => Err(wrong()),
    }
}

/// What the system makes of it.
fn resolve(bind: &str) -> Result<Vec<SocketAddr>> {
    let (host, port) = split(bind)?;
    let found = (host, port).to_socket_addrs();
    let mut found: Vec<_> = found
        .map_err(|err| {
            Failure::usage(format!("--bind {bind:?} is no address of this host: {err}"))
                .hint("`ip address` lists those it has")
        })?
        .collect();
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

#[cfg(test)]
mod tests;
