use std::{
    env,
    fs::Permissions,
    io::{self, Write as _},
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use assistant_api::login::LoginLink;
use serde_json::json;
use tempfile::NamedTempFile;
use tokio::{
    io::{AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream, UnixStream},
    sync::Semaphore,
    task::JoinSet,
};

use crate::{
    Cx,
    exit::{Code, Failure, Result},
};

/// Connections that are forwarded at the same time. A browser needs six; who else finds the port must not use up those
/// that the daemon has.
const MOST: usize = 64;

/// Open the dashboard in the browser
///
/// Forwards a port of 127.0.0.1 to the daemon's socket for as long as it runs,
/// and prints a link that logs one browser in, once, within five minutes.
/// Nothing listens on the network. Other users of this host who find the port
/// have to log in. It takes the role admin.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assistantctl dashboard
  assistantctl dashboard --port 8000 --no-open")]
pub struct Args {
    /// The port; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    port: u16,
    /// Only print the link
    #[arg(long)]
    no_open: bool,
}

pub async fn run(args: Args, cx: &Cx) -> Result {
    let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, args.port));
    let failed = |err: io::Error| {
        Failure::new(Code::Failed, format!("listening on {wanted}: {err}")).hint("give another --port, or none")
    };
    let listener = TcpListener::bind(wanted).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let made: LoginLink = cx.client.request("POST", "/api/login/links").fetch().await?;
    let link = format!("http://{address}/login#once={}", made.token);
    if cx.out.json {
        cx.out.json_line(&json!({ "link": link, "address": address, "expires_at": made.expires_at }))?;
    } else {
        cx.out.line(&link)?;
        cx.out.note("good once, within five minutes; Ctrl-C ends the dashboard");
    }
    // Kept until the end: the browser may take its time to read it.
    let _page = if args.no_open { None } else { open(&link) };
    let mut interrupt = cx.interrupts.expect()?;
    tokio::select! {
        () = interrupt.pressed() => Ok(Code::Ok),
        err = forward(listener, address, &cx.socket) => Err(failed(err)),
    }
}

/// Forwards every connection until that fails for good.
async fn forward(listener: TcpListener, address: SocketAddr, socket: &Path) -> io::Error {
    let places = Arc::new(Semaphore::new(MOST));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return io::ErrorKind::Other.into() };
        let (browser, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(err) if err.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(err) => return err,
        };
        let socket = socket.to_owned();
        connections.spawn(async move {
            let _place = place;
            // What breaks here, the browser sees.
            _ = one(browser, from, address, &socket).await;
        });
    }
}

async fn one(mut browser: TcpStream, from: SocketAddr, address: SocketAddr, socket: &Path) -> io::Result<()> {
    browser.set_nodelay(true)?;
    let mut daemon = UnixStream::connect(socket).await?;
    // The kernel tells the daemon who this process is, which is not who speaks: before the first byte of a request it
    // has to know that, so that nobody who finds the port gets the role of whoever started this.
    daemon.write_all(&header(from, address)).await?;
    copy_bidirectional(&mut browser, &mut daemon).await?;
    Ok(())
}

/// The header of the PROXY protocol, version 2: TCP over IPv4, from and to these addresses.
fn header(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    for address in [from, to] {
        let octets = if let SocketAddr::V4(v4) = address { v4.ip().octets() } else { [127, 0, 0, 1] };
        header.extend(octets);
    }
    header.extend(from.port().to_be_bytes());
    header.extend(to.port().to_be_bytes());
    header
}

/// Opens the link where there is a screen and a program for it. Arguments of programs can be read by every user of the
/// host, so the browser gets a page that only this user can read, and which leads to the link.
fn open(link: &str) -> Option<NamedTempFile> {
    let screen = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| env::var_os(name).is_some());
    let program =
        env::split_paths(&env::var_os("PATH")?).map(|dir| dir.join("xdg-open")).find(|file| file.is_file())?;
    // A browser of root's is no place for anybody.
    if !screen || nix::unistd::geteuid().is_root() {
        return None;
    }
    let page = page(link).ok()?;
    let mut command = Command::new(program);
    command.arg(page.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    std::thread::spawn(move || child.wait());
    Some(page)
}

fn page(link: &str) -> io::Result<NamedTempFile> {
    let dir = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_absolute() && dir.is_dir());
    let mut page = tempfile::Builder::new()
        .prefix("assistant-")
        .suffix(".html")
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(dir.unwrap_or_else(env::temp_dir))?;
    write!(page, "<!doctype html><title>Assistant</title><meta http-equiv=refresh content=\"0;url={link}\">")?;
    page.flush()?;
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_says_where_the_connection_was_accepted() {
        let sent = header("127.0.0.1:50000".parse().unwrap(), "127.0.0.1:8000".parse().unwrap());
        assert_eq!(sent, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\xc3\x50\x1f\x40");
    }

    #[test]
    fn the_page_with_the_link_is_for_its_owner_alone() {
        let page = page("http://127.0.0.1:8000/login#once=abc").unwrap();
        assert_eq!(page.as_file().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(std::fs::read_to_string(page.path()).unwrap().contains("url=http://127.0.0.1:8000/login#once=abc\""));
    }
}
