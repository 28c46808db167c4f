//! Looks names up in the DNS, for the reader, which cannot; no message comes near.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::runtime::TokioRuntimeProvider,
    proto::rr::{Name, RData},
    system_conf::read_system_conf,
};
use rustls::{ClientConfig, RootCertStore};

use crate::{
    protocol::{Lookup, Records},
    verify,
};

const MAX_NAMES: usize = 64;
const AT_ONCE: usize = 8;
/// Bytes of the records of one name.
const MAX_RECORD: usize = 16 << 10;
const MAX_RECORDS: usize = 20;

/// TXT records of these names; `server` is asked, or those of `/etc/resolv.conf`.
///
/// # Errors
/// In words, when there is nobody to ask.
pub fn look_up(names: &[String], server: Option<&str>) -> Result<Records, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|err| err.to_string())?;
    runtime.block_on(async {
        let resolver = resolver(server)?;
        let names: BTreeSet<&str> = names.iter().map(String::as_str).take(MAX_NAMES).collect();
        let found = stream::iter(names)
            .map(|name| {
                let resolver = resolver.clone();
                async move { (name.to_owned(), one(&resolver, name).await) }
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        Ok(Records(found))
    })
}

fn resolver(server: Option<&str>) -> Result<TokioResolver, String> {
    let (config, mut options) = match server {
        Some(server) => (ResolverConfig::from_parts(None, Vec::new(), vec![named(server)?]), ResolverOpts::default()),
        None => read_system_conf().map_err(|err| format!("/etc/resolv.conf: {err}"))?,
    };
    options.use_hosts_file = ResolveHosts::Never;
    options.timeout = Duration::from_secs(3);
    options.attempts = 2;
    options.cache_size = 0;
    made(config, options)
}

/// A resolver that asks in plain text. Left to itself it would read all certificates of the system, which takes longer
/// than a message.
pub(crate) fn made(config: ResolverConfig, options: ResolverOpts) -> Result<TokioResolver, String> {
    let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|err| err.to_string())?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        .with_options(options)
        .with_tls_config(tls)
        .build()
        .map_err(|err| err.to_string())
}

/// An address, with a port or without.
fn named(server: &str) -> Result<NameServerConfig, String> {
    let address: SocketAddr = server
        .parse()
        .or_else(|_| server.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53)))
        .map_err(|_| format!("--server: `{server}` is not an address"))?;
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    Ok(NameServerConfig::new(address.ip(), true, connections.into()))
}

async fn one(resolver: &TokioResolver, name: &str) -> Lookup {
    let Ok(fqdn) = Name::from_ascii(format!("{}.", name.trim_end_matches('.'))) else { return Lookup::Missing };
    if !verify::is_name(name) {
        return Lookup::Missing;
    }
    match resolver.txt_lookup(fqdn).await {
        Ok(lookup) => {
            let texts: Vec<String> = lookup
                .answers()
                .iter()
                .filter_map(|record| match &record.data {
                    RData::TXT(txt) => Some(txt.txt_data.concat()),
                    _ => None,
                })
                .filter(|text| text.len() <= MAX_RECORD)
                .map(|text| String::from_utf8_lossy(&text).into_owned())
                .take(MAX_RECORDS)
                .collect();
            if texts.is_empty() { Lookup::Missing } else { Lookup::Found(texts) }
        }
        Err(err) if err.is_no_records_found() => Lookup::Missing,
        Err(_) => Lookup::Failed,
    }
}
