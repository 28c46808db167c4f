//! `[api]`

use std::net::IpAddr;

use crate::config::{
    section::section,
    value::{Bytes, Seconds},
};

section! {
    /// The API: on its Unix socket always, on an address of the network where one is given.
    pub struct Api = "api" {
        /// Listen on this address of the host as well, or on what this name means here; for those who log in. Unset or
        /// empty: nothing listens on the network. Under systemd `assistantd-web.socket` does so instead.
        bind_host: Option<String> = None, env "AGENT_API_BIND_HOST";
        /// Port of `bind_host`.
        port: u16 = 8000, env "AGENT_API_PORT", in 1..=65_535;
        /// Listen even where everybody can come: on 0.0.0.0, on ::, or on an address of the Internet.
        allow_public_bind: bool = false, env "AGENT_API_ALLOW_PUBLIC_BIND";
        /// Further names that browsers and programs may call this host by, with a port where it is another one.
        allowed_hosts: Vec<String> = Vec::new();
        /// Who is let in over the network: `login`, whoever has the password or a token; `none`, everybody, as an
        /// administrator, and on loopback only unless `allow_public_bind` is set.
        auth: String = "login".into(), check crate::config::check::auth;
        /// Who may read `/metrics` over the network: `login`, whoever is let in, such as a token for `GET /metrics`
        /// alone; `loopback`, programs of this host as well, without a login; `off`, nobody. On the socket: every role.
        metrics: String = "login".into(), check crate::config::check::metrics;
        /// How long a browser stays logged in.
        session_lifetime: Seconds = Seconds::new(30 * 86_400), in Seconds::new(300)..=Seconds::new(366 * 86_400);
        /// Proxies that are believed when they say for whom they ask (`X-Forwarded-For`, `X-Real-IP`,
        /// `X-Forwarded-Proto`). Whoever comes by a web socket in the file system always is.
        trusted_proxies: Vec<String> = vec!["127.0.0.1".into(), "::1".into()], check crate::config::check::addresses;
        /// Certificate of HTTPS, in PEM form with those between it and the root. Unset: the credential `tls-certificate`;
        /// without either, HTTP. Followed when it changes.
        tls_certificate: Option<String> = None;
        /// Its key, in PEM form, which no other user may be able to read. Unset: the credential `tls-key`.
        tls_key: Option<String> = None;
        /// Members of this group may look, but change nothing. Unset: nobody.
        viewer_group: Option<String> = None;
        /// Members of this group may use the API.
        operator_group: String = "assistant-users".into();
        /// Members of this group may also administer it.
        admin_group: String = "assistant-admin".into();
        /// Bytes of one upload; 0 = no limit.
        max_upload_bytes: Bytes = Bytes(524_288_000), env "AGENT_API_MAX_UPLOAD_BYTES";
        /// Connections at the same time.
        max_connections: u32 = 512, in 1..=65_536;
        /// How many of them one address of the network may have, a network of IPv6 (/64) counting as one; half of them at
        /// most. Those of `trusted_proxies` do not count; behind these, it is how many requests a client may have open.
        max_connections_per_address: u32 = 64, in 1..=65_536;
        /// Time to send the whole request head.
        header_timeout: Seconds = Seconds::new(10), in Seconds::new(1)..=Seconds::new(3600);
        /// Time for one ordinary request.
        request_timeout: Seconds = Seconds::new(60), in Seconds::new(1)..=Seconds::new(3600);
        /// Time without a byte after which an upload or download ends.
        stream_idle_timeout: Seconds = Seconds::new(60), in Seconds::new(1)..=Seconds::new(86400);
        /// Time that open requests get when the daemon stops.
        stop_grace: Seconds = Seconds::new(5), in Seconds::new(0)..=Seconds::new(600);
        /// Serve the dashboard at `/` and `/admin`. Off: 404 there, while the API stays as it is.
        dashboard_enabled: bool = true, env "AGENT_API_DASHBOARD_ENABLED";
        /// Serve the workspace page at `/workspace`.
        workspace_enabled: bool = true, env "AGENT_API_WORKSPACE_ENABLED";
        /// Serve the documentation of the API at `/docs` and `/redoc`.
        docs_enabled: bool = false, env "AGENT_API_DOCS_ENABLED";
        /// Serve `/openapi.json`.
        openapi_enabled: bool = false, env "AGENT_API_OPENAPI_ENABLED";
    }
}

impl Api {
    /// The host to listen on, if there is one.
    pub fn web_host(&self) -> Option<&str> {
        self.bind_host.as_deref().map(str::trim).filter(|host| !host.is_empty())
    }

    /// Whether a proxy of ours is there.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().filter_map(|text| text.parse::<IpAddr>().ok()).any(|known| known == address)
    }

    /// Connections that one address may have, so that it never has all of them.
    pub fn most_of_one_address(&self) -> u32 {
        self.max_connections_per_address.min((self.max_connections / 2).max(1))
    }
}
