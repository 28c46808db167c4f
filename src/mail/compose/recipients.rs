//! Who a mail may go to: addresses, parsed once, and compared and used in the one form that they were parsed into.

use lettre::{Address, message::Mailbox};

use crate::{
    config::Config,
    error::{Error, Result},
};

/// Recipients of one mail, To and Cc together.
const MAX: usize = 50;
/// Characters of one of them.
const LONGEST: usize = 320;

/// Reads one recipient as people write it: `a@example.org` or `Name <a@example.org>`, and never two at once. The domain
/// becomes ASCII (RFC 5891), so that what is compared is what the server is given.
///
/// # Errors
/// `validation`, with what is wrong.
pub fn parse(text: &str) -> Result<Mailbox> {
    let wrong = |why: &str| {
        let shown: String = text.chars().take(80).collect();
        Error::validation(format!("{shown:?} is not one mail address: {why}"))
            .hint("give each recipient on its own, such as \"Name <name@example.org>\"")
    };
    if text.chars().count() > LONGEST {
        return Err(wrong("it is too long"));
    }
    if text.chars().any(char::is_control) {
        return Err(wrong("it has control characters in it"));
    }
    let mailbox: Mailbox = text.trim().parse().map_err(|err| wrong(&format!("{err}")))?;
    let user = mailbox.email.user();
    // What a server may take for a route to somebody else (RFC 1123, section 5.2.16), or for the end of the address.
    let odd = |c: char| !c.is_ascii() || c.is_ascii_control() || " \"(),:;<>@[\\]%!`|".contains(c);
    // A server that decodes an encoded word (RFC 2047) there, as some did, writes to somebody else.
    if user.is_empty() || user.len() > 64 || user.contains(odd) || user.contains("=?") {
        return Err(wrong("the part before the @ holds characters that are not taken"));
    }
    let domain = domain(mailbox.email.domain()).ok_or_else(|| wrong("the domain is no name"))?;
    let address = Address::new(user, &domain).map_err(|err| wrong(&format!("{err}")))?;
    Ok(Mailbox::new(mailbox.name, address))
}

/// Reads a list, without those that stand in it twice.
///
/// # Errors
/// `validation` that names the field.
pub fn parse_all(field: &'static str, texts: &[String]) -> Result<Vec<Mailbox>> {
    if texts.len() > MAX {
        return Err(Error::validation(format!("{} recipients; at most {MAX}", texts.len())).field(field));
    }
    let mut all: Vec<Mailbox> = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let one = parse(text).map_err(|err| err.field(format!("{field}.{index}")))?;
        if !all.iter().any(|known| same(&known.email, &one.email)) {
            all.push(one);
        }
    }
    Ok(all)
}

/// A domain as it is compared: ASCII, lower case. `None`: it is no domain name.
pub fn domain(text: &str) -> Option<String> {
    let ascii = idna::domain_to_ascii_strict(text).ok()?;
    let name = !ascii.is_empty() && ascii.contains('.') && !ascii.ends_with('.') && ascii.len() <= 253;
    let plain = ascii.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'));
    (name && plain && ascii.parse::<std::net::IpAddr>().is_err()).then_some(ascii)
}

/// Whether two addresses are the same: everybody's mail server takes both parts without regard to case.
pub fn same(a: &Address, b: &Address) -> bool {
    a.to_string().eq_ignore_ascii_case(b.as_ref())
}

/// The address of the person that it works for, if one is set.
pub fn admin(config: &Config) -> Option<Mailbox> {
    config.admin.email.as_deref().and_then(|text| parse(text).ok())
}

/// Whether a domain is in a list of exact names and `.suffixes`.
fn listed(list: &[String], name: &str) -> bool {
    list.iter().any(|entry| match entry.strip_prefix('.') {
        Some(parent) => domain(parent)
            .is_some_and(|parent| name.strip_suffix(&parent).is_some_and(|rest| rest.ends_with('.') && rest.len() > 1)),
        None => domain(entry).is_some_and(|entry| entry == name),
    })
}

/// Refuses recipients that jobs may not write to. Allowed are the admin, `also` (who has proved to be the one that asked),
/// and the domains of `email.allowed_recipient_domains`; with an empty list nobody else.
///
/// # Errors
/// `forbidden`, naming the first that is not allowed.
pub fn allowed(config: &Config, also: Option<&Address>, all: &[Mailbox]) -> Result<()> {
    let admin = admin(config);
    let known = |address: &Address| {
        admin.as_ref().is_some_and(|admin| same(&admin.email, address))
            || also.is_some_and(|also| same(also, address))
            || listed(&config.email.allowed_recipient_domains, address.domain())
    };
    match all.iter().find(|mailbox| !known(&mailbox.email)) {
        None => Ok(()),
        Some(mailbox) => Err(Error::forbidden(format!(
            "mail to {} is not allowed: {} is not in email.allowed_recipient_domains",
            mailbox.email,
            mailbox.email.domain()
        ))
        .field("to")
        .hint("the owner of this assistant can add the domain; do not try another form of the address")),
    }
}

/// Whether somebody outside of the organization gets it: the admin is inside, and so is who has an address in
/// `org.internal_email_domains` or below; without such domains everybody else is outside.
pub fn external(config: &Config, all: &[Mailbox]) -> bool {
    let admin = admin(config);
    let inside = |name: &str| {
        config
            .org
            .internal_email_domains
            .iter()
            .filter_map(|entry| domain(entry.trim_start_matches('.')))
            .any(|own| name == own || name.strip_suffix(&own).is_some_and(|rest| rest.ends_with('.')))
    };
    all.iter().any(|mailbox| {
        !admin.as_ref().is_some_and(|admin| same(&admin.email, &mailbox.email)) && !inside(mailbox.email.domain())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(domains: &[&str]) -> Config {
        let mut config = Config::default();
        config.admin.email = Some("owner@home.example".into());
        config.email.allowed_recipient_domains = domains.iter().map(|name| (*name).to_owned()).collect();
        config
    }

    /// Whether a job may write to what this text says.
    fn passes(config: &Config, text: &str) -> bool {
        parse(text).and_then(|mailbox| allowed(config, None, &[mailbox])).is_ok()
    }

    #[test]
    fn s22_an_empty_list_means_the_admin_only() {
        let config = config(&[]);
        assert!(passes(&config, "owner@home.example"));
        assert!(passes(&config, "The Owner <OWNER@Home.Example>"));
        for other in ["somebody@home.example", "owner@evil.example", "owner@home.example.evil.example"] {
            let err = allowed(&config, None, &[parse(other).unwrap()]).unwrap_err();
            assert_eq!(err.kind(), crate::error::ErrorKind::Forbidden, "{other}");
        }
        let asker: Address = "asker@far.example".parse().unwrap();
        assert_eq!(allowed(&config, Some(&asker), &[parse("asker@far.example").unwrap()]).map_err(|_| ()), Ok(()));
        assert!(allowed(&config, Some(&asker), &[parse("other@far.example").unwrap()]).is_err());
    }

    #[test]
    fn domains_are_exact_or_everything_below() {
        let config = config(&["allowed.example", ".sub.example", "bücher.example"]);
        for good in [
            "a@allowed.example",
            "A B <a@ALLOWED.example>",
            "a+b@allowed.example",
            "a@x.sub.example",
            "a@x.y.sub.example",
            "a@bücher.example",
            "a@xn--bcher-kva.example",
            "a@BÜCHER.example",
        ] {
            assert!(passes(&config, good), "{good}");
        }
        for bad in ["a@x.allowed.example", "a@sub.example", "a@xsub.example", "a@allowed.example.evil.example"] {
            assert!(!passes(&config, bad), "{bad}");
        }
    }

    #[test]
    fn false_recipients_do_not_pass_the_list() {
        let config = config(&["allowed.example", ".sub.example"]);
        // The six that went past a check of the text behind the last @.
        let first = [
            "victim@evil.example,x@allowed.example",
            "<victim@evil.example>x@allowed.example",
            "victim@evil.example x@allowed.example",
            "victim@evil.example;x@allowed.example",
            "\"victim@evil.example,\"@allowed.example",
            "victim@evil.example\r\nBcc: x@allowed.example",
        ];
        let more = [
            "victim@evil.example>,<x@allowed.example",
            "<victim@evil.example>,<x@allowed.example>",
            "Name <victim@evil.example>, x@allowed.example",
            "Name <victim@evil.example> x@allowed.example",
            "x@allowed.example <victim@evil.example>",
            "\"x@allowed.example\" <victim@evil.example>",
            "x@allowed.example, victim@evil.example",
            "victim@evil.example@allowed.example",
            "victim%evil.example@allowed.example",
            "evil.example!victim@allowed.example",
            "@allowed.example:victim@evil.example",
            "<@allowed.example:victim@evil.example>",
            "<@allowed.example,@evil.example:victim@evil.example>",
            "victim@evil.example\0@allowed.example",
            "victim@evil.example\n@allowed.example",
            "victim@evil.example\t@allowed.example",
            "victim@evil.example (x@allowed.example)",
            "(x@allowed.example) victim@evil.example",
            "victim(@allowed.example)@evil.example",
            "victim@evil.example#@allowed.example",
            "victim@evil.example/@allowed.example",
            "victim@[10.0.0.1]",
            "victim@10.0.0.1",
            "victim@[IPv6:::1]",
            "victim@localhost",
            "victim@allowed",
            "victim@allowed.example.",
            "victim@.allowed.example",
            "victim@allowed..example",
            "victim@evil-allowed.example",
            "victim@allowedexample",
            "victim@allowed.example.evil.example",
            "victim@sub.example",
            "victim@notsub.example",
            "victim@allowed。evil.example",
            "victim@аllowed.example",
            "victim@allowed.exаmple",
            "victim@allowed\u{200b}.evil.example",
            "victim@evil.example\u{2028}@allowed.example",
            "victim@evil.example\u{feff}, x@allowed.example",
            "\u{202e}victim@evil.example",
            "=?utf-8?q?x=40allowed.example?= <victim@evil.example>",
            "=?utf-8?q?victim=40evil.example=2C?=@allowed.example",
            "undisclosed: victim@evil.example, x@allowed.example;",
            "group:victim@evil.example;",
            "mailto:victim@evil.example",
            "\"\\\"\"@evil.example",
            "\"victim@evil.example\\\"\"@allowed.example",
            "'victim@evil.example'@allowed.example",
            "victim@evil.example|x@allowed.example",
            "`victim@evil.example`@allowed.example",
            "<victim@evil.example",
            "victim@evil.example>",
            "@allowed.example",
            "victim@",
            "victim",
            "",
            " ",
            ",",
            "<>",
            "x@allowed.example\r\nRCPT TO:<victim@evil.example>",
        ];
        assert!(first.len() == 6 && more.len() >= 50);
        for text in first.iter().chain(&more) {
            assert!(!passes(&config, text), "{text:?} passes: {:?}", parse(text));
        }
    }

    #[test]
    fn what_is_checked_is_what_is_sent() {
        assert_eq!(parse("A <a@ＡＬＬＯＷＥＤ.example>").unwrap().email.to_string(), "a@allowed.example");
        let all = ["a@x.example".to_owned(), "B <A@X.EXAMPLE>".into(), "c@x.example".into()];
        assert_eq!(parse_all("to", &all).unwrap().len(), 2, "nobody gets it twice");
        let err = parse_all("cc", &["a@x.example".into(), "nobody".into()]).unwrap_err();
        assert_eq!(err.field_name(), Some("cc.1"));
    }

    #[test]
    fn the_admin_is_never_outside() {
        let mut config = config(&[]);
        let one = |text: &str| vec![parse(text).unwrap()];
        assert!(!external(&config, &one("owner@home.example")));
        assert!(external(&config, &one("a@corp.example")));
        config.org.internal_email_domains = vec!["corp.example".into()];
        assert!(!external(&config, &one("a@corp.example")));
        assert!(!external(&config, &one("a@x.corp.example")));
        assert!(external(&config, &one("a@xcorp.example")));
        assert!(external(&config, &[one("a@corp.example"), one("b@evil.example")].concat()));
    }
}
