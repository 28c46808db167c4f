//! `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, in capitals or not, as curl(1) reads them.

use reqwest::{NoProxy, Proxy, Url};

use super::address::is_loopback_name;
use crate::config::Environment;

/// The proxies of the environment.
#[derive(Clone, Default)]
pub(in crate::llm) struct Proxies {
    http: Option<String>,
    https: Option<String>,
    none: String,
}

impl From<&Environment> for Proxies {
    fn from(environment: &Environment) -> Self {
        let get = |names: &[&str]| names.iter().find_map(|name| environment.get(name)).map(str::to_owned);
        Self {
            http: get(&["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]),
            https: get(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
            none: get(&["no_proxy", "NO_PROXY"]).unwrap_or_default(),
        }
    }
}

impl Proxies {
    /// The way to a URL, if it does not go there directly; loopback always does.
    ///
    /// # Errors
    /// The name of the variable whose value is no proxy; never the value, which may hold a password.
    pub(super) fn of(&self, url: &Url) -> Result<Option<Proxy>, String> {
        let (proxy, variable) =
            if url.scheme() == "https" { (&self.https, "HTTPS_PROXY") } else { (&self.http, "HTTP_PROXY") };
        let Some(proxy) = proxy else { return Ok(None) };
        if url.host_str().is_none_or(is_loopback_name) {
            return Ok(None);
        }
        let proxy = Proxy::all(proxy).map_err(|_| format!("the proxy in {variable} (or ALL_PROXY) is not a URL"))?;
        Ok(Some(proxy.no_proxy(NoProxy::from_string(&self.none))))
    }
}
