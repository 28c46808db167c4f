//! Files as a browser may show them: images and PDF files, by their content and not by their name. Everything else is
//! only ever downloaded; nothing that can hold a script (HTML, SVG, XML) is among them.

use assistant_api::{ErrorKind, Role};
use axum::http::{HeaderValue, Method, header};

use super::{PathQuery, attachment, percent, tag};
use crate::{
    error::{Error, Result},
    http::route::{Raw, Req, Route},
    workspace,
};

/// What a kind of file begins with, and its type.
const KINDS: &[(&[u8], usize, &str)] = &[
    (b"\x89PNG\r\n\x1a\n", 0, "image/png"),
    (b"\xff\xd8\xff", 0, "image/jpeg"),
    (b"GIF87a", 0, "image/gif"),
    (b"GIF89a", 0, "image/gif"),
    (b"WEBPVP8", 8, "image/webp"),
    (b"ftypavif", 4, "image/avif"),
    (b"BM", 0, "image/bmp"),
    (b"%PDF-", 0, PDF),
];
const PDF: &str = "application/pdf";
/// Bytes that tell one from the other.
const BEGINNING: u64 = 16;

/// An image opened by itself is a document: it may do nothing, and is of no origin.
const IMAGE_POLICY: &str = "sandbox; default-src 'none'; frame-ancestors 'self'";
/// Browsers show no PDF file in a sandbox. Their viewers are apart from the page, and run nothing in its name.
const PDF_POLICY: &str = "frame-ancestors 'self'; base-uri 'none'; form-action 'none'";

const ERRORS: &[ErrorKind] = &[
    ErrorKind::Invalid,
    ErrorKind::NotFound,
    ErrorKind::Forbidden,
    ErrorKind::UnsupportedMedia,
    ErrorKind::Unavailable,
];

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(
            Method::GET,
            "/api/workspace/view",
            Role::Viewer,
            "An image or a PDF file, for a browser to show.",
            view,
        )
        .errors(ERRORS)
        .stream(),
    ]
}

fn kind(beginning: &[u8]) -> Option<&'static str> {
    let is = |(mark, at, _): &&(&[u8], usize, &str)| beginning.get(*at..).is_some_and(|rest| rest.starts_with(mark));
    KINDS.iter().find(is).map(|(_, _, kind)| *kind)
}

async fn view(req: Req<(), PathQuery>) -> Result<Raw> {
    let path = req.query.path;
    let Some((mut file, meta, name)) = workspace::open_file(&req.cx, None, path.clone()).await? else {
        return Err(Error::invalid(format!("{path} is a directory")).field("path"));
    };
    let looked = tokio::task::spawn_blocking(move || -> std::io::Result<_> {
        use std::io::{Read as _, Seek as _};
        let mut beginning = Vec::new();
        file.by_ref().take(BEGINNING).read_to_end(&mut beginning)?;
        file.rewind()?;
        Ok((file, beginning))
    });
    let looked = looked.await.map_err(Error::internal)?;
    let (file, beginning) = looked.map_err(|err| Error::unavailable("the file cannot be read").source(err))?;
    let kind = kind(&beginning).ok_or_else(|| {
        Error::new(ErrorKind::UnsupportedMedia, format!("{path} is neither an image nor a PDF file"))
            .hint("download it instead")
    })?;
    let mut response = attachment(file, meta.size, &name, kind)?;
    let headers = response.headers_mut();
    let inline = format!("inline; filename*=UTF-8''{}", percent(&name));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::try_from(inline).map_err(Error::internal)?);
    let (policy, frame) = if kind == PDF { (PDF_POLICY, "SAMEORIGIN") } else { (IMAGE_POLICY, "DENY") };
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_FRAME_OPTIONS, frame),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "private, no-cache"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    headers.insert(header::ETAG, tag(&meta.mtime_ns.to_string(), meta.size).header());
    Ok(Raw(response))
}

#[cfg(test)]
mod tests {
    use super::kind;

    #[test]
    fn the_content_says_what_a_file_is() {
        for (beginning, wanted) in [
            (&b"\x89PNG\r\n\x1a\n0000"[..], Some("image/png")),
            (b"\xff\xd8\xff\xe0", Some("image/jpeg")),
            (b"GIF89a", Some("image/gif")),
            (b"RIFF\0\0\0\0WEBPVP8 ", Some("image/webp")),
            (b"\0\0\0\x20ftypavif", Some("image/avif")),
            (b"%PDF-1.7", Some("application/pdf")),
            (b"<!doctype html>", None),
            (b"<svg xmlns=", None),
            (b"<?xml version", None),
            (b" %PDF-1.7", None),
            (b"RIFF\0\0\0\0WAVE", None),
            (b"", None),
        ] {
            assert_eq!(kind(beginning), wanted, "{beginning:?}");
        }
    }
}
