//! Which hosts results may come from: what the configuration says, narrowed by what a question asks for.

use reqwest::Url;

use crate::{
    config::check,
    error::{Error, Result},
};

/// The hosts of one question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Domains {
    /// Empty: any.
    pub(super) allowed: Vec<String>,
    pub(super) excluded: Vec<String>,
}

impl Domains {
    /// Both of the configuration and of the question, given as allowed and excluded ones. A question cannot widen what the
    /// configuration allows.
    ///
    /// # Errors
    /// `validation`, naming the argument.
    pub(super) fn new(configured: (&[String], &[String]), asked: (&[String], &[String])) -> Result<Self> {
        let (ours, never) = (names(configured.0, "search.allowed_domains")?, configured.1);
        let wanted = names(asked.0, "allowed_domains")?;
        let mut excluded = names(never, "search.excluded_domains")?;
        excluded.extend(names(asked.1, "excluded_domains")?);
        excluded.sort_unstable();
        excluded.dedup();
        if let Some(outside) = wanted.iter().find(|name| !ours.is_empty() && !below_any(name, &ours)) {
            return Err(Error::validation(format!("{outside} is not among the hosts that may be searched"))
                .field("allowed_domains")
                .hint(format!("the configuration allows {} and what is below", ours.join(", "))));
        }
        let limited = !(wanted.is_empty() && ours.is_empty());
        let mut allowed = if wanted.is_empty() { ours } else { wanted };
        allowed.retain(|name| !below_any(name, &excluded));
        if limited && allowed.is_empty() {
            return Err(Error::validation("every host that is allowed is excluded as well").field("excluded_domains"));
        }
        Ok(Self { allowed, excluded })
    }

    /// Whether a page may be shown as a source: providers differ in what they make of such lists.
    pub(super) fn permit(&self, url: &Url) -> bool {
        let Some(host) = url.host_str().map(|host| host.trim_end_matches('.')) else { return false };
        (self.allowed.is_empty() || below_any(host, &self.allowed)) && !below_any(host, &self.excluded)
    }
}

fn names(names: &[String], field: &'static str) -> Result<Vec<String>> {
    let name = |name: &String| check::domain(name).map_err(|wrong| Error::validation(wrong).field(field));
    names.iter().map(name).collect()
}

/// Whether a host is one of these or below one of them.
fn below_any(host: &str, names: &[String]) -> bool {
    names.iter().any(|name| host.strip_suffix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domains(configured: [&[&str]; 2], asked: [&[&str]; 2]) -> Result<Domains> {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let (configured, asked) = (configured.map(own), asked.map(own));
        Domains::new((&configured[0], &configured[1]), (&asked[0], &asked[1]))
    }

    #[test]
    fn a_question_narrows_the_configuration_and_never_widens_it() {
        let allowed = |configured, asked| domains(configured, asked).map(|domains| domains.allowed);
        assert_eq!(allowed([&[], &[]], [&[], &[]]).unwrap(), <[&str; 0]>::default());
        assert_eq!(allowed([&[], &[]], [&["Debian.org."], &[]]).unwrap(), ["debian.org"]);
        assert_eq!(allowed([&["debian.org"], &[]], [&[], &[]]).unwrap(), ["debian.org"]);
        assert_eq!(allowed([&["debian.org"], &[]], [&["wiki.debian.org"], &[]]).unwrap(), ["wiki.debian.org"]);
        for outside in ["example.org", "notdebian.org", "org", "debian.org.example.com"] {
            let error = domains([&["debian.org"], &[]], [&[outside], &[]]).unwrap_err();
            assert_eq!(error.field_name(), Some("allowed_domains"), "{outside}");
        }
        let error = allowed([&[], &["example.org"]], [&["a.example.org"], &[]]).unwrap_err();
        assert_eq!(error.field_name(), Some("excluded_domains"));
    }

    #[test]
    fn exclusions_of_both_count_and_hold_against_what_was_found() {
        let domains = domains([&["debian.org"], &["lists.debian.org"]], [&[], &["bücher.example"]]).unwrap();
        assert_eq!(domains.excluded, ["lists.debian.org", "xn--bcher-kva.example"]);
        let permit = |url: &str| domains.permit(&Url::parse(url).unwrap());
        assert!(permit("https://www.debian.org/News/") && permit("https://DEBIAN.org./"));
        assert!(!permit("https://lists.debian.org/x") && !permit("https://a.lists.debian.org/"));
        assert!(!permit("https://debian.org.example.com/") && !permit("https://evildebian.org/"));
    }

    #[test]
    fn what_is_no_name_of_a_host_is_refused() {
        for wrong in
            ["", "https://example.org", "example.org/blog", "*.example.org", "10.0.0.1", "org", "a b.org", "x@y.org"]
        {
            let error = domains([&[], &[]], [&[wrong], &[]]).unwrap_err();
            assert_eq!(error.field_name(), Some("allowed_domains"), "{wrong}");
        }
    }
}
