//! Logging in over the network: the password of the dashboard, its sessions, and tokens for programs.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Role;

/// `POST /api/login`: one of these.
#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct LoginRequest {
    pub password: Option<String>,
    /// The token of a link.
    pub once: Option<String>,
}

/// `POST /api/login/links`: what logs one browser in, once, as `#once=TOKEN` at the login page.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct LoginLink {
    /// Shown this once; only its hash is kept.
    pub token: String,
    /// When it ends, if nobody uses it.
    pub expires_at: Timestamp,
}

/// `POST /api/login` and `GET /api/session`: who the caller is.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SessionInfo {
    pub role: Role,
    /// How the caller is named in the journal and in the history of jobs.
    pub caller: String,
    /// Of a session: what has to be sent as `X-CSRF-Token` with every request that changes something.
    pub csrf_token: Option<String>,
    /// When the login ends; absent if it does not.
    pub expires_at: Option<Timestamp>,
    /// Which pages are switched on.
    pub pages: Pages,
}

/// Which pages are switched on: `api.dashboard_enabled`, `api.workspace_enabled`, `api.docs_enabled`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Pages {
    /// `/` and `/admin`.
    pub dashboard: bool,
    /// `/workspace`.
    pub workspace: bool,
    /// `/docs`.
    #[serde(default)]
    pub docs: bool,
}

/// `PUT /api/web/password`
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct PasswordRequest {
    /// At least 12 characters.
    pub password: String,
    /// The password as it is now. Needed over the network, if there is one; on the socket nobody asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub present: Option<String>,
}

/// `GET /api/web`: what there is to log in with.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct WebStatus {
    /// When the password was set; absent if there is none.
    pub password_set_at: Option<Timestamp>,
    /// Browsers that are logged in.
    pub sessions: i64,
    /// Tokens that are good.
    pub tokens: i64,
}

/// `POST /api/tokens`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TokenRequest {
    /// What it is for; no other token has this name.
    pub name: String,
    /// What its holder may do; `operator` unless given.
    pub role: Option<Role>,
    /// Routes it is good for, each `METHOD /path` as in the documentation of the API; a `*` at the end of the path
    /// stands for anything. Empty: all that the role allows.
    #[serde(default)]
    pub allow: Vec<String>,
    /// When it ends; absent: never.
    pub expires_at: Option<Timestamp>,
}

/// A token, without what is secret of it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Token {
    pub id: i64,
    pub name: String,
    pub role: Role,
    pub allow: Vec<String>,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    /// To the hour.
    pub last_used_at: Option<Timestamp>,
}

/// `GET /api/tokens`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TokenList {
    pub tokens: Vec<Token>,
}

/// `POST /api/tokens`
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct NewToken {
    /// Shown this once; only its hash is kept.
    pub secret: String,
    pub token: Token,
}
