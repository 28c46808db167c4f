use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use assistant_api::client::{Chunks, read};
use serde_json::{Value, json};

use crate::{
    Cx,
    exit::{Code, Failure, Result},
    output::print,
    text,
};

/// Ask the API for anything
///
/// Prints the answer's body as it is, a stream as it comes, and exits as any
/// other command would.
/// The paths are in docs/api.md; a path with spaces has to be encoded.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assistantctl query GET /api/jobs?limit=5
  assistantctl query POST /api/jobs --data '{\"subject\":\"x\",\"body\":\"y\"}'
  assistantctl query POST /api/jobs --data @job.json")]
pub struct Args {
    /// GET, POST, PUT, PATCH or DELETE
    method: String,
    /// The path with its query, such as /api/jobs?limit=5
    path: String,
    /// JSON to send; @FILE reads a file, - the standard input
    #[arg(short, long, value_name = "JSON")]
    data: Option<String>,
}

pub async fn run(args: Args, cx: &Cx) -> Result {
    let mut request = cx.client.request(&args.method.to_uppercase(), args.path);
    if let Some(data) = &args.data {
        request = request.json(&body(data)?);
    }
    let answer = request.open().await?;
    let status = answer.status().as_u16();
    let kind = answer.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.starts_with("text/event-stream") {
        return stream(cx, status, answer.into_body().into()).await;
    }
    let body = read(answer.into_body()).await?;
    let json: Option<Value> = serde_json::from_slice(&body).ok();
    if cx.out.json {
        let text = || Value::from(String::from_utf8_lossy(&body).into_owned());
        cx.out.json(&json!({ "status": status, "body": json.unwrap_or_else(text) }))?;
    } else if !cx.out.terminal {
        print(&body)?;
        if !body.is_empty() && !body.ends_with(b"\n") {
            print(b"\n")?;
        }
    } else if let Some(json) = json {
        let pretty = serde_json::to_string_pretty(&json).unwrap_or_default();
        cx.out.text(&pretty)?;
    } else if !body.is_empty() {
        cx.out.text(&text::clean(&String::from_utf8_lossy(&body)))?;
    }
    Ok(Code::Ok)
}

/// Prints what may never end, as it comes: to pipes as it is, else by the line.
async fn stream(cx: &Cx, status: u16, mut chunks: Chunks) -> Result {
    let mut left = Vec::new();
    while let Some(chunk) = chunks.next().await? {
        if !cx.out.json && !cx.out.terminal {
            print(&chunk)?;
            continue;
        }
        left.extend_from_slice(&chunk);
        let Some(end) = left.iter().rposition(|byte| *byte == b'\n') else { continue };
        let lines: Vec<u8> = left.drain(..=end).collect();
        let lines = String::from_utf8_lossy(&lines);
        if cx.out.json {
            cx.out.json_line(&json!({ "status": status, "body": lines }))?;
        } else {
            print(text::clean(&lines).as_bytes())?;
        }
    }
    Ok(Code::Ok)
}

fn body(data: &str) -> Result<Value> {
    let mut text = data.to_owned();
    let file = data.strip_prefix('@').map(PathBuf::from);
    if data == "-" || file.is_some() {
        text.clear();
        let path = file.as_deref().unwrap_or(Path::new("-"));
        let read = match &file {
            Some(file) => std::fs::File::open(file).and_then(|mut file| file.read_to_string(&mut text)),
            None => std::io::stdin().lock().read_to_string(&mut text),
        };
        read.map_err(|err| Failure::file("reading", path, &err))?;
    }
    serde_json::from_str(&text).map_err(|err| Failure::usage(format!("--data is not JSON: {err}")))
}
