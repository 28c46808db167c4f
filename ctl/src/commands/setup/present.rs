//! What stands before anything is changed.

use std::time::Duration;

use assistant_api::{config::Settings, login::WebStatus, secrets::SecretName, status::Status};
use nix::unistd::{Group, User};
use serde_json::Value;

use crate::{
    Cx,
    commands::config::{daemon, drop_in::DropIn},
    credstore::Credstore,
    exit::Result,
};

/// How long the daemon has to say what stands.
const PATIENCE: Duration = Duration::from_secs(3);

/// May use the API.
pub const USERS: &str = "assistant-users";
/// May do everything there.
pub const ADMIN: &str = "assistant-admin";
/// Owns the files of the workspace.
pub const WORK: &str = "assistant-work";

/// What stands.
#[derive(Default)]
pub struct Present {
    /// Every key that the daemon knows, with its value in force.
    pub settings: Settings,
    /// The file that this command writes, as origins name it.
    pub file: String,
    /// The secrets that are stored, or that the daemon has.
    pub secrets: Vec<SecretName>,
    /// Whether the daemon has not started since one was stored.
    pub unseen: bool,
    /// Whether a new secret can be stored here.
    pub stores: bool,
    /// Where the network can reach the daemon, which has no password for people yet.
    pub unlocked: Option<String>,
    /// Who is to be let in.
    pub user: Option<String>,
    /// The groups that are here, and whether that user is in them.
    pub groups: Vec<(&'static str, bool)>,
}

impl Present {
    /// Asks the daemon, or its program when none runs.
    pub async fn find(cx: &Cx, file: &DropIn, credstore: Option<&Credstore<'_>>, user: Option<String>) -> Result<Self> {
        // Where the service does not start, its socket still takes requests and nobody answers.
        let ask = |path| cx.client.request("GET", path).timeout(Some(PATIENCE));
        let settings = match ask("/api/config").fetch::<Settings>().await {
            Ok(settings) => settings,
            Err(_) => daemon::show()?,
        };
        let status = ask("/api/status").fetch::<Status>().await.ok();
        let has = |name: &SecretName| {
            let stored = credstore.is_some_and(|store| store.stored(*name).is_ok_and(|at| at.is_some()));
            let mut known = status.iter().flat_map(|status| &status.secrets);
            stored || known.any(|state| state.name == name.credential() && state.source.is_some())
        };
        let unseen = credstore.is_some_and(|store| {
            let started = status.as_ref().map(|status| status.started_at);
            SecretName::ALL.iter().filter_map(|name| store.stored(*name).ok()?).any(|at| Some(at) > started)
        });
        let listening = status.iter().flat_map(|status| &status.listening);
        let mut beyond = listening.filter(|one| !matches!(one.reach.as_str(), "socket" | "loopback"));
        let unlocked = match beyond.next() {
            Some(one) => {
                let web = ask("/api/web").fetch::<WebStatus>().await;
                web.is_ok_and(|web| web.password_set_at.is_none()).then(|| one.address.clone())
            }
            None => None,
        };
        let groups = [USERS, ADMIN, WORK];
        Ok(Self {
            settings,
            file: file.path().display().to_string(),
            secrets: SecretName::ALL.iter().copied().filter(has).collect(),
            unseen,
            stores: credstore.is_some(),
            unlocked,
            groups: groups.into_iter().filter_map(|name| Some((name, member(name, user.as_deref())?))).collect(),
            user,
        })
    }

    /// The texts of a list in force.
    pub fn list(&self, key: &str) -> Vec<String> {
        let setting = self.settings.settings.iter().find(|setting| setting.key == key);
        let items = setting.and_then(|setting| setting.value.as_array()).into_iter().flatten();
        items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
    }

    /// The value in force, if the key is set.
    pub fn value(&self, key: &str) -> Option<String> {
        let setting = self.settings.settings.iter().find(|setting| setting.key == key)?;
        match &setting.value {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }

    /// Where the value in force came from.
    pub fn origin(&self, key: &str) -> &str {
        let found = self.settings.settings.iter().find(|setting| setting.key == key);
        found.map_or("default", |setting| &setting.origin)
    }

    /// Whether this command wrote the value in force.
    pub fn is_ours(&self, key: &str) -> bool {
        self.origin(key).strip_prefix(&self.file).is_some_and(|line| line.starts_with(':'))
    }

    /// What keeps a key from what this command would write: the environment, or a file that comes later.
    pub fn overridden(&self, key: &str) -> Option<&str> {
        let origin = self.origin(key);
        if origin.starts_with("environment ") {
            return Some(origin);
        }
        let (dir, ours) = self.file.rsplit_once('/')?;
        let name = origin.strip_prefix(dir)?.strip_prefix('/')?.split(':').next()?;
        (name > ours).then_some(origin)
    }
}

/// Whether a user is in a group; null when there is no such group.
fn member(group: &str, user: Option<&str>) -> Option<bool> {
    let group = Group::from_name(group).ok()??;
    let listed = user.is_some_and(|user| group.mem.iter().any(|member| member == user));
    let primary = || Some(User::from_name(user?).ok()??.gid == group.gid);
    Some(listed || primary().unwrap_or(false))
}
