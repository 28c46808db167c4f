//! The daemon's own programs: they read what strangers wrote, so they run behind the same walls as commands of jobs, also
//! where jobs may run none. They get nothing but their standard input, whatever the level of jobs is; one that fetches
//! something gets as much of the network as commands of jobs do.

use std::{
    io::{Seek as _, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use assistant_sandbox::protocol::{End, Exec, Level};
use tokio::sync::{Semaphore, mpsc};

use super::{Done, Ended, Input, Output, backend::Wanted, begin, chosen, reach_egress, run};
use crate::{
    cx::Cx,
    error::{Error, ErrorKind, Result},
};

/// Bytes of input that are read at once.
const BLOCK: usize = 64 << 10;
/// Bytes of what it says on standard error that are kept.
const SAID: usize = 2000;
/// Memory of one.
const MEMORY: u64 = 1 << 30;
const PROCESSES: u64 = 64;
/// How many run at a time.
static AT_A_TIME: Semaphore = Semaphore::const_new(4);

/// A program of the system, to be run on one input.
pub struct Program {
    /// What it is called when something is wrong with it.
    pub name: String,
    /// The program and its arguments.
    pub argv: Vec<String>,
    pub seconds: u64,
    /// Bytes of its output.
    pub output_bytes: u64,
    /// Whether it may reach what the egress proxy lets jobs reach.
    pub reaches: bool,
}

/// Runs a program at level `read`, or `work+net` if it `reaches`, with a file as its standard input. Its output is a file without a name, at its
/// beginning: nothing is left of it when it is closed.
///
/// # Errors
/// `not_found` when the program is not installed; `unavailable` when no sandbox can be had; `invalid` with what it said
/// last when it failed, took too long or said too much.
pub async fn apart(cx: &Cx, program: Program, input: std::fs::File) -> Result<std::fs::File> {
    let name = program.name.clone();
    let (feed, stdin) = mpsc::channel(4);
    let (said, mut heard) = mpsc::channel(16);
    let directory = cx.state_dir.clone();
    drop(tokio::task::spawn_blocking(move || feed_all(&input, &feed))); // ends with the program
    let listening = tokio::task::spawn_blocking(move || -> Result<_> {
        let mut file = tempfile::tempfile_in(directory).map_err(unwritten)?;
        let mut complaint = Vec::new();
        while let Some(output) = heard.blocking_recv() {
            match output {
                Output::Stdout(bytes) => file.write_all(&bytes).map_err(unwritten)?,
                Output::Stderr(bytes) => {
                    complaint.extend_from_slice(&bytes[..bytes.len().min(SAID.saturating_sub(complaint.len()))]);
                }
                Output::Started => {}
            }
        }
        file.rewind().map_err(unwritten)?;
        Ok((file, String::from_utf8_lossy(&complaint).trim().to_owned()))
    });
    let ended = exec(cx, &program, stdin, said).await;
    let (file, complaint) = listening.await.map_err(Error::internal)??;
    let exit = match ended?.ended {
        Ended::Exited(exit) => exit,
        Ended::Refused(refused) if refused.kind == "not_found" => {
            return Err(Error::new(ErrorKind::NotFound, format!("the program {name} is not installed")));
        }
        Ended::Refused(refused) => return Err(Error::unavailable(refused.message)),
    };
    let failed = |why: String| Err(Error::invalid(format!("{name} {why}")));
    match (exit.end, exit.code) {
        (End::Exited, Some(0)) => Ok(file),
        (End::Exited, code) => {
            let code = code.map_or_else(|| "was ended by a signal".to_owned(), |code| format!("ended with {code}"));
            let last = complaint.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
            failed(if last.is_empty() { code } else { format!("{code}: {last}") })
        }
        (End::TimedOut, _) => failed(format!("took longer than {} s", program.seconds)),
        (End::OutOfMemory, _) => failed(format!("wanted more than {} MB of memory", MEMORY >> 20)),
        (End::TooMuchOutput, _) => failed(format!("gave more than {} bytes", program.output_bytes)),
        (End::TooManyProcesses, _) => failed("started too many processes".to_owned()),
        (End::Cancelled, _) => failed("was ended".to_owned()),
    }
}

/// Until the program takes no more.
fn feed_all(input: &std::fs::File, feed: &mpsc::Sender<Input>) {
    let (mut block, mut at) = (vec![0; BLOCK], 0);
    while let Ok(length @ 1..) = input.read_at(&mut block, at) {
        at += length as u64;
        if feed.blocking_send(Input::Stdin(block[..length].to_vec())).is_err() {
            return;
        }
    }
    let _ = feed.blocking_send(Input::End); // it has ended already
}

async fn exec(cx: &Cx, program: &Program, input: mpsc::Receiver<Input>, output: mpsc::Sender<Output>) -> Result<Done> {
    let all = cx.config.load_full();
    let config = &all.sandbox;
    let most = super::limits(config);
    let mut limits = most;
    limits.seconds = program.seconds.min(most.seconds);
    limits.memory_bytes = MEMORY.min(most.memory_bytes);
    limits.processes = PROCESSES.min(most.processes);
    limits.output_bytes = program.output_bytes.min(most.output_bytes);
    let level = if program.reaches { Level::WorkNet } else { Level::Read };
    let env = [("LANG".to_owned(), "C.UTF-8".to_owned())].into();
    let exec =
        Exec { argv: program.argv.clone(), cwd: String::new(), env, stdin: true, level, limits, proxy_login: None };
    let sessions = &cx.process.sandbox;
    // Not one of the sessions of jobs: a job may hold the last of those and wait for this.
    let _slot = AT_A_TIME.acquire().await.map_err(Error::internal)?;
    let root = cx.root()?;
    let mut egress = reach_egress(cx, config, None, level).await?;
    let known = chosen(cx).ok().filter(|backend| backend.is_started_here());
    let (backend, mut session) = match known {
        None => sessions.choices.open(&cx.clock, root.path(), config, level, false).await?,
        // Where the daemon says what stands in the workspace's place, that is an empty directory.
        Some(backend) => {
            let nothing = nothing(&cx.state_dir).await?;
            let session = begin::begin(backend, &nothing, config, level).await?;
            Wanted::of(config, &nothing, level)?.check(&session.ready)?;
            (backend, session)
        }
    };
    if let Some(egress) = &egress {
        egress.grant(config, &session.ready).await?;
    }
    let ended = run(cx, &mut session, egress.as_mut(), &exec, input, output).await?;
    Ok(Done { backend, ended })
}

/// A directory with nothing in it.
async fn nothing(state_dir: &Path) -> Result<PathBuf> {
    let path = state_dir.join("nothing");
    let made = path.clone();
    tokio::task::spawn_blocking(move || std::fs::create_dir_all(made))
        .await
        .map_err(Error::internal)?
        .map_err(unwritten)?;
    Ok(path)
}

fn unwritten(err: std::io::Error) -> Error {
    Error::unavailable("the state directory cannot be written").source(err)
}
