//! Which daemon is meant.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

/// Where the packaged daemon listens.
pub const SYSTEM: &str = "/run/assistant/api.sock";

/// The socket: the one that was named, else the system's if it is there, else the one of a daemon that this user
/// started by hand.
pub fn find(named: Option<PathBuf>) -> PathBuf {
    named.unwrap_or_else(|| choose(&places(|name| env::var_os(name)), Path::exists))
}

/// Every place where a daemon may listen, best first.
fn places(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let runtime = absolute("XDG_RUNTIME_DIR").map(|dir| dir.join("assistant/api.sock"));
    let state = absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .map(|dir| dir.join("assistant/run/api.sock"));
    [Some(SYSTEM.into()), runtime, state].into_iter().flatten().collect()
}

fn choose(places: &[PathBuf], exists: impl Fn(&Path) -> bool) -> PathBuf {
    let found = places.iter().find(|place| exists(place)).or_else(|| places.first());
    found.cloned().unwrap_or_else(|| SYSTEM.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_is_there_is_taken() {
        let set = |name: &str| match name {
            "XDG_RUNTIME_DIR" => Some("/run/user/7".into()),
            "HOME" => Some("/home/u".into()),
            _ => None,
        };
        let places = places(set);
        let expected = [SYSTEM, "/run/user/7/assistant/api.sock", "/home/u/.local/state/assistant/run/api.sock"];
        assert_eq!(places, expected.map(PathBuf::from));
        for place in &places {
            assert_eq!(choose(&places, |path| path == place), *place);
        }
        assert_eq!(choose(&places, |_| false), Path::new(SYSTEM));
        assert_eq!(choose(&super::places(|_| Some("relative".into())), |_| false), Path::new(SYSTEM));
    }
}
