//! What the probe is by itself, and what of it does not fit into one command.

use std::{os::unix::process::CommandExt as _, process::Command};

use assistant_sandbox::protocol::{End, Exec};

use crate::{
    PROBE,
    client::{NOBODY, Session, Starter, each, exec, starters},
    matrix::{LIMITS, furnish},
};

/// They need a command each, which is ended as a whole.
#[test]
fn what_is_too_much_only_together_ends_the_command() {
    each(|starter, workspace| {
        furnish(workspace);
        let mut session = Session::start(starter, workspace, &[]);
        let limits = serde_json::to_string(&LIMITS).unwrap();
        for probe in [
            "memory-bomb-by-children",
            "memory-bomb-by-memory-files",
            "memory-bomb-by-shared-maps",
            "memory-bomb-by-segments",
        ] {
            let argv = ["/workspace/probe", "--i-am-confined", "--limits", &limits, "--only", probe];
            let done = session.run(&Exec { limits: LIMITS, ..exec(&argv) }).unwrap();
            assert_eq!(done.exit.end, End::OutOfMemory, "{probe}: {}", done.all());
            assert_eq!(session.sh("sleep 0.6; echo free").text(), "free\n", "{probe} leaves memory behind");
        }
    });
}

/// What is expected of each probe at each level, as a file that shows in a review what is no longer asked for.
#[test]
fn what_is_expected_is_written_down() {
    let mut table =
        String::from("# probe, what must become of it at the levels read, work, work-net, and what a refusal shows\n");
    let at = |level: &str| {
        let output = Command::new(PROBE).args(["--list", "--level", level]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let columns = |line: &str| line.split_whitespace().take(3).map(str::to_owned).collect::<Vec<_>>();
        text.lines().map(columns).collect::<Vec<_>>()
    };
    for ((read, work), net) in at("read").into_iter().zip(at("work")).zip(at("work-net")) {
        table += &[read[0].as_str(), &read[1], &work[1], &net[1], &work[2]].join(" ");
        table.push('\n');
    }
    let written = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/expectations.txt");
    if std::env::var_os("WRITE_EXPECTATIONS").is_some() {
        std::fs::write(&written, &table).unwrap();
    }
    assert!(
        std::fs::read_to_string(&written).unwrap_or_default() == table,
        "the probes have changed; run with WRITE_EXPECTATIONS=1 to write {} anew",
        written.display()
    );
}

/// The same without this harness, for whoever has a runner's socket or a runner.
#[test]
fn it_conducts_itself() {
    each(|starter, workspace| {
        furnish(workspace);
        // The copy that is in the workspace already: any user may start it.
        let mut command = Command::new(workspace.join("probe"));
        command.args(["conduct", "--probe", "/workspace/probe", "--only", "read-file-outside", "--only", "threads"]);
        command.arg("--").arg(workspace.runner()).args(["serve", "--backend", "namespace", "--workspace"]);
        command.arg(workspace.path());
        if starter == Starter::Root {
            command.args(["--uid", "65534", "--gid", "65534"]);
        } else if starters().contains(&Starter::Root) {
            command.uid(NOBODY).gid(NOBODY);
        }
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains("\ndenied    read-file-outside "), "{text}");
        assert!(text.contains("2 attempts, 0 wrong"), "{text}");
    });
}
