//! Whether this daemon is ready to be reached from the Internet: the list of docs/security.md, point by point.

use assistant_api::{
    client,
    config::Settings,
    login::WebStatus,
    status::{Listening, Status, Warning},
};
use serde_json::Value;

use super::{Finding, Verdict, daemon};
use crate::{
    Cx,
    exit::{Code, how_to_start},
};

/// Domains at which anybody gets a mailbox.
const PROVIDERS: [&str; 10] = [
    "gmail.com",
    "googlemail.com",
    "outlook.com",
    "hotmail.com",
    "live.com",
    "yahoo.com",
    "icloud.com",
    "proton.me",
    "gmx.net",
    "aol.com",
];

/// What the verdicts follow from.
struct Facts {
    settings: Settings,
    web: WebStatus,
    listening: Vec<Listening>,
    warnings: Vec<Warning>,
}

/// Asks the daemon, and judges.
pub(super) async fn look(cx: &Cx) -> Vec<Finding> {
    match facts(cx).await {
        Ok(facts) => judge(&facts),
        Err(err) if err.is_unreachable() => {
            vec![Finding::error("daemon", Code::Unreachable, "only a running daemon can be judged", how_to_start())]
        }
        Err(err) => vec![daemon::failed("daemon", "what is public", &err)],
    }
}

async fn facts(cx: &Cx) -> client::Result<Facts> {
    let Status { listening, warnings, .. } = cx.client.get("/api/status").await?;
    Ok(Facts {
        settings: cx.client.get("/api/config").await?,
        web: cx.client.get("/api/web").await?,
        listening,
        warnings,
    })
}

fn judge(facts: &Facts) -> Vec<Finding> {
    let Facts { settings, web, listening, warnings } = facts;
    let mut findings = vec![login(settings), front(settings, listening)];
    findings.extend(certificate(listening, warnings));
    findings.push(credentials(web));
    findings.push(listeners(listening));
    findings.push(guard(settings));
    findings.push(documents(settings));
    findings.push(secrets(warnings));
    findings.push(senders(settings));
    findings.push(recipients(settings));
    findings.push(pages(settings));
    findings.push(outside(listening));
    findings
}

fn value<'a>(settings: &'a Settings, key: &str) -> &'a Value {
    settings.settings.iter().find(|setting| setting.key == key).map_or(&Value::Null, |setting| &setting.value)
}

fn is_on(settings: &Settings, key: &str) -> bool {
    value(settings, key).as_bool().unwrap_or(false)
}

fn error(name: &'static str, text: impl Into<String>, mend: impl Into<String>) -> Finding {
    Finding::error(name, Code::Failed, text, mend)
}

/// That somebody has to log in.
fn login(settings: &Settings) -> Finding {
    if value(settings, "api.auth") == "login" {
        return Finding::ok("login", "whoever comes over the network has to log in");
    }
    error("login", "everybody who connects is an administrator", "sudo assistantctl config set api.auth login")
}

/// That HTTPS is spoken, here or in front.
fn front(settings: &Settings, listening: &[Listening]) -> Finding {
    let base = value(settings, "app.base_url").as_str().unwrap_or_default();
    if let Some(one) = listening.iter().find(|one| is_https(one)) {
        return Finding::ok(
            "proxy",
            format!("the daemon speaks HTTPS itself on {}; cookies are for HTTPS alone", one.address),
        );
    }
    if base.starts_with("https://") {
        return Finding::ok("proxy", format!("people come by {base}; cookies are for HTTPS alone"));
    }
    error(
        "proxy",
        "nothing says that a proxy with HTTPS stands in front (app.base_url)",
        "sudo assistantctl config set app.base_url https://NAME, and packaging/proxy/nginx.conf or Caddyfile; or HTTPS in \
         the daemon: sudo assistantctl web enable --tls-certificate FILE --tls-key FILE",
    )
}

/// What the daemon says of its own certificate.
fn certificate(listening: &[Listening], warnings: &[Warning]) -> Option<Finding> {
    if let Some(warning) = warnings.iter().find(|warning| warning.name.starts_with("certificate-")) {
        return Some(error("certificate", &*warning.text, &*warning.mend));
    }
    let spoken = listening.iter().any(is_https);
    spoken.then(|| Finding::ok("certificate", "it is good for more than 14 days"))
}

fn credentials(web: &WebStatus) -> Finding {
    if web.password_set_at.is_some() || web.tokens > 0 {
        return Finding::ok("password", "there is something to log in with");
    }
    error("password", "there is neither a password nor a token: nobody gets in", "sudo assistantctl web password")
}

fn texts<'a>(settings: &'a Settings, key: &str) -> Vec<&'a str> {
    value(settings, key).as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// That not everybody can give work by mail.
fn senders(settings: &Settings) -> Finding {
    if value(settings, "email.imap_host").is_null() {
        return Finding::ok("senders", "no mail is received");
    }
    let senders = texts(settings, "email.actionable_senders");
    if senders.contains(&"*") {
        return error(
            "senders",
            "everybody whose mail is verified can give work (email.actionable_senders has *)",
            "sudo assistantctl config set email.actionable_senders '[\"you@example.org\"]'",
        );
    }
    match senders.as_slice() {
        [] => Finding::ok("senders", "nobody can give work by mail"),
        some => {
            Finding::ok("senders", format!("work comes by mail from {} alone, once it is verified", some.join(", ")))
        }
    }
}

/// That jobs cannot write to everybody.
fn recipients(settings: &Settings) -> Finding {
    if value(settings, "email.smtp_host").is_null() {
        return Finding::ok("recipients", "no mail is sent");
    }
    let domains = texts(settings, "email.allowed_recipient_domains");
    let bare = |domain: &&str| domain.trim_start_matches('.').to_ascii_lowercase();
    if let Some(open) = domains.iter().find(|domain| PROVIDERS.contains(&&*bare(domain))) {
        return Finding::warning(
            "recipients",
            format!("jobs can write to everybody who has a mailbox at {open} (email.allowed_recipient_domains)"),
            "sudo assistantctl config set email.allowed_recipient_domains '[\"example.org\"]'",
        );
    }
    match domains.as_slice() {
        [] => Finding::ok("recipients", "jobs can write to you alone (admin.email)"),
        some => Finding::ok("recipients", format!("jobs can write to you and to {}", some.join(", "))),
    }
}

/// Whether a listener is one of the network or a file for a proxy.
fn is_web(one: &Listening) -> bool {
    one.guard.starts_with("a login")
}

/// Whether the daemon speaks HTTPS there.
fn is_https(one: &Listening) -> bool {
    one.guard.ends_with("HTTPS")
}

/// On loopback or a file, where only a proxy on this host reaches it.
fn listeners(listening: &[Listening]) -> Finding {
    let web: Vec<_> = listening.iter().filter(|one| is_web(one)).collect();
    if let Some(far) = web.iter().find(|one| !is_https(one) && !matches!(one.reach.as_str(), "socket" | "loopback")) {
        return error(
            "listener",
            format!("{} can be reached past the proxy ({})", far.address, far.reach),
            "sudo assistantctl web enable --bind 127.0.0.1:8000",
        );
    }
    match web.first() {
        Some(one) if !matches!(one.reach.as_str(), "socket" | "loopback") => {
            Finding::ok("listener", format!("{} is reached by HTTPS alone", one.address))
        }
        Some(one) => Finding::ok("listener", format!("only this host reaches {}", one.address)),
        None => error("listener", "nothing listens for a proxy", "sudo assistantctl web enable --bind 127.0.0.1:8000"),
    }
}

fn guard(settings: &Settings) -> Finding {
    if is_on(settings, "api.allow_public_bind") {
        return error(
            "guard",
            "api.allow_public_bind is set: a later change could open the port to everybody",
            "sudo assistantctl config set api.allow_public_bind false",
        );
    }
    Finding::ok("guard", "public addresses are refused")
}

fn documents(settings: &Settings) -> Finding {
    let on = ["api.docs_enabled", "api.openapi_enabled"].into_iter().find(|key| is_on(settings, key));
    match on {
        Some(key) => error("documents", format!("{key} is on"), format!("sudo assistantctl config set {key} false")),
        None => Finding::ok("documents", "the documentation and the description of the API are off"),
    }
}

fn secrets(warnings: &[Warning]) -> Finding {
    let weak = warnings.iter().find(|warning| {
        matches!(warning.name.as_str(), "weak-secret" | "secret-in-environment" | "readable-by-others")
    });
    match weak {
        Some(warning) => error("secrets", &*warning.text, &*warning.mend),
        None => Finding::ok("secrets", "no weak or exposed secret is known"),
    }
}

/// A page that nobody wants is one more thing to attack; whether it is wanted only a person knows.
fn pages(settings: &Settings) -> Finding {
    let on: Vec<_> =
        ["api.dashboard_enabled", "api.workspace_enabled"].into_iter().filter(|key| is_on(settings, key)).collect();
    if on.is_empty() {
        return Finding::ok("pages", "the pages are off, the API stays");
    }
    let commands: Vec<_> = on.iter().map(|key| format!("sudo assistantctl config set {key} false")).collect();
    Finding::warning("pages", "pages are served; unless they are wanted, turn them off", commands.join(" && "))
}

/// What its own sockets say, and how to see for oneself.
fn outside(listening: &[Listening]) -> Finding {
    let tcp: Vec<_> = listening.iter().filter(|one| is_web(one)).filter(|one| one.reach != "socket").collect();
    let Some(port) = tcp.iter().find_map(|one| one.address.rsplit_once(':')).map(|(_, port)| port) else {
        return Finding::ok("outside", "no port is open");
    };
    let mend = format!("from another machine this has to fail: curl -m 5 http://ADDRESS-OF-THIS-HOST:{port}/health");
    let open = |one: &&Listening| one.reach != "loopback";
    if tcp.iter().any(|one| open(one) && is_https(one)) {
        let text = format!("port {port} is open beyond this host, by HTTPS: whoever reaches it can try to log in");
        return Finding::warning("outside", text, "forward only this port to this host; a VPN shows it to nobody else");
    }
    let (verdict, text, code) = if tcp.iter().any(open) {
        (Verdict::Error, format!("port {port} is open beyond this host"), Code::Failed)
    } else {
        (Verdict::Ok, format!("port {port} is open on loopback only"), Code::Ok)
    };
    Finding { name: "outside", verdict, text, mend: Some(mend), code }
}

#[cfg(test)]
mod tests {
    use assistant_api::config::Setting;
    use serde_json::json;

    use super::*;

    /// A daemon that is ready, with some of its facts changed.
    fn with(change: impl FnOnce(&mut Facts)) -> Vec<Finding> {
        let keys = [
            ("api.auth", json!("login")),
            ("app.base_url", json!("https://assistant.example.org")),
            ("api.allow_public_bind", json!(false)),
            ("api.docs_enabled", json!(false)),
            ("api.openapi_enabled", json!(false)),
            ("api.dashboard_enabled", json!(false)),
            ("api.workspace_enabled", json!(false)),
            ("email.imap_host", json!("imap.example.org")),
            ("email.actionable_senders", json!(["ann@example.org"])),
            ("email.smtp_host", json!("smtp.example.org")),
            ("email.allowed_recipient_domains", json!(["example.org", ".example.com"])),
        ];
        let setting = |(key, value): (&str, Value)| {
            serde_json::from_value(json!({
                "key": key, "value": value, "origin": "default", "default": null, "environment": "", "kind": "",
                "doc": "", "restart": false
            }))
        };
        let settings: Vec<Setting> = keys.into_iter().map(|key| setting(key).unwrap()).collect();
        let mut facts = Facts {
            settings: Settings { file: String::new(), settings },
            web: WebStatus { password_set_at: Some(jiff::Timestamp::UNIX_EPOCH), sessions: 0, tokens: 0 },
            listening: vec![listener("127.0.0.1:8000", "loopback")],
            warnings: Vec::new(),
        };
        change(&mut facts);
        judge(&facts)
    }

    /// What one change makes of the findings: the only one that is not well, and nothing else.
    #[track_caller]
    fn only(findings: &[Finding], name: &str, verdict: Verdict, mend: &str) {
        let bad: Vec<_> =
            findings.iter().filter(|one| matches!(one.verdict, Verdict::Warning | Verdict::Error)).collect();
        assert_eq!(bad.len(), 1, "{bad:?}");
        assert_eq!((bad[0].name, bad[0].verdict), (name, verdict), "{bad:?}");
        assert!(bad[0].mend.as_deref().unwrap().contains(mend), "{bad:?}");
        assert_eq!(super::super::worst(findings) == Code::Ok, verdict == Verdict::Warning);
    }

    fn set(facts: &mut Facts, key: &str, value: Value) {
        facts.settings.settings.iter_mut().find(|setting| setting.key == key).unwrap().value = value;
    }

    fn listener(address: &str, reach: &str) -> Listening {
        Listening { address: address.into(), reach: reach.into(), guard: "a login".into() }
    }

    #[test]
    fn a_daemon_behind_a_proxy_is_ready() {
        let findings = with(|_| {});
        assert_eq!(super::super::worst(&findings), Code::Ok, "{findings:?}");
        assert!(findings.iter().all(|one| matches!(one.verdict, Verdict::Ok | Verdict::Skipped)), "{findings:?}");
        let file = with(|facts| facts.listening = vec![listener("/run/assistant/web.sock", "socket")]);
        assert_eq!(super::super::worst(&file), Code::Ok, "{file:?}");
    }

    #[test]
    fn each_key_that_is_wrong_is_told_with_what_mends_it() {
        for (key, wrong, name, verdict, mend) in [
            ("api.auth", json!("none"), "login", Verdict::Error, "config set api.auth login"),
            ("app.base_url", json!("http://a"), "proxy", Verdict::Error, "app.base_url https://"),
            ("app.base_url", json!(null), "proxy", Verdict::Error, "packaging/proxy/nginx.conf"),
            ("api.allow_public_bind", json!(true), "guard", Verdict::Error, "api.allow_public_bind false"),
            ("api.docs_enabled", json!(true), "documents", Verdict::Error, "api.docs_enabled false"),
            ("api.openapi_enabled", json!(true), "documents", Verdict::Error, "api.openapi_enabled false"),
            ("api.dashboard_enabled", json!(true), "pages", Verdict::Warning, "api.dashboard_enabled false"),
            ("api.workspace_enabled", json!(true), "pages", Verdict::Warning, "api.workspace_enabled false"),
            (
                "email.actionable_senders",
                json!(["a@b.org", "*"]),
                "senders",
                Verdict::Error,
                "email.actionable_senders",
            ),
            ("email.allowed_recipient_domains", json!([".Gmail.com"]), "recipients", Verdict::Warning, "_domains"),
        ] {
            only(&with(|facts| set(facts, key, wrong)), name, verdict, mend);
        }
    }

    #[test]
    fn what_is_narrow_is_told_in_words() {
        for (key, value, told) in [
            ("email.imap_host", json!(null), "no mail is received"),
            ("email.smtp_host", json!(null), "no mail is sent"),
            ("email.actionable_senders", json!([]), "nobody can give work by mail"),
            ("email.allowed_recipient_domains", json!([]), "jobs can write to you alone (admin.email)"),
        ] {
            let findings = with(|facts| set(facts, key, value));
            assert!(findings.iter().any(|one| one.text == told && one.verdict == Verdict::Ok), "{told}: {findings:?}");
        }
    }

    #[test]
    fn without_anything_to_log_in_with_nobody_gets_in() {
        let findings = with(|facts| facts.web.password_set_at = None);
        only(&findings, "password", Verdict::Error, "assistantctl web password");
        let token = with(|facts| (facts.web.password_set_at, facts.web.tokens) = (None, 1));
        assert_eq!(super::super::worst(&token), Code::Ok);
    }

    #[test]
    fn a_listener_past_the_proxy_is_told() {
        for (address, reach) in
            [("192.168.1.50:8000", "private"), ("0.0.0.0:8000", "every"), ("203.0.113.5:8000", "public")]
        {
            let findings = with(|facts| facts.listening.push(listener(address, reach)));
            let bad: Vec<_> = findings.iter().filter(|one| one.verdict == Verdict::Error).map(|one| one.name).collect();
            assert_eq!(bad, ["listener", "outside"]);
            let mend = findings.iter().find(|one| one.name == "outside").unwrap().mend.clone().unwrap();
            assert!(mend.contains(":8000/health"), "{mend}");
        }
        let none = with(|facts| facts.listening.clear());
        only(&none, "listener", Verdict::Error, "web enable --bind 127.0.0.1:8000");
    }

    #[test]
    fn https_in_the_daemon_stands_for_a_proxy_while_its_certificate_is_good() {
        let https = Listening { guard: "a login, by HTTPS".into(), ..listener("192.168.1.50:8443", "private") };
        let alone = |facts: &mut Facts| {
            set(facts, "app.base_url", json!(null));
            facts.listening = vec![https.clone()];
        };
        let findings = with(alone);
        only(&findings, "outside", Verdict::Warning, "VPN");
        assert!(findings.iter().any(|one| one.name == "certificate" && one.verdict == Verdict::Ok), "{findings:?}");
        for name in ["certificate-expires", "certificate-refused"] {
            let warning = Warning { name: name.into(), text: "ends on 2026-12-01".into(), mend: "renew it".into() };
            let findings = with(|facts| {
                alone(facts);
                facts.warnings.push(warning);
            });
            let bad = findings.iter().find(|one| one.verdict == Verdict::Error).unwrap();
            assert_eq!((bad.name, bad.mend.as_deref()), ("certificate", Some("renew it")));
        }
    }

    #[test]
    fn a_weak_secret_is_told() {
        let warning = Warning { name: "weak-secret".into(), text: "weak".into(), mend: "secret set x".into() };
        only(&with(|facts| facts.warnings.push(warning)), "secrets", Verdict::Error, "secret set x");
    }
}
