//! `[api]`

use crate::config::{
    section::section,
    value::{Bytes, Seconds},
};

section! {
    /// The API on the Unix socket.
    pub struct Api = "api" {
        /// Members of this group may look, but change nothing. Unset: nobody.
        viewer_group: Option<String> = None;
        /// Members of this group may use the API.
        operator_group: String = "assistant-users".into();
        /// Members of this group may also administer it.
        admin_group: String = "assistant-admin".into();
        /// Bytes of one upload; 0 = no limit.
        max_upload_bytes: Bytes = Bytes(524_288_000), env "AGENT_API_MAX_UPLOAD_BYTES";
        /// Connections at the same time.
        max_connections: u32 = 512, in 1..=65_536;
        /// Time to send the whole request head.
        header_timeout: Seconds = Seconds::new(10), in Seconds::new(1)..=Seconds::new(3600);
        /// Time for one ordinary request.
        request_timeout: Seconds = Seconds::new(60), in Seconds::new(1)..=Seconds::new(3600);
        /// Time without a byte after which an upload or download ends.
        stream_idle_timeout: Seconds = Seconds::new(60), in Seconds::new(1)..=Seconds::new(86400);
        /// Time that open requests get when the daemon stops.
        stop_grace: Seconds = Seconds::new(5), in Seconds::new(0)..=Seconds::new(600);
        /// Serve `/openapi.json`.
        openapi_enabled: bool = false, env "AGENT_API_OPENAPI_ENABLED";
    }
}
