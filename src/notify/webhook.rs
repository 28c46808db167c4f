//! Posts to the configured address.

use super::Failure;
use crate::{cx::Cx, llm};

/// Host and port of an address.
pub(super) fn host(url: &str) -> String {
    let Ok(url) = reqwest::Url::parse(url) else { return String::new() };
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Sends `body` as JSON; redirects are not followed.
pub(super) async fn post(cx: &Cx, url: &str, body: &[u8]) -> Result<(), Failure> {
    let config = cx.config.load_full();
    let post = llm::post_json(&config, &cx.process.sources.environment, url, body.to_owned());
    let sent = tokio::time::timeout(config.notify.timeout.0, post).await;
    let status = match sent {
        Err(_) => {
            let reason = format!("{} did not answer within {} s", host(url), config.notify.timeout.0.as_secs());
            return Err(Failure { reason, temporary: true });
        }
        Ok(Err(reason)) => return Err(Failure { reason, temporary: true }),
        Ok(Ok(status)) => status,
    };
    if (200..300).contains(&status) {
        return Ok(());
    }
    let temporary = matches!(status, 408 | 425 | 429 | 500..=599);
    Err(Failure { reason: format!("{} answered {status}", host(url)), temporary })
}
