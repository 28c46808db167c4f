//! The body of a mail as HTML, by the confined program: the daemon itself holds no parser of Markdown.

use std::{
    io::{Seek as _, Write as _},
    process::Stdio,
    time::Duration,
};

use tokio::{io::AsyncReadExt as _, process::Command};

use crate::{
    cx::Cx,
    error::{Error, Result},
    sandbox,
};

const PROGRAM: &str = "assistant-mail";
const WITHIN: Duration = Duration::from_secs(10);
/// Bytes of HTML; Markdown does not grow much.
const MOST: u64 = 16 << 20;

/// Renders Markdown. `None`, with the reason in the journal, when that cannot be: the mail goes out as text.
pub(super) async fn html(cx: &Cx, markdown: &str) -> Option<String> {
    match tokio::time::timeout(WITHIN, run(cx, markdown.to_owned())).await {
        Ok(Ok(html)) => Some(html),
        Ok(Err(err)) => {
            tracing::warn!(error = err.chain(), "a mail goes out as text alone");
            None
        }
        Err(_) => {
            tracing::warn!("a mail goes out as text alone: making HTML of it took too long");
            None
        }
    }
}

async fn run(cx: &Cx, markdown: String) -> Result<String> {
    let config = cx.config.load_full();
    let program = sandbox::program_beside_runner(&config.sandbox, PROGRAM)?;
    let fail = |err: std::io::Error| Error::unavailable("Markdown cannot be rendered").source(err);
    let file = tokio::task::spawn_blocking(move || {
        let mut file = tempfile::tempfile()?;
        file.write_all(markdown.as_bytes())?;
        file.rewind()?;
        Ok::<_, std::io::Error>(file)
    });
    let file = file.await.map_err(Error::internal)?.map_err(fail)?;
    let mut child = Command::new(program)
        .args(["render", "--memory", &config.mail.parse_memory.0.to_string()])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(file))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(fail)?;
    let mut html = Vec::new();
    if let Some(out) = child.stdout.take() {
        out.take(MOST + 1).read_to_end(&mut html).await.map_err(fail)?;
    }
    if html.len() as u64 > MOST {
        return Err(Error::too_large("the HTML of a mail is too large"));
    }
    let status = child.wait().await.map_err(fail)?;
    if !status.success() {
        return Err(Error::unavailable(format!("Markdown cannot be rendered: {status}")));
    }
    String::from_utf8(html).map_err(Error::internal)
}
