//! A document of the workspace becomes a file of another kind, beside it or where it is asked for.

use std::{fs::File, os::unix::fs::FileExt as _};

use assistant_api::{
    JobId,
    workspace::{Conversion, ConvertReply, ConvertRequest},
};

use super::{Actor, Upload, origins};
use crate::{
    convert::{self, Format},
    cx::Cx,
    error::{Error, ErrorKind, Result},
    root::{Mode, RelPath},
};

/// Bytes that are taken over at once.
const BLOCK: usize = 256 << 10;
/// Names beside the source that are tried.
const MAX_TRIES: u32 = 1000;

/// Makes it. The source is kept, unless it is to be deleted; then it lies in the trash.
///
/// # Errors
/// `not_found`, `invalid` with the reason why it cannot be converted, `too_large`, `conflict` when there is something at
/// the destination, `unavailable` when a program for it is missing.
pub async fn convert(cx: &Cx, job: Option<JobId>, actor: &Actor, asked: ConvertRequest) -> Result<ConvertReply> {
    let format: Format = asked.output_format.parse()?;
    let opened = super::open_file(cx, job, asked.path.clone()).await?;
    let Some((file, meta, name)) = opened else {
        return Err(Error::invalid(format!("{} is a directory", asked.path)).field("path"));
    };
    let most = cx.config.load().workspace.max_conversion_bytes.0;
    if meta.size > most {
        return Err(Error::too_large(format!("{name} is larger than {most} bytes"))
            .field("path")
            .hint("the limit is workspace.max_conversion_bytes"));
    }
    let root = cx.root()?;
    let (source, lexical) = (root.rel(&asked.path)?, asked.path.clone());
    let real = tokio::task::spawn_blocking(move || root.real_path(&root.rel(&lexical)?));
    let real = real.await.map_err(Error::internal)??;
    // What comes of it is trusted no more than it is.
    let origin = actor.origin.least(origins::of(cx, real.as_str()).await?);
    let actor = Actor { origin, ..actor.clone() };
    let extension = extension(cx, &name)?;
    let made = convert::convert(cx, file, &extension, format).await.map_err(|err| match err.field_name() {
        None => err.field("path"),
        Some(_) => err,
    })?;
    let file = place(cx, &actor, &source, format, asked.destination_path, made.file).await?;
    let deleted_original = if asked.delete_original {
        // An effect of its own, which no call is asked for again.
        let actor = Actor { tool: "file_delete".to_owned(), call_key: None, ..actor };
        super::delete(cx, &actor, asked.path).await?;
        true
    } else {
        false
    };
    let conversion = Conversion {
        source_path: source.to_string(),
        output_path: file.relative_path.clone(),
        output_format: format.as_str().to_owned(),
        engine: made.engine.to_owned(),
    };
    Ok(ConvertReply { file, conversion, deleted_original })
}

/// The end of a name, if files of that kind may be documents; anything else has to be text.
fn extension(cx: &Cx, name: &str) -> Result<String> {
    let Some((_, extension)) = name.rsplit_once('.') else { return Ok("txt".to_owned()) };
    let (config, extension) = (cx.config.load(), extension.to_ascii_lowercase());
    let listed = &config.workspace.convertible_document_extensions;
    let is_listed = listed.iter().any(|listed| listed.trim_start_matches('.').eq_ignore_ascii_case(&extension));
    let is_document = crate::workspace::config::DOCUMENTS.iter().any(|document| document[1..] == extension);
    if is_document && !is_listed {
        return Err(Error::invalid(format!("files that end in .{extension} are not converted"))
            .field("path")
            .hint("add it to workspace.convertible_document_extensions"));
    }
    Ok(extension)
}

async fn place(
    cx: &Cx,
    actor: &Actor,
    source: &RelPath,
    format: Format,
    wanted: Option<String>,
    made: File,
) -> Result<assistant_api::workspace::Entry> {
    let is_given = wanted.is_some();
    let stem = source.as_str().rsplit_once('/').map_or(source.as_str(), |(_, name)| name);
    let stem = stem.rsplit_once('.').map_or(stem, |(stem, _)| stem).to_owned();
    let beside = |at: u32| {
        let number = if at == 0 { String::new() } else { format!("-{at}") };
        let name = format!("{stem}{number}.{}", format.extension());
        source.parent().filter(|above| !above.is_root()).map_or(name.clone(), |above| format!("{above}/{name}"))
    };
    let mut tries = 0;
    loop {
        let path = wanted.clone().unwrap_or_else(|| beside(tries));
        match put_file(cx, actor, path, &made, Mode::CreateOnly).await {
            Err(err) if is_taken(&err) && !is_given && tries < MAX_TRIES => tries += 1,
            Err(err) if is_taken(&err) => return Err(err.field("destination_path")),
            outcome => return outcome,
        }
    }
}

fn is_taken(err: &Error) -> bool {
    matches!(err.kind(), ErrorKind::Conflict | ErrorKind::PreconditionFailed)
}

/// Writes what is in a file, from its beginning.
///
/// # Errors
/// As [`Upload::begin`] and [`Upload::finish`].
pub async fn put_file(
    cx: &Cx,
    actor: &Actor,
    path: String,
    content: &File,
    mode: Mode,
) -> Result<assistant_api::workspace::Entry> {
    let size = content.metadata().map_err(Error::internal)?.len();
    let mut upload = Upload::begin(cx, actor.clone(), path, mode, Some(size)).await?;
    let mut file = content.try_clone().map_err(Error::internal)?;
    let mut at = 0;
    loop {
        let read = tokio::task::spawn_blocking(move || -> std::io::Result<_> {
            let mut block = vec![0; BLOCK];
            let length = file.read_at(&mut block, at)?;
            block.truncate(length);
            Ok((file, block))
        });
        let (back, block) = read.await.map_err(Error::internal)?.map_err(Error::internal)?;
        if block.is_empty() {
            return upload.finish().await;
        }
        upload.push(&block).await?;
        (file, at) = (back, at + block.len() as u64);
    }
}
