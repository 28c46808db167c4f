//! How this user gets at the daemon's socket.

use nix::unistd::{Group, User, geteuid, getgroups};

/// The group that may use the API.
const GROUP: &str = "assistant-users";

/// What to do about a refusal: a membership counts from the next login on.
pub fn way_in() -> String {
    let group = Group::from_name(GROUP).ok().flatten();
    let name = User::from_uid(geteuid()).ok().flatten().map(|user| user.name);
    let in_session = group.as_ref().is_some_and(|group| getgroups().is_ok_and(|groups| groups.contains(&group.gid)));
    say(group.map(|group| group.mem).as_deref(), name.as_deref(), in_session)
}

/// `members` is missing when there is no such group, as where the daemon was started by hand.
fn say(members: Option<&[String]>, name: Option<&str>, in_session: bool) -> String {
    let Some(members) = members else {
        return format!("there is no group {GROUP}: connect as the user who started the daemon, or as root");
    };
    if !in_session && name.is_some_and(|name| members.iter().any(|member| member == name)) {
        return format!("you are in {GROUP}, but not yet in this session: log in again");
    }
    format!("sudo adduser {} {GROUP}, then log in again", name.unwrap_or("$USER"))
}

#[cfg(test)]
mod tests {
    use super::say;

    #[test]
    fn the_way_in_fits_what_there_is() {
        let members = ["ann".to_owned()];
        assert!(say(None, Some("ann"), false).contains("as the user who started the daemon, or as root"));
        assert!(say(Some(&members), Some("ann"), false).ends_with("log in again"));
        assert_eq!(say(Some(&[]), Some("ann"), false), "sudo adduser ann assistant-users, then log in again");
        assert_eq!(say(Some(&[]), None, false), "sudo adduser $USER assistant-users, then log in again");
    }
}
