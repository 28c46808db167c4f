//! One JSON document to an address that is no model: the same proxies, authorities and guards, no key.

use std::{path::PathBuf, sync::Arc};

use reqwest::{Method, Url, header::HeaderMap};

use super::{Host, Key, NetError, Proxies, Settings};
use crate::config::{Config, Environment};

impl Settings {
    /// As `[llm]` and the environment say.
    pub(in crate::llm) fn of(config: &Config, environment: &Environment) -> Self {
        let llm = &config.llm;
        Self {
            connect_timeout: llm.connect_timeout.0,
            stall_timeout: llm.stall_timeout.0,
            max_answer_bytes: llm.max_answer_bytes.0,
            local_only: llm.local_only,
            ca_file: llm.ca_file.as_ref().map(PathBuf::from),
            proxies: Proxies::from(environment),
        }
    }
}

/// Posts `body` and gives the status of the answer, whose body is of no interest. Redirects are not followed.
///
/// # Errors
/// Why there is no answer, without the address, whose path may be a secret.
pub async fn post_json(config: &Config, environment: &Environment, url: &str, body: Vec<u8>) -> Result<u16, String> {
    let url = Url::parse(url).map_err(|err| format!("not an address: {err}"))?;
    let settings = Arc::new(Settings::of(config, environment));
    let host = Host::new(url.clone(), Key::None, HeaderMap::new(), settings);
    match host.send(Method::POST, url, Some(body)).await {
        Ok(reply) => Ok(reply.status),
        Err(NetError::Forbidden(reason) | NetError::NoConnection(reason) | NetError::Broken(reason)) => {
            Err(format!("{}: {reason}", host.name()))
        }
        Err(NetError::TooLarge(limit)) => Err(format!("{}: more than {limit} bytes", host.name())),
    }
}
