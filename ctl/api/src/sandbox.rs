//! Commands and the sandbox that they run in.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the sandbox of this host is, at the moment.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SandboxStatus {
    /// `sandbox.enabled`
    pub enabled: bool,
    /// The backend that new commands run in; none when no backend gives what is required.
    pub backend: Option<String>,
    /// The level of commands of jobs.
    pub level: String,
    /// Every guarantee.
    pub guarantees: Vec<GuaranteeStatus>,
    /// The backends that were not taken, with the reasons.
    pub refused: Vec<Refusal>,
    /// Every backend there is, best first, taken or not.
    #[serde(default)]
    pub backends: Vec<BackendStatus>,
    /// Why no command can run, and what to do.
    pub problem: Option<String>,
    /// The Landlock ABI that is in use; 0: none.
    pub landlock_abi: u32,
    /// The egress proxy as it was last seen, at the level `work+net`.
    pub egress: Option<EgressStatus>,
    /// Sessions that are open.
    pub sessions: usize,
}

/// The only way out of a sandbox of level `work+net`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EgressStatus {
    /// Whether it gave a session a token.
    pub answers: bool,
    /// Where it is; or why it gave none, and what to do.
    pub detail: String,
}

/// What was last seen of the sandbox; nothing is tried out for it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SandboxBrief {
    /// `sandbox.enabled`
    pub enabled: bool,
    /// The level of commands of jobs.
    pub level: String,
    /// When a session was last opened under the present configuration; none has been when unset.
    pub seen_at: Option<Timestamp>,
    /// The backend that it was opened with; none when no backend gave what is required.
    pub backend: Option<String>,
    /// The backends that were not taken, with the reasons.
    pub refused: Vec<Refusal>,
    /// Why no command can run, and what to do.
    pub problem: Option<String>,
    /// The egress proxy as it was last seen, at the level `work+net`.
    pub egress: Option<EgressStatus>,
}

/// One guarantee.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct GuaranteeStatus {
    /// `read`, `write`, `network`, `unix_sockets`, `ipc`, `signals`, `resources` or `syscalls`.
    pub name: String,
    /// Whether `sandbox.require` names it.
    pub required: bool,
    /// Whether it is given.
    pub given: bool,
    /// By what it is given, or why it is not.
    pub reason: String,
}

/// What one backend of this host gives at the level of commands of jobs.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BackendStatus {
    pub backend: String,
    /// Every guarantee; none where it could not be asked.
    pub guarantees: Vec<GuaranteeStatus>,
    /// Why no command would run in it, and what to do.
    pub problem: Option<String>,
}

/// A backend that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Refusal {
    pub backend: String,
    /// What is lacking, and what to do.
    pub reason: String,
}

/// What came of trying to break out of the sandbox.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SandboxTest {
    pub sandbox: SandboxStatus,
    /// The level that was tried.
    pub level: String,
    pub attempts: Vec<Attempt>,
}

/// One attempt.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Attempt {
    pub name: String,
    /// The guarantee that it is about; none for ordinary work that must be possible.
    pub guarantee: Option<String>,
    /// `denied` or `works`.
    pub expect: String,
    /// `denied`, `allowed`, `works`, `failed`, `absent`, `broken`, `crashed` or `hung`.
    pub outcome: String,
    pub detail: String,
    /// Whether it came out as it should; one that had nothing to be tried on counts as good.
    pub good: bool,
}

/// How a command ended.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CommandResult {
    /// Its exit code; none when a signal ended it.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    /// Bytes of standard output that are not in `stdout`.
    pub stdout_omitted_bytes: u64,
    /// Bytes of standard error that are not in `stderr`.
    pub stderr_omitted_bytes: u64,
    pub duration_ms: u64,
    /// Whether its time was over.
    pub timed_out: bool,
    /// `exited`, `timed_out`, `cancelled`, `out_of_memory`, `too_many_processes` or `too_much_output`.
    pub outcome: String,
    /// Processor time of all its processes, in milliseconds.
    pub cpu_ms: u64,
    /// Largest resident memory of one of its processes, in bytes.
    pub peak_bytes: u64,
    /// What was refused to it while it ran.
    pub denials: Vec<Denied>,
    /// The backend that it ran in.
    pub isolation_mode: String,
    /// Twelve hexadecimal digits.
    pub run_id: String,
}

/// An action that a layer of the sandbox refused.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Denied {
    /// `seccomp`, `landlock`, `proxy`, `mount` or `limit`.
    pub layer: String,
    /// The system call, path or host.
    pub target: String,
    /// The rule that refused it.
    pub rule: String,
    /// What would allow it, if anything would.
    pub suggestion: Option<String>,
    pub count: u64,
}

/// The media type of a command's output while it runs: chunks with a header of eight bytes, [`StreamKind`], three
/// zeros and the length as `u32` in network order, as container engines multiplex theirs.
pub const STREAM_MEDIA: &str = "application/vnd.docker.multiplexed-stream";

/// What a chunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum StreamKind {
    Stdout = 1,
    Stderr = 2,
    /// The last one: a [`CommandEnd`] as JSON.
    End = 3,
}

/// The header of a chunk of `length` bytes.
pub fn stream_header(kind: StreamKind, length: usize) -> [u8; 8] {
    let [a, b, c, d] = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    [kind as u8, 0, 0, 0, a, b, c, d]
}

/// What a header says: the kind and the length of the chunk; `None` for what is no header.
pub fn read_stream_header(header: [u8; 8]) -> Option<(StreamKind, usize)> {
    let [kind, 0, 0, 0, a, b, c, d] = header else { return None };
    let kind = match kind {
        1 => StreamKind::Stdout,
        2 => StreamKind::Stderr,
        3 => StreamKind::End,
        _ => return None,
    };
    Some((kind, usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?))
}

/// How a command ended whose output was streamed.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct CommandEnd {
    /// Its exit code; none when a signal ended it or nobody knows.
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
    /// As in [`CommandResult`]; empty when nobody knows.
    pub outcome: String,
    pub duration_ms: u64,
    pub cpu_ms: u64,
    pub peak_bytes: u64,
    pub denials: Vec<Denied>,
    pub isolation_mode: String,
    /// Why nobody knows how it ended.
    pub error: Option<String>,
}

/// A command or a script of the workspace that a person runs, with a transcript.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScriptRequest {
    /// A script of the workspace; without `command` its ending says what runs it.
    #[serde(default)]
    pub path: Option<String>,
    /// The program and its arguments.
    #[serde(default)]
    pub command: Vec<String>,
    /// A directory of the workspace; the script's own unless given, else the workspace itself.
    #[serde(default)]
    pub workdir: Option<String>,
    /// Seconds until it is ended; `sandbox.default_timeout_seconds` unless given.
    #[serde(default)]
    pub timeout_seconds: Option<u64>,
}

/// What became of it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ScriptReply {
    /// The transcript.
    pub file: crate::workspace::Entry,
    /// None when it could not be run.
    pub result: Option<CommandResult>,
    pub command: Vec<String>,
    pub workdir: String,
    /// Why it could not be run, or why nobody knows what became of it.
    pub error: Option<String>,
}
