//! The variables of a command: ours, made from nothing, and those of the frame that change nothing that we rely on.

use std::{collections::BTreeMap, ffi::CString};

use assistant_sandbox::protocol::{Login, PROXY_PORT};

/// Where programs are looked for, unless the frame says otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Variables that name a place below the session's temporary directory.
const PLACES: [(&str, &str); 4] =
    [("TMPDIR", ""), ("HOME", "/home"), ("PIP_CACHE_DIR", "/cache/pip"), ("NPM_CONFIG_CACHE", "/cache/npm")];

const OURS: [(&str, &str); 6] = [
    ("PATH", PATH),
    ("LANG", "C.UTF-8"),
    ("USER", "work"),
    // What one session leaves may bear another uid in the next.
    ("GIT_CONFIG_COUNT", "1"),
    ("GIT_CONFIG_KEY_0", "safe.directory"),
    ("GIT_CONFIG_VALUE_0", "*"),
];

/// What programs read to find a proxy, each in its own way: most the small letters, some the large ones.
const PROXIES: [&str; 4] = ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"];

const BESIDE_PROXIES: [(&str, &str); 4] = [
    ("no_proxy", "localhost,127.0.0.1,::1"),
    ("NO_PROXY", "localhost,127.0.0.1,::1"),
    // git would ask without the secret first, and be refused.
    ("GIT_HTTP_PROXY_AUTHMETHOD", "basic"),
    // From version 22.21 on node reads the others too, if this is set.
    ("NODE_USE_ENV_PROXY", "1"),
];

/// Beginnings of names that a frame may not set: of the loader, the C library, git, and shell functions.
const FORBIDDEN_BEGINNINGS: [&str; 5] = ["LD_", "GIT_", "GLIBC_", "MALLOC_", "BASH_FUNC_"];

/// Names that a frame may not set: they run code or move files before the program that was asked for begins.
const FORBIDDEN: [&str; 21] = [
    "BASH_ENV",
    "BASHOPTS",
    "ENV",
    "GCONV_PATH",
    "HOME",
    "HOSTALIASES",
    "IFS",
    "LOCPATH",
    "NLSPATH",
    "NODE_OPTIONS",
    "PERL5LIB",
    "PERL5OPT",
    "PROMPT_COMMAND",
    "PS4",
    "PYTHONHOME",
    "PYTHONSTARTUP",
    "RESOLV_HOST_CONF",
    "RES_OPTIONS",
    "RUBYOPT",
    "SHELLOPTS",
    "TMPDIR",
];

/// Where a command finds the proxy.
pub(crate) fn proxies(login: Option<&Login>) -> Result<BTreeMap<String, String>, String> {
    let login = match login {
        Some(Login(text)) if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%:".contains(&byte)) => {
            format!("{text}@")
        }
        Some(_) => return Err("proxy_login: not a name and a secret as in a URL".to_owned()),
        None => String::new(),
    };
    let url = format!("http://{login}127.0.0.1:{PROXY_PORT}");
    let beside = BESIDE_PROXIES.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Ok(PROXIES.iter().map(|name| ((*name).to_owned(), url.clone())).chain(beside).collect())
}

/// All variables as `execve` takes them, or why the frame's are refused.
pub(crate) fn variables(extra: &BTreeMap<String, String>, tmp: &str) -> Result<BTreeMap<String, String>, String> {
    let places = PLACES.iter().map(|(name, below)| ((*name).to_owned(), format!("{tmp}{below}")));
    let ours = OURS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let mut all: BTreeMap<String, String> = places.chain(ours).collect();
    for (name, value) in extra {
        let sound = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !sound || name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(format!("env: `{name}` is not a name: letters, digits and underscores only"));
        }
        if FORBIDDEN.contains(&name.as_str()) || FORBIDDEN_BEGINNINGS.iter().any(|start| name.starts_with(start)) {
            return Err(format!("env: {name} is set by the sandbox alone: it could run or load something else"));
        }
        if value.contains('\0') {
            return Err(format!("env: the value of {name} contains a NUL"));
        }
        all.insert(name.clone(), value.clone());
    }
    Ok(all)
}

/// Paths at which to look for a program, first to last.
pub(crate) fn candidates(program: &str, variables: &BTreeMap<String, String>) -> Result<Vec<CString>, String> {
    let text = |path: String| CString::new(path).map_err(|_| "argv: the program contains a NUL".to_owned());
    if program.is_empty() {
        return Err("argv: the program is empty".to_owned());
    }
    if program.contains('/') {
        return Ok(vec![text(program.to_owned())?]);
    }
    let path = variables.get("PATH").map_or(PATH, String::as_str);
    path.split(':').filter(|dir| dir.starts_with('/')).map(|dir| text(format!("{dir}/{program}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, value: &str) -> Result<BTreeMap<String, String>, String> {
        variables(&BTreeMap::from([(name.to_owned(), value.to_owned())]), "/tmp")
    }

    #[test]
    fn a_frame_adds_but_does_not_take_over() {
        let all = of("LANG", "de_DE.UTF-8").unwrap();
        assert_eq!(all["LANG"], "de_DE.UTF-8");
        assert_eq!(all["HOME"], "/tmp/home");
        for name in ["LD_PRELOAD", "BASH_ENV", "ENV", "GIT_SSH_COMMAND", "GIT_DIR", "HOME", "", "1A", "A B", "A=B"] {
            assert!(of(name, "x").is_err(), "{name}");
        }
        assert!(of("A", "x\0y").is_err());
    }

    #[test]
    fn programs_are_told_of_the_proxy() {
        let all = proxies(Some(&Login("job:0a1b".to_owned()))).unwrap();
        assert_eq!(all["https_proxy"], "http://job:0a1b@127.0.0.1:3128");
        assert_eq!(all["HTTP_PROXY"], all["http_proxy"]);
        assert_eq!(proxies(None).unwrap()["http_proxy"], "http://127.0.0.1:3128");
        for unsound in ["job:a@evil.example", "a b", "a/b", "ä"] {
            assert!(proxies(Some(&Login(unsound.to_owned()))).is_err(), "{unsound}");
        }
    }

    #[test]
    fn programs_are_looked_for_in_absolute_directories() {
        let all = of("PATH", ".:/a::b:/c").unwrap();
        assert_eq!(candidates("x", &all).unwrap(), [c"/a/x".to_owned(), c"/c/x".to_owned()]);
        assert_eq!(candidates("./x", &all).unwrap(), [c"./x".to_owned()]);
        assert!(candidates("", &all).is_err());
    }
}
