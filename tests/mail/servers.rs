//! A real mail server for one test: Dovecot and Exim, on ports of their own, gone with the value that holds them.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead as _, BufReader},
    net::UdpSocket,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
};

use lettre::{
    Address, SmtpTransport, Transport as _,
    address::Envelope,
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, Tls, TlsParameters},
    },
};

use crate::support::skip;

/// Dovecot and Exim.
pub(crate) struct MailServers {
    dir: tempfile::TempDir,
    env: HashMap<String, String>,
    dns: String,
    child: Child,
    /// They end when this does.
    stdin: Option<ChildStdin>,
}

/// The mailbox of the assistant.
pub(crate) const USER: &str = "assistant@example.test";
/// Another mailbox of the same server: that of its person.
pub(crate) const OWNER: &str = "owner@example.test";
/// Of both.
pub(crate) const PASSWORD: &str = "secret-for-tests";

impl MailServers {
    /// Starts them; `None`, with the reason told, where that cannot be.
    pub(crate) fn start() -> Option<Self> {
        Self::start_at("127.0.0.1")
    }

    /// At another address of loopback: at 127.0.0.2 Dovecot lets nobody log in without TLS.
    pub(crate) fn start_at(bind: &str) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            skip("mail servers: only root can start Exim with a configuration of one's own");
            return None;
        }
        let there = |name: &str| ["/usr/sbin", "/usr/bin"].iter().any(|dir| Path::new(dir).join(name).exists());
        if let Some(missing) = ["dovecot", "exim4", "openssl"].into_iter().find(|name| !there(name)) {
            skip(&format!("mail servers: {missing} is not installed"));
            return None;
        }
        let dir = tempfile::Builder::new().prefix("assistant-mail-").tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mail/servers.sh");
        let mut child = Command::new("bash")
            .arg(script)
            .arg(dir.path())
            .env("MAIL_BIND", bind)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said.trim(), "ready", "the mail servers do not start, see above");
        let text = fs::read_to_string(dir.path().join("env")).unwrap();
        let env = text.lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect();
        let stdin = child.stdin.take();
        Some(Self { dir, env, dns: Self::dns_server(), child, stdin })
    }

    fn get(&self, name: &str) -> &str {
        &self.env[name]
    }

    /// The certificate authority of their certificates.
    pub(crate) fn ca_file(&self) -> &str {
        self.get("MAIL_CA")
    }

    pub(crate) fn imaps_port(&self) -> u16 {
        self.get("IMAPS_PORT").parse().unwrap()
    }

    /// The port for STARTTLS.
    pub(crate) fn imap_port(&self) -> u16 {
        self.get("IMAP_PORT").parse().unwrap()
    }

    pub(crate) fn smtps_port(&self) -> u16 {
        self.get("SMTPS_PORT").parse().unwrap()
    }

    /// The port for STARTTLS.
    pub(crate) fn smtp_port(&self) -> u16 {
        self.get("SMTP_PORT").parse().unwrap()
    }

    /// The keys of `[email]` for the assistant's mailbox, with TLS from the first byte; the table's name comes before.
    pub(crate) fn email_keys(&self) -> String {
        format!(
            "imap_host = \"{host}\"\nimap_port = {}\nimap_security = \"tls\"\nimap_username = \"{USER}\"\n\
             smtp_host = \"{host}\"\nsmtp_port = {}\nsmtp_security = \"tls\"\nsmtp_username = \"{USER}\"\n\
             smtp_from = \"{USER}\"\nca_file = \"{}\"\ntrusted_authserv_ids = [\"mail.example.test\"]\n",
            self.imaps_port(),
            self.smtps_port(),
            self.ca_file(),
            host = self.get("MAIL_HOST"),
        )
    }

    /// A name server that knows no name and says so at once: `mail.dns_server`.
    pub(crate) fn dns_server() -> String {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            let mut message = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut message) {
                // An answer, without an error but that there is none (RFC 1035, section 4.1.1); the question stays.
                (message[2], message[3]) = (0x81, 0x83);
                // No other records than the question.
                message[6..12].fill(0);
                let question =
                    message[12..length].iter().position(|byte| *byte == 0).map_or(length, |end| 12 + end + 5);
                let _ = socket.send_to(&message[..question.min(length)], from);
            }
        });
        address
    }

    /// The passwords, and a name server that knows nobody, as variables of the environment.
    pub(crate) fn variables(&self) -> [(&str, &str); 3] {
        [("IMAP_PASSWORD", PASSWORD), ("SMTP_PASSWORD", PASSWORD), ("ASSISTANT_MAIL_DNS_SERVER", &self.dns)]
    }

    /// Hands a message to Exim, as somebody else's mail program does. Headers are the message's own.
    pub(crate) fn send(&self, from: &str, to: &[&str], message: &str) {
        let certificate = Certificate::from_pem(&fs::read(self.ca_file()).unwrap()).unwrap();
        let host = self.get("MAIL_HOST").to_owned();
        let tls = TlsParameters::builder(host.clone()).add_root_certificate(certificate).build().unwrap();
        let transport = SmtpTransport::builder_dangerous(host)
            .port(self.smtps_port())
            .tls(Tls::Wrapper(tls))
            .credentials(Credentials::new(USER.into(), PASSWORD.into()))
            .build();
        let address = |text: &str| text.parse::<Address>().unwrap();
        let envelope = Envelope::new(Some(address(from)), to.iter().map(|to| address(to)).collect()).unwrap();
        let lines: Vec<&str> = message.lines().collect();
        transport.send_raw(&envelope, format!("{}\r\n", lines.join("\r\n")).as_bytes()).unwrap();
    }

    /// Puts a message into the assistant's inbox without a server between; many are quicker so.
    pub(crate) fn deliver(&self, name: &str, message: &[u8]) {
        self.lay(USER, "INBOX", name, message);
    }

    /// Puts a message into a folder, which is made if it is missing.
    pub(crate) fn lay(&self, user: &str, folder: &str, name: &str, message: &[u8]) {
        let maildir = self.maildir(user, folder);
        let mail = nix::unistd::User::from_name("mail").unwrap().unwrap();
        let (uid, gid) = (Some(mail.uid.as_raw()), Some(mail.gid.as_raw()));
        if !maildir.is_dir() {
            let home = maildir.parent().unwrap();
            for dir in [home, &maildir, &maildir.join("tmp"), &maildir.join("new"), &maildir.join("cur")] {
                fs::create_dir_all(dir).unwrap();
                chown(dir, uid, gid).unwrap();
            }
        }
        let file = maildir.join("tmp").join(name);
        fs::write(&file, message).unwrap();
        chown(&file, uid, gid).unwrap();
        fs::rename(&file, maildir.join("new").join(name)).unwrap();
    }

    /// The messages in a folder of a user.
    pub(crate) fn messages(&self, user: &str, folder: &str) -> Vec<String> {
        let maildir = self.maildir(user, folder);
        read_all(&[maildir.join("new"), maildir.join("cur")])
    }

    fn maildir(&self, user: &str, folder: &str) -> PathBuf {
        let maildir = self.dir.path().join("mail").join(user).join("Maildir");
        if folder == "INBOX" { maildir } else { maildir.join(format!(".{}", folder.replace('/', "."))) }
    }
}

fn read_all(dirs: &[PathBuf]) -> Vec<String> {
    let mut files: Vec<PathBuf> = dirs
        .iter()
        .filter_map(|dir| fs::read_dir(dir).ok())
        .flat_map(|entries| entries.map(|entry| entry.unwrap().path()))
        .collect();
    files.sort();
    // Dovecot renames them when it looks at them.
    let texts = files.iter().filter_map(|file| fs::read(file).ok());
    texts.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect()
}

impl Drop for MailServers {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}
