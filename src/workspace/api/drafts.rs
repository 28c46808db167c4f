//! Drafts: what an editor keeps of a text before it is saved, so that a closed tab loses nothing. Files of the workspace
//! like others, below `.cache/docs`, by the time and the path that they are of.

use assistant_api::{
    ErrorKind, Role,
    workspace::{Draft, DraftReply, DraftsDeleted, Entry, LatestDraft, NewDraft},
};
use axum::http::Method;
use schemars::JsonSchema;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{missing_is_invalid, person};
use crate::{
    cx::Cx,
    error::{Error, Result},
    http::route::{BodyLimit, Json, Req, Route},
    root::{Mode, hex},
    workspace::{
        self,
        actor::Actor,
        change::{Change, perform},
        guard::Place,
    },
};

const HOME: &str = ".cache/docs";
/// Characters of a file's name that stay in the name of its drafts.
const MAX_STEM: usize = 140;
/// Drafts of one file that are kept.
const KEEP: usize = 20;
/// Files that are looked at for them.
const MAX_LOOK: usize = 50_000;
/// Bytes of a request with a text in it.
const CONTENT_BYTES: usize = 32 << 20;

const READ: &[ErrorKind] = &[ErrorKind::Invalid, ErrorKind::Unavailable];
const CHANGE: &[ErrorKind] = &[ErrorKind::Invalid, ErrorKind::Conflict, ErrorKind::TooLarge, ErrorKind::Unavailable];

pub(super) fn routes() -> Vec<Route> {
    let all = "/api/workspace/drafts";
    vec![
        Route::new(Method::POST, all, Role::Operator, "Keeps a draft of a file.", save)
            .errors(CHANGE)
            .body(BodyLimit::Bytes(CONTENT_BYTES)),
        Route::new(Method::GET, "/api/workspace/drafts/latest", Role::Viewer, "The newest draft of a file.", latest)
            .errors(READ),
        Route::new(Method::DELETE, all, Role::Operator, "Deletes all drafts of a file for good.", forget)
            .errors(CHANGE),
    ]
}

#[derive(Deserialize, JsonSchema)]
struct PathQuery {
    /// The file that they are of.
    path: String,
}

/// What the names of a file's drafts end with: enough of its name to be recognised, and its path.
fn ending(cx: &Cx, path: &str) -> Result<String> {
    let path = Place::of(cx)?.root.rel(path)?;
    let name = path.name().ok_or_else(|| Error::invalid("the workspace itself has no drafts").field("path"))?;
    let (stem, extension) = match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() && extension.len() <= 16 => (stem, format!(".{extension}")),
        _ => (name, String::new()),
    };
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
    let stem: String = stem.chars().take(MAX_STEM).map(plain).collect();
    let extension: String = extension.chars().map(plain).collect();
    let hash = hex(&Sha256::digest(path.as_str()));
    Ok(format!("-{stem}-{}{extension}", &hash[..12]))
}

/// The drafts of a file, oldest first.
async fn all(cx: &Cx, path: &str) -> Result<Vec<Entry>> {
    let ending = ending(cx, path)?;
    let found = match workspace::list(cx, None, HOME.into(), false, MAX_LOOK).await {
        Ok(tree) => tree.entries,
        Err(err) if err.kind() == ErrorKind::NotFound => Vec::new(),
        Err(err) => return Err(err),
    };
    let mut found: Vec<_> = found.into_iter().filter(|entry| !entry.is_dir && entry.name.ends_with(&ending)).collect();
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

async fn save(req: Req<(), (), Json<NewDraft>>) -> Result<Json<DraftReply>> {
    let (cx, Json(body)) = (&req.cx, req.body);
    let actor = person(&req.peer, "file_write", &body);
    let name = format!("{HOME}/{}{}", cx.clock.now().strftime("%Y%m%dT%H%M%S%6fZ"), ending(cx, &body.path)?);
    let draft = workspace::write(cx, &actor, name, body.content.into(), Mode::CreateOnly).await;
    let draft = draft.map_err(missing_is_invalid)?;
    let mut old = all(cx, &body.path).await?;
    old.truncate(old.len().saturating_sub(KEEP));
    for entry in old {
        purge(cx, &actor, entry.relative_path).await?;
    }
    Ok(Json(DraftReply { draft }))
}

async fn latest(req: Req<(), PathQuery>) -> Result<Json<LatestDraft>> {
    let cx = &req.cx;
    let Some(entry) = all(cx, &req.query.path).await?.pop() else { return Ok(Json(LatestDraft { draft: None })) };
    let Some((file, meta, _)) = workspace::open_file(cx, None, entry.relative_path.clone()).await? else {
        return Ok(Json(LatestDraft { draft: None }));
    };
    let read = move || {
        let mut content = String::new();
        std::io::Read::read_to_string(&mut std::io::Read::take(file, meta.size), &mut content).map(|_| content)
    };
    let content = tokio::task::spawn_blocking(read).await.map_err(Error::internal)?;
    let content = content.map_err(|err| Error::unavailable("the draft cannot be read").source(err))?;
    Ok(Json(LatestDraft { draft: Some(Draft { entry, content }) }))
}

async fn forget(req: Req<(), PathQuery>) -> Result<Json<DraftsDeleted>> {
    let actor = person(&req.peer, "file_delete", &req.query.path);
    let mut deleted = 0;
    for entry in all(&req.cx, &req.query.path).await? {
        purge(&req.cx, &actor, entry.relative_path).await?;
        deleted += 1;
    }
    Ok(Json(DraftsDeleted { deleted }))
}

/// For good: what was only ever a draft is not worth a place in the trash.
async fn purge(cx: &Cx, actor: &Actor, path: String) -> Result<()> {
    let place = Place::of(cx)?;
    let spot = place.run(move |place| place.root.locate(&place.root.rel(&path)?)).await?;
    if spot.meta.is_none() {
        return Ok(()); // somebody else was quicker
    }
    let guards = place.root.lock(&[&spot.path]).await;
    let change = Change::Purge { path: spot.path.to_string(), is_dir: false };
    perform(cx, actor, change, guards, move |place| place.root.remove(&place.same(&spot)?)).await
}
