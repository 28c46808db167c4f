//! Opening the workspace when the daemon starts or its configuration changes.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::Path,
    sync::Arc,
};

use super::config::Filesystem;
use crate::{cx::Cx, root::Root};

/// Opens the configured directory, or `workspace` in the state directory, which is made if it is missing (mode 0770).
///
/// # Errors
/// Why it cannot be used; the daemon runs on without it.
pub fn open_root(config: &Filesystem, state_dir: &Path) -> Result<Root, String> {
    let umask = u32::from_str_radix(config.shared_file_umask.trim_start_matches("0o"), 8)
        .ok()
        .filter(|umask| *umask <= 0o777)
        .ok_or("filesystem.shared_file_umask is not an octal number up to 0777")?;
    let path = if let Some(path) = &config.shared_root {
        Path::new(path).to_owned()
    } else {
        let path = state_dir.join("workspace");
        make(&path)?;
        path
    };
    let shown = config.shared_root.as_deref().unwrap_or("workspace in the state directory");
    let root = Root::open(&path, umask).map_err(|err| {
        let reason = std::error::Error::source(&err).map_or_else(|| err.to_string(), ToString::to_string);
        format!("{shown} cannot be opened: {reason}")
    })?;
    if config.require_mount && !root.is_mount() {
        return Err(format!("{shown} is not a mount point, and filesystem.require_mount is set"));
    }
    Ok(root)
}

/// Opens the workspace of the present configuration and puts it in its place in `cx`, or the reason why it cannot be
/// used.
pub async fn attach(cx: &Cx) {
    let (config, state_dir) = (cx.config.load().filesystem.clone(), cx.state_dir.clone());
    let opened = tokio::task::spawn_blocking(move || open_root(&config, &state_dir)).await;
    match opened.unwrap_or_else(|err| Err(err.to_string())) {
        Ok(root) => {
            cx.root.store(Some(Arc::new(root)));
            cx.root_problem.store(None);
        }
        Err(reason) => {
            tracing::error!(reason, "the workspace cannot be used");
            cx.root_problem.store(Some(Arc::new(reason)));
            cx.root.store(None);
        }
    }
}

fn make(path: &Path) -> Result<(), String> {
    match fs::DirBuilder::new().mode(0o770).create(path) {
        Ok(()) => {
            // Without the set-group-id bit: all of it belongs to our own group anyway, and with it a command could not
            // change the mode of a directory, because that sets the bit again, which the sandbox refuses.
            fs::set_permissions(path, fs::Permissions::from_mode(0o770))
                .map_err(|err| format!("workspace in the state directory cannot be prepared: {err}"))
        }
        Err(err) if err.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(err) => Err(format!("workspace in the state directory cannot be made: {err}")),
    }
}
