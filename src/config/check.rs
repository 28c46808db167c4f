//! What a value must be beyond its type. Each check says what it expected.

/// An IANA zone that the time library knows.
pub(crate) fn zone(name: &String) -> Result<(), String> {
    jiff::tz::TimeZone::get(name)
        .map(drop)
        .map_err(|_| format!("{name:?} is not a known time zone; expected an IANA name such as \"Europe/Berlin\""))
}

/// A log level.
pub(crate) fn level(text: &String) -> Result<(), String> {
    match text.to_ascii_lowercase().as_str() {
        "error" | "warn" | "warning" | "info" | "debug" | "trace" => Ok(()),
        _ => Err(format!("expected error, warn, info, debug or trace, found {text:?}")),
    }
}

/// A provider of models, or unset.
pub(crate) fn provider(name: &Option<String>) -> Result<(), String> {
    const KNOWN: [&str; 5] = ["openai", "openrouter", "anthropic", "ollama", "rehearsal"];
    match name {
        Some(name) if !KNOWN.contains(&name.as_str()) => {
            Err(format!("expected one of {}, found {name:?}", KNOWN.join(", ")))
        }
        _ => Ok(()),
    }
}

/// An absolute http or https address.
pub(crate) fn url(text: &String) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("expected an address such as \"https://host/path\": {why}"));
    match reqwest::Url::parse(text) {
        Err(err) => wrong(&err.to_string()),
        Ok(url) if !matches!(url.scheme(), "http" | "https") => wrong("the scheme is neither http nor https"),
        Ok(url) if url.host_str().is_none_or(str::is_empty) => wrong("it has no host"),
        Ok(_) => Ok(()),
    }
}

/// [`url`], or unset.
pub(crate) fn optional_url(text: &Option<String>) -> Result<(), String> {
    text.as_ref().map_or(Ok(()), url)
}

/// An octal file mode mask.
pub(crate) fn umask(text: &String) -> Result<(), String> {
    match u32::from_str_radix(text, 8) {
        Ok(mask) if mask <= 0o777 && !text.is_empty() && text.len() <= 5 => Ok(()),
        _ => Err(format!("expected an octal mask from \"0000\" to \"0777\", found {text:?}")),
    }
}

/// A list whose first entry, the program, is an absolute path or a bare name.
pub(crate) fn command(argv: &Vec<String>) -> Result<(), String> {
    match argv.first() {
        Some(program) if program.trim().is_empty() => Err("the program's name is blank".into()),
        Some(program) if program.contains('/') && !program.starts_with('/') => {
            Err(format!("expected an absolute path or the bare name of a program, found {program:?}"))
        }
        _ if argv.iter().any(|argument| argument.contains('\0')) => Err("an argument holds a NUL byte".into()),
        _ => Ok(()),
    }
}

/// An absolute path, or unset.
pub(crate) fn optional_absolute(path: &Option<String>) -> Result<(), String> {
    match path {
        Some(path) if !path.starts_with('/') => Err(format!("expected an absolute path, found {path:?}")),
        _ => Ok(()),
    }
}

/// A path that stays below the workspace.
pub(crate) fn relative(path: &String) -> Result<(), String> {
    let down = std::path::Path::new(path)
        .components()
        .all(|part| matches!(part, std::path::Component::Normal(_) | std::path::Component::CurDir));
    if down && !path.trim().is_empty() {
        Ok(())
    } else {
        Err(format!("expected a path relative to the workspace, without \"..\", found {path:?}"))
    }
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
    wrong
}
