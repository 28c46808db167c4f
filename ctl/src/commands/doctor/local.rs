//! What can be seen of the host without the daemon: users, the socket, the state, credentials, variables, the kernel.

use assistant_api::secrets::SecretName;

use super::{Finding, host::Host};
use crate::{commands::config::daemon as program, exit::Code};

const SOCKET: &str = "/run/assistant/api.sock";
const STATE: &str = "/var/lib/assistant";
const CONFIG: &str = "/etc/assistant/assistant.toml";
const VARIABLES: &str = "/etc/default/assistant";
/// Directories of credentials, and whether what lies there is encrypted (systemd.exec(5)).
const CREDENTIALS: &[(&str, bool)] =
    &[("/etc/credstore.encrypted", true), ("/etc/credstore", false), ("/run/credstore", false)];
/// Restarts the daemon with its socket, which keeps the group that it was made with.
const RESTART: &str = "sudo systemctl restart assistantd.socket assistantd.service";

/// The same for a service that systemd gave up to start.
const RESTART_FAILED: &str =
    "sudo systemctl reset-failed assistantd.service && sudo systemctl restart assistantd.service";

/// Users and groups of the package.
pub(super) fn people(host: &Host) -> Vec<Finding> {
    if !host.is_packaged() {
        return vec![Finding::skipped("groups", "the package is not installed")];
    }
    let make = format!("sudo systemd-sysusers && {RESTART}");
    let mut findings = Vec::new();
    if host.uid("assistant").is_none() {
        let text = "the user assistant, whom the daemon runs as, is missing";
        findings.push(Finding::error("groups", Code::Failed, text, &make));
    }
    for (group, what) in [
        ("assistant-users", "nobody but root can use the API"),
        ("assistant-admin", "nobody but root can stop or configure it"),
        ("assistant-work", "the workspace has no group"),
    ] {
        if host.gid(group).is_none() {
            let text = format!("the group {group} is missing: {what}");
            findings.push(Finding::error("groups", Code::Denied, text, &make));
        }
    }
    for group in ["docker", "sudo", "root", "disk", "lxd"] {
        if host.members(group).iter().any(|member| member == "assistant") {
            let text = format!("the user assistant is in the group {group}, which is as good as root");
            let mend = format!("sudo gpasswd -d assistant {group} && {RESTART}");
            findings.push(Finding::error("groups", Code::Failed, text, mend));
        }
    }
    if findings.is_empty() {
        let members = host.members("assistant-users");
        let who = if members.is_empty() { "nobody yet".to_owned() } else { members.join(", ") };
        findings.push(if members.is_empty() {
            let mend = "sudo adduser $USER assistant-users, and log in again";
            Finding::ok("groups", format!("all there; in assistant-users: {who} ({mend})"))
        } else {
            Finding::ok("groups", format!("all there; in assistant-users: {who}"))
        });
    }
    findings
}

/// Mode and group of the packaged socket.
pub(super) fn socket(host: &Host) -> Option<Finding> {
    if !host.is_packaged() {
        return None;
    }
    let meta = host.meta(SOCKET).ok()?;
    if meta.mode & 0o007 != 0 {
        let text = format!("{SOCKET} has mode {:04o}: every user of this machine can connect", meta.mode);
        return Some(Finding::error("socket rights", Code::Failed, text, format!("sudo chmod 0660 {SOCKET}")));
    }
    let group = host.gid("assistant-users")?;
    if meta.gid != group || meta.mode & 0o060 != 0o060 {
        let text = format!("{SOCKET} is not open to the group assistant-users");
        return Some(Finding::error("socket rights", Code::Denied, text, RESTART));
    }
    Some(Finding::ok("socket rights", format!("mode {:04o}, group assistant-users", meta.mode)))
}

/// Owner and mode of the state, and the version of the database in it.
pub(super) fn state(host: &Host) -> Vec<Finding> {
    let Ok(meta) = host.meta(STATE) else {
        return vec![Finding::skipped("state", format!("there is no {STATE}"))];
    };
    let mut findings = Vec::new();
    if meta.mode & 0o026 != 0 {
        let text = format!("the state directory has mode {:04o}: others can read or change it", meta.mode);
        findings.push(Finding::warning("state", text, format!("sudo chmod 0700 {STATE}")));
    }
    if host.uid("assistant").is_some_and(|uid| uid != meta.uid) {
        let text = "the state directory belongs to somebody else than the daemon's user";
        let mend = format!("sudo chown -R assistant: {STATE} && {RESTART}");
        findings.push(Finding::error("state", Code::Failed, text, mend));
    }
    if findings.is_empty() {
        findings.push(Finding::ok("state", format!("{STATE}, mode {:04o}", meta.mode)));
    }
    findings.push(schema(host));
    findings
}

/// The version in the file, which a running daemon has brought up already.
fn schema(host: &Host) -> Finding {
    let known = assistant_api::status::SCHEMA_VERSION;
    let file = format!("{STATE}/assistant.db");
    let bytes = match std::fs::File::open(host.path(&file)) {
        Ok(file) => head(file),
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => None,
        Err(_) => return Finding::skipped("schema", "only root and the daemon can look into the database"),
    };
    let Some(bytes) = bytes else { return Finding::ok("schema", "there is no database yet") };
    if &bytes[..16] != b"SQLite format 3\0" {
        let text = "the file of the database is damaged: it is no database";
        return Finding::error("schema", Code::Failed, text, restoring(host));
    }
    // `user_version` (sqlite.org/fileformat.html).
    let version = u64::from(u32::from_be_bytes([bytes[60], bytes[61], bytes[62], bytes[63]]));
    match version.cmp(&known) {
        std::cmp::Ordering::Less if version > 0 => Finding::warning(
            "schema",
            format!("the database has version {version}, the program {known}: the next start upgrades it, with a copy"),
            "sudo systemctl restart assistantd",
        ),
        std::cmp::Ordering::Greater => Finding::error(
            "schema",
            Code::Failed,
            format!(
                "the database has version {version}, newer than {known} of the program, which does not start on it"
            ),
            "sudo apt install --only-upgrade assistant",
        ),
        _ => Finding::ok("schema", format!("version {known}, no upgrade is pending")),
    }
}

/// The commands that put the newest backup into its place; what only the caller knows stands in capitals.
fn restoring(host: &Host) -> String {
    let names = host.list(&format!("{STATE}/backups")).unwrap_or_default();
    // Their names have the time, so that the last is the newest.
    let is_backup = |name: &&String| {
        name.starts_with("assistant-") && (name.ends_with(".tar.zst") || name.ends_with(".tar.zst.age"))
    };
    let newest = names.iter().rfind(is_backup);
    let name = newest.map_or("NAME", String::as_str);
    let opened = if std::path::Path::new(name).extension().is_some_and(|kind| kind == "age") {
        " --identity KEYFILE"
    } else {
        ""
    };
    let list = if newest.is_some() { "" } else { "sudo assistantctl backup list && " };
    format!(
        "{list}sudo systemctl stop assistantd.socket assistantd.service && sudo assistantctl backup restore {name}{opened} --force \
         && sudo systemctl reset-failed assistantd.socket assistantd.service; \
         sudo systemctl start assistantd.socket assistantd.service"
    )
}

fn head(mut file: std::fs::File) -> Option<[u8; 100]> {
    let mut bytes = [0; 100];
    std::io::Read::read_exact(&mut file, &mut bytes).ok().map(|()| bytes)
}

/// Credentials that lie ready for the service.
pub(super) fn credentials(host: &Host) -> Vec<Finding> {
    let (mut found, mut findings) = (Vec::new(), Vec::new());
    for (dir, encrypted) in CREDENTIALS {
        let Ok(names) = host.list(dir) else {
            findings.push(Finding::skipped("credentials", format!("only root can look into {dir}")));
            continue;
        };
        for name in SecretName::ALL.iter().map(|name| name.credential()).filter(|name| names.iter().any(|n| n == name))
        {
            let path = format!("{dir}/{name}");
            found.push(name);
            if host.meta(&path).is_ok_and(|meta| meta.mode & 0o077 != 0) && !encrypted {
                let text = format!("{path} can be read by others");
                findings.push(Finding::warning("credentials", text, format!("sudo chmod 0600 {path}")));
            }
            if !encrypted {
                let text = format!("{path} is not encrypted");
                let mend = format!("sudo assistantctl secret set {name} && sudo rm {path}");
                findings.push(Finding::warning("credentials", text, mend));
            } else if host.is_root && !decrypts(host, name, &path) {
                let text =
                    format!("the credential {name} cannot be decrypted on this machine, so the service does not start");
                let mend = format!("sudo rm {path} && {RESTART_FAILED}");
                findings.push(Finding::error("credentials", Code::Failed, text, mend));
            }
        }
    }
    if findings.is_empty() {
        let listed = if found.is_empty() { "none set".to_owned() } else { found.join(", ") };
        findings.push(Finding::ok("credentials", listed));
    }
    findings
}

/// Whether systemd can read it: as its name says, with the key of this machine.
fn decrypts(host: &Host, name: &str, path: &str) -> bool {
    let path = host.path(path).display().to_string();
    let script = "systemd-creds decrypt --name=\"$1\" \"$2\" - >/dev/null 2>&1 && echo yes || echo no";
    host.ask("sh", &["-c", script, "sh", name, &path]).is_none_or(|said| said.trim() != "no")
}

/// The configuration and the variables of the packaged service, as its own program sees them.
pub(super) fn configuration(host: &Host) -> Vec<Finding> {
    if host.path(CONFIG).metadata().is_err() {
        return vec![Finding::skipped("config", "only root and the daemon can read /etc/assistant")];
    }
    let variables = host.path(VARIABLES);
    let variables = variables.exists().then_some(variables.as_path());
    if variables.is_some_and(|file| std::fs::File::open(file).is_err()) {
        return vec![Finding::skipped("config", format!("only root can read {VARIABLES}"))];
    }
    let checked = match program::check_service(&host.path(CONFIG), variables) {
        Ok(checked) => checked,
        Err(failure) => {
            let mend = failure.hint.unwrap_or_default();
            return vec![Finding::warning("config", failure.message, mend)];
        }
    };
    let message = checked.message();
    let mut findings = Vec::new();
    if checked.ok() {
        findings.push(Finding::ok("config", message.lines().next().unwrap_or("it is good").to_owned()));
    } else {
        let first = message.lines().find_map(|line| line.strip_prefix("error: ")).unwrap_or(&message);
        findings.push(Finding::error("config", checked.code, first, "sudo assistantctl config check"));
    }
    findings.extend(warned(&message));
    if let Some(finding) = open_variables(host) {
        findings.push(finding);
    }
    findings
}

/// The warnings among the words of the program, each with the hint on its next line.
pub(super) fn warned(message: &str) -> Vec<Finding> {
    let lines: Vec<_> = message.lines().collect();
    let warning = |(at, line): (usize, &&str)| {
        let text = line.strip_prefix("warning: ")?;
        let mend = lines.get(at + 1).and_then(|next| next.strip_prefix("hint: ")).unwrap_or_default();
        Some(Finding::warning("variables", text, mend))
    };
    lines.iter().enumerate().filter_map(warning).collect()
}

/// Secrets in a file that everybody can read.
pub(super) fn open_variables(host: &Host) -> Option<Finding> {
    let (text, meta) = (host.read(VARIABLES).ok()?, host.meta(VARIABLES).ok()?);
    let secret = text.lines().map(str::trim).filter_map(|line| line.split_once('=')).find(|(name, value)| {
        let name = name.trim();
        !value.trim().is_empty()
            && !name.starts_with('#')
            && ["_KEY", "_PASSWORD", "_TOKEN"].iter().any(|end| name.ends_with(end))
    });
    secret.filter(|_| meta.mode & 0o004 != 0).map(|(name, _)| {
        let text = format!("{VARIABLES} holds {} and can be read by everybody", name.trim());
        Finding::warning("variables", text, format!("sudo chmod 0600 {VARIABLES}"))
    })
}

/// What the kernel gives to sandboxes.
pub(super) fn kernel(host: &Host) -> Vec<Finding> {
    let release = host.read("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let mut findings = Vec::new();
    if version < (5, 19) {
        let text = format!("the kernel is {release}: the sandbox wants Landlock as of 5.19");
        findings.push(Finding::warning("kernel", text, "sudo apt full-upgrade && sudo systemctl reboot"));
    }
    let modules = host.read("/sys/kernel/security/lsm").unwrap_or_default();
    if !modules.trim().is_empty() && !modules.split(',').any(|module| module.trim() == "landlock") {
        let text = format!("Landlock is not among the kernel's security modules ({})", modules.trim());
        let mend = format!("add lsm=landlock,{} to the kernel's command line and reboot", modules.trim());
        findings.push(Finding::warning("kernel", text, mend));
    }
    let bounded = |controller: &str| {
        let unified = host.read("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
        unified.split_whitespace().any(|name| name == controller)
            || host.exists(&format!("/sys/fs/cgroup/{controller}"))
    };
    let lacking: Vec<_> = ["memory", "pids"].into_iter().filter(|controller| !bounded(controller)).collect();
    if !lacking.is_empty() {
        let text = format!("control groups cannot bound {}: commands in units are refused", lacking.join(" and "));
        let mend =
            "add cgroup_enable=memory systemd.unified_cgroup_hierarchy=1 to the kernel's command line and reboot";
        findings.push(Finding::warning("kernel", text, mend));
    }
    if findings.is_empty() {
        let namespaces = host.read("/proc/sys/user/max_user_namespaces").unwrap_or_default();
        let restricted = host.read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").unwrap_or_default();
        let users = match (namespaces.trim(), restricted.trim()) {
            ("0", _) => "user namespaces are switched off, which units do not need",
            (_, "1") => "user namespaces are restricted by AppArmor, which units do not mind",
            _ => "user namespaces may be made",
        };
        findings.push(Finding::ok("kernel", format!("{release}; {users}")));
    }
    findings
}

/// Sockets of the network that the daemon's process holds, by the kernel's own list; for whoever may look.
pub(super) fn network(host: &Host, pid: u32, known: &[String]) -> Finding {
    let Ok(descriptors) = host.list(&format!("/proc/{pid}/fd")) else {
        return Finding::skipped("exposure", "only root can see which sockets the daemon holds");
    };
    let inodes: Vec<String> = descriptors
        .iter()
        .filter_map(|fd| std::fs::read_link(host.path(&format!("/proc/{pid}/fd/{fd}"))).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let mut ports = Vec::new();
    for table in ["tcp", "tcp6"] {
        let text = host.read(&format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let cells: Vec<_> = line.split_whitespace().collect();
            // Listening is state 0A (proc(5)); the inode is the tenth cell.
            if let (Some(&"0A"), Some(inode), Some(local)) = (cells.get(3), cells.get(9), cells.get(1))
                && inodes.iter().any(|own| own == inode)
                && let Some(port) = local.rsplit(':').next().and_then(|port| u32::from_str_radix(port, 16).ok())
            {
                ports.push(port);
            }
        }
    }
    let strange: Vec<_> =
        ports.iter().filter(|port| !known.iter().any(|address| address.ends_with(&format!(":{port}")))).collect();
    if strange.is_empty() {
        return Finding::ok("exposure", format!("it holds {} sockets of the network that listen", ports.len()));
    }
    let text = format!("the daemon listens on ports that it does not tell of: {strange:?}");
    Finding::error("exposure", Code::Failed, text, "sudo systemctl restart assistantd.socket assistantd.service")
}
