//! What the daemon's own program says about its files. It runs as the calling user and changes nothing.

use std::{
    env,
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    process::Command,
};

use assistant_api::config::Settings;

use crate::exit::{Code, Failure, Result};

/// What `assistantd --check` said.
pub struct Checked {
    pub code: Code,
    output: String,
}

impl Checked {
    /// Whether the configuration is good.
    pub fn ok(&self) -> bool {
        self.code == Code::Ok
    }

    /// Its words.
    pub fn message(&self) -> String {
        self.output.trim_end().to_owned()
    }
}

/// The daemon's program: beside this one, else in `$PATH`.
pub fn find() -> Result<PathBuf> {
    let beside = env::current_exe().ok().and_then(|own| Some(own.parent()?.join("assistantd")));
    let path = env::var_os("PATH").unwrap_or_default();
    let places = env::split_paths(&path).map(|dir| dir.join("assistantd"));
    beside.into_iter().chain(places).find(|place| place.is_file()).ok_or_else(|| {
        Failure::new(Code::NotFound, "the program assistantd is neither beside assistantctl nor in $PATH")
            .hint("install the package assistant, or add its directory to $PATH")
    })
}

fn run<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Result<(std::process::Output, PathBuf)> {
    let program = find()?;
    let output = Command::new(&program).args(arguments).output();
    let output = output.map_err(|err: io::Error| Failure::file("running", &program, &err))?;
    Ok((output, program))
}

/// Checks the configuration: the daemon's own, or another file with its `conf.d`.
pub fn check(config: Option<&Path>) -> Result<Checked> {
    let mut arguments = vec![OsStr::new("--check")];
    if let Some(config) = config {
        arguments.extend([OsStr::new("--config"), config.as_os_str()]);
    }
    checked(arguments)
}

fn checked(arguments: Vec<&OsStr>) -> Result<Checked> {
    let (output, _) = run(arguments)?;
    let code = match output.status.code() {
        Some(0) => Code::Ok,
        Some(64) => Code::Usage,
        Some(78) => Code::Config,
        _ => Code::Failed,
    };
    let text = [output.stdout, output.stderr].concat();
    Ok(Checked { code, output: String::from_utf8_lossy(&text).into_owned() })
}

/// Checks the configuration of the packaged service, with the variables that the service manager gives it.
pub fn check_service(config: &Path, variables: Option<&Path>) -> Result<Checked> {
    let mut arguments = vec![OsStr::new("--check"), OsStr::new("--config"), config.as_os_str()];
    if let Some(variables) = variables {
        arguments.extend([OsStr::new("--environment"), variables.as_os_str()]);
    }
    checked(arguments)
}

/// The configuration as the files have it.
pub fn show() -> Result<Settings> {
    let (output, program) = run(["--show-config", "--output", "json"])?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        let first = message.lines().next().unwrap_or_default().trim_start_matches("error: ");
        return Err(Failure::new(Code::Config, first).hint("assistantctl config check says more"));
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|err| Failure::new(Code::Failed, format!("{} says what cannot be read: {err}", program.display())))
}
