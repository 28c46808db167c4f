//! One attachment or link, from the message to the file in the workspace.

use std::{fs::File, os::unix::fs::FileExt as _, path::Path};

use assistant_sandbox::protocol::Level;
use sha2::{Digest as _, Sha256};

use super::{
    clamd::{self, Verdict},
    store::{self, Markdown, Outcome, Pending},
};
use crate::{
    convert::{self, Format},
    crashpoint::{self, Point},
    cx::Cx,
    error::{Error, ErrorKind, Result},
    mail::folder,
    policy::Origin,
    root::{Mode, hex},
    workspace::{self, Actor},
};

const BLOCK: usize = 256 << 10;

/// Makes it, and writes down what became of it.
///
/// # Errors
/// What may go another time: the database, the reader's program, the workspace. What cannot be read is an outcome.
pub(super) async fn take(cx: &Cx, row: Pending) -> Result<()> {
    let outcome = match &row.uri {
        Some(uri) => link(cx, &row, uri).await?,
        None => attachment(cx, &row).await?,
    };
    let now = cx.clock.now();
    tracing::info!(
        artifact_id = row.id,
        email_id = row.email_id,
        scan = outcome.scan,
        conversion = outcome.conversion,
        "an attachment was looked at"
    );
    crashpoint::hit(Point::ArtifactPlaced);
    cx.store.write(move |tx| store::settle(tx, now, &row, &outcome)).await?;
    crashpoint::hit(Point::ArtifactSettled);
    cx.wake.announce();
    cx.wake.jobs.notify_one();
    Ok(())
}

/// What is said in a video, where commands of jobs could fetch it too.
async fn link(cx: &Cx, row: &Pending, uri: &str) -> Result<Outcome> {
    let outcome = |conversion, error| Outcome { scan: "not_applicable", conversion, error, ..Outcome::default() };
    let reaches = {
        let sandbox = &cx.config.load().sandbox;
        sandbox.enabled && sandbox.level.0 == Level::WorkNet
    };
    if !reaches {
        return Ok(outcome("skipped", Some("the sandbox reaches no network (sandbox.level)".to_owned())));
    }
    match convert::transcript(cx, uri).await {
        Ok(made) => Ok(Outcome { markdown: Some(place(cx, row, &made.file).await?), ..outcome("ready", None) }),
        Err(err) if err.kind() == ErrorKind::Unavailable => Ok(outcome("skipped", Some(explained(&err)))),
        Err(err) => Ok(outcome("failed", Some(explained(&err)))),
    }
}

/// The reason and the way out.
fn explained(err: &Error) -> String {
    let hint = err.hint_text().map(|hint| format!("; {hint}")).unwrap_or_default();
    format!("{}{hint}", err.message())
}

async fn attachment(cx: &Cx, row: &Pending) -> Result<Outcome> {
    let config = cx.config.load_full();
    let failed =
        |error: String| Outcome { scan: "skipped", conversion: "failed", error: Some(error), ..Outcome::default() };
    let (Some(raw_name), Some(part)) = (&row.raw_name, row.part) else {
        return Ok(failed("the mail is no longer there".to_owned()));
    };
    let Ok(message) = File::open(folder(&cx.state_dir).join(raw_name)) else {
        return Ok(failed("the mail is no longer there".to_owned()));
    };
    let raw = match convert::extract(cx, message, part, config.artifacts.max_attachment_bytes.0).await {
        Ok(raw) => raw,
        Err(err) if err.kind() == ErrorKind::Invalid => return Ok(failed(err.message().to_owned())),
        Err(err) => return Err(err),
    };
    let (sha256, size) = digest(&raw).await?;
    let outcome = Outcome { raw_sha256: Some(sha256), raw_size: Some(size), ..scanned(cx, &raw).await };
    if outcome.conversion != "pending" {
        return Ok(outcome);
    }
    let extension = Path::new(&row.label).extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let allowed = &config.artifacts.allowed_attachment_extensions;
    if !allowed.iter().any(|one| one.trim_start_matches('.').eq_ignore_ascii_case(extension)) {
        let error = match extension {
            "" => "its name has no ending that says what it is".to_owned(),
            _ => format!("files that end in .{extension} are not converted (artifacts.allowed_attachment_extensions)"),
        };
        return Ok(Outcome { conversion: "unsupported", error: Some(error), ..outcome });
    }
    match convert::convert(cx, raw, extension, Format::Markdown).await {
        Ok(made) => {
            crashpoint::hit(Point::ArtifactMade);
            Ok(Outcome { conversion: "ready", markdown: Some(place(cx, row, &made.file).await?), ..outcome })
        }
        Err(err) if err.kind() == ErrorKind::TooLarge => {
            Ok(Outcome { conversion: "skipped", error: Some(err.message().to_owned()), ..outcome })
        }
        Err(err) => {
            tracing::warn!(artifact_id = row.id, error = err.chain(), "an attachment was not converted");
            Ok(Outcome { conversion: "failed", error: Some(explained(&err)), ..outcome })
        }
    }
}

/// What the scanner says, with `pending` where the attachment may be converted.
async fn scanned(cx: &Cx, raw: &File) -> Outcome {
    let config = cx.config.load_full();
    let clamav = &config.clamav;
    if !clamav.enabled {
        return Outcome { scan: "skipped", conversion: "pending", ..Outcome::default() };
    }
    match clamd::scan(clamav, raw).await {
        Verdict::Clean => Outcome { scan: "clean", conversion: "pending", ..Outcome::default() },
        Verdict::Infected(found) => Outcome {
            scan: "infected",
            conversion: "skipped",
            error: Some(format!("a virus was found: {found}")),
            scan_result: Some(found),
            ..Outcome::default()
        },
        Verdict::Unknown(why) => {
            let required = clamav.required;
            tracing::warn!(reason = why, required, "an attachment could not be scanned");
            Outcome {
                scan: "error",
                conversion: if required { "skipped" } else { "pending" },
                error: required
                    .then(|| format!("it was not scanned, and has to be (artifacts.clamav.required): {why}")),
                scan_result: Some(why),
                ..Outcome::default()
            }
        }
    }
}

/// Puts it into the workspace. After a crash that came between this and the writing down, it is there already.
async fn place(cx: &Cx, row: &Pending, made: &File) -> Result<Markdown> {
    let (sha256, size) = digest(made).await?;
    let number = if row.number == 0 { String::new() } else { format!("-{}", row.number) };
    let root = cx.config.load().artifacts.processed_root.trim_end_matches('/').to_owned();
    let path = format!("{root}/email/{}/{}{number}.md", row.email_id, row.stem());
    if !is_there(cx, path.clone(), &sha256).await? {
        let actor = Actor::daemon("file_convert", &("artifact", row.id), Origin::Attachment);
        workspace::put_file(cx, &actor, path.clone(), made, Mode::Replace).await?;
    }
    Ok(Markdown { path, sha256, size })
}

async fn is_there(cx: &Cx, path: String, sha256: &str) -> Result<bool> {
    let root = cx.root()?;
    let found = tokio::task::spawn_blocking(move || match root.locate(&root.rel(&path)?) {
        Ok(spot) if spot.meta.is_some_and(|meta| !meta.is_dir()) => spot.sha256().map(Some),
        Ok(_) => Ok(None),
        Err(err) if err.kind() == ErrorKind::NotFound => Ok(None),
        Err(err) => Err(err),
    });
    Ok(found.await.map_err(Error::internal)??.as_deref() == Some(sha256))
}

/// SHA-256 and size of a file.
async fn digest(file: &File) -> Result<(String, u64)> {
    let file = file.try_clone().map_err(Error::internal)?;
    let digest = tokio::task::spawn_blocking(move || -> std::io::Result<_> {
        let (mut hash, mut block, mut at) = (Sha256::new(), vec![0; BLOCK], 0);
        loop {
            match file.read_at(&mut block, at)? {
                0 => return Ok((hex(&hash.finalize()), at)),
                length => {
                    hash.update(&block[..length]);
                    at += length as u64;
                }
            }
        }
    });
    digest.await.map_err(Error::internal)?.map_err(Error::internal)
}
