//! What a value must be beyond its type. Each check says what it expected; what is unset is not checked.

/// A setting that a check can look into.
pub(crate) trait Looked {
    /// What the check sees.
    type Seen: ?Sized;
    /// `None` when unset.
    fn look(&self) -> Option<&Self::Seen>;
}

impl Looked for String {
    type Seen = str;
    fn look(&self) -> Option<&str> {
        Some(self)
    }
}

impl Looked for Option<String> {
    type Seen = str;
    fn look(&self) -> Option<&str> {
        self.as_deref()
    }
}

impl Looked for Option<f64> {
    type Seen = f64;
    fn look(&self) -> Option<&f64> {
        self.as_ref()
    }
}

impl Looked for Vec<String> {
    type Seen = [String];
    fn look(&self) -> Option<&[String]> {
        Some(self)
    }
}

/// Holds a value against a check.
pub(crate) fn held<T: Looked>(value: &T, check: fn(&T::Seen) -> Result<(), String>) -> Result<(), String> {
    value.look().map_or(Ok(()), check)
}

/// An IANA zone that the time library knows.
pub(crate) fn zone(name: &str) -> Result<(), String> {
    jiff::tz::TimeZone::get(name)
        .map(drop)
        .map_err(|_| format!("{name:?} is not a known time zone; expected an IANA name such as \"Europe/Berlin\""))
}

/// A log level.
pub(crate) fn level(text: &str) -> Result<(), String> {
    const KNOWN: [&str; 6] = ["error", "warn", "warning", "info", "debug", "trace"];
    let lower = text.to_ascii_lowercase();
    if KNOWN.contains(&&*lower) {
        return Ok(());
    }
    Err(format!("expected error, warn, info, debug or trace, found {text:?}{}", meant(&lower, &KNOWN)))
}

/// A provider of models.
pub(crate) fn provider(name: &str) -> Result<(), String> {
    const KNOWN: [&str; 5] = ["openai", "openrouter", "anthropic", "ollama", "rehearsal"];
    if KNOWN.contains(&name) {
        return Ok(());
    }
    Err(format!("expected one of {}, found {name:?}{}", KNOWN.join(", "), meant(name, &KNOWN)))
}

/// How callers from the network are known.
pub(crate) fn auth(name: &str) -> Result<(), String> {
    const KNOWN: [&str; 2] = ["login", "none"];
    if KNOWN.contains(&name) {
        return Ok(());
    }
    Err(format!("expected \"login\" or \"none\", found {name:?}{}", meant(name, &KNOWN)))
}

/// Addresses, not names.
pub(crate) fn addresses(all: &[String]) -> Result<(), String> {
    let wrong = all.iter().find(|text| text.parse::<std::net::IpAddr>().is_err());
    wrong.map_or(Ok(()), |text| Err(format!("expected addresses such as \"127.0.0.1\", found {text:?}")))
}

/// The end of a message about a choice that there is not.
fn meant(found: &str, known: &[&str]) -> String {
    let near = assistant_api::near::nearest(found, known.iter().copied());
    near.map_or_else(String::new, |near| format!("; did you mean {near:?}?"))
}

/// An absolute http or https address.
pub(crate) fn url(text: &str) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("expected an address such as \"https://host/path\": {why}"));
    match reqwest::Url::parse(text) {
        Err(err) => wrong(&err.to_string()),
        Ok(url) if !matches!(url.scheme(), "http" | "https") => wrong("the scheme is neither http nor https"),
        Ok(url) if url.host_str().is_none_or(str::is_empty) => wrong("it has no host"),
        Ok(_) => Ok(()),
    }
}

/// Who may read the metrics over the network.
pub(crate) fn metrics(name: &str) -> Result<(), String> {
    match name {
        "login" | "loopback" | "off" => Ok(()),
        _ => Err(format!("expected \"login\", \"loopback\" or \"off\", found {name:?}")),
    }
}

/// An octal file mode mask.
pub(crate) fn umask(text: &str) -> Result<(), String> {
    match u32::from_str_radix(text, 8) {
        Ok(mask) if mask <= 0o777 && !text.is_empty() && text.len() <= 5 => Ok(()),
        _ => Err(format!("expected an octal mask from \"0000\" to \"0777\", found {text:?}")),
    }
}

/// A list whose first entry, the program, is an absolute path or a bare name.
pub(crate) fn command(argv: &[String]) -> Result<(), String> {
    match argv.first() {
        Some(program) if program.trim().is_empty() => Err("the program's name is blank".into()),
        Some(program) if program.contains('/') && !program.starts_with('/') => {
            Err(format!("expected an absolute path or the bare name of a program, found {program:?}"))
        }
        _ if argv.iter().any(|argument| argument.contains('\0')) => Err("an argument holds a NUL byte".into()),
        _ => Ok(()),
    }
}

/// An absolute path.
pub(crate) fn absolute(path: &str) -> Result<(), String> {
    if path.starts_with('/') { Ok(()) } else { Err(format!("expected an absolute path, found {path:?}")) }
}

/// A path that stays below the workspace.
pub(crate) fn relative(path: &str) -> Result<(), String> {
    let down = std::path::Path::new(path)
        .components()
        .all(|part| matches!(part, std::path::Component::Normal(_) | std::path::Component::CurDir));
    if down && !path.trim().is_empty() {
        Ok(())
    } else {
        Err(format!("expected a path relative to the workspace, without \"..\", found {path:?}"))
    }
}

/// One word of letters, digits and hyphens.
pub(crate) fn word(text: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !text.is_empty() && text.len() <= 64 && text.chars().all(fits) {
        Ok(())
    } else {
        Err(format!("expected one word of letters and digits, found {text:?}"))
    }
}

/// US dollars.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "checks are given what they look at")]
pub(crate) fn price(dollars: &f64) -> Result<(), String> {
    if (0.0..=1_000_000.0).contains(dollars) { Ok(()) } else { Err("expected a number from 0 to 1000000".into()) }
}

/// Names of hosts.
pub(crate) fn domains(names: &[String]) -> Result<(), String> {
    names.iter().try_for_each(|name| domain(name).map(drop))
}

/// The name of a host as resolvers write it: in lower case, international names in ASCII, without a dot at the end.
pub(crate) fn domain(name: &str) -> Result<String, String> {
    let wrong = || format!("expected the name of a host alone, such as \"example.org\", found {name:?}");
    let name = name.trim().trim_end_matches('.');
    if name.chars().any(|c| matches!(c, '/' | '\\' | ':' | '@' | '?' | '#' | '*') || c.is_whitespace()) {
        return Err(wrong());
    }
    let url = reqwest::Url::parse(&format!("https://{name}/")).map_err(|_| wrong())?;
    // An address is no name, and a name without a dot is a whole top-level domain.
    url.domain().filter(|name| name.contains('.')).map(str::to_owned).ok_or_else(wrong)
}

/// What must hold between keys: the key to change, and why.
pub(super) fn together(config: &super::Config) -> Vec<(&'static str, String)> {
    let mut wrong = Vec::new();
    let mut check = |holds: bool, key: &'static str, message: &str| {
        if !holds {
            wrong.push((key, message.to_owned()));
        }
    };
    check(config.jobs.max_backoff >= config.jobs.backoff, "jobs.max_backoff", "must not be shorter than jobs.backoff");
    check(
        config.llm.request_timeout <= config.llm.turn_timeout,
        "llm.request_timeout",
        "must not be longer than llm.turn_timeout",
    );
    check(
        config.limits.max_result_chars < config.limits.max_prompt_chars,
        "limits.max_result_chars",
        "must be smaller than limits.max_prompt_chars",
    );
    check(
        config.search.max_results <= config.search.max_total_results,
        "search.max_results",
        "must not be larger than search.max_total_results",
    );
    wrong
}
