//! Where the daemon listens on the network, and where it refuses to: settings x addresses x who opens the socket.
//!
//! All of it happens in a network namespace of its own that has a private and a public address, so that nothing is ever
//! open to anybody.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

/// Starts a daemon for each case of its standard input and tells what became of it.
const SCRIPT: &str = include_str!("exposed.py");

/// What is expected of a start.
enum Then {
    /// It ends with 78 and says this, and nothing was made.
    Refused(&'static [&'static str]),
    /// It listens on these addresses and no other.
    Listens(&'static [&'static str]),
}
use Then::{Listens, Refused};

type Case = (&'static str, &'static [(&'static str, &'static str)], &'static [&'static str], Then);

const HOST: &str = "AGENT_API_BIND_HOST";
const PORT: &str = "AGENT_API_PORT";
const OPEN: (&str, &str) = ("AGENT_API_ALLOW_PUBLIC_BIND", "true");

const NO_LOGIN: (&str, &str) = ("ASSISTANT_API_AUTH", "none");

/// Name, environment, inherited sockets, outcome.
const CASES: &[Case] = &[
    ("nothing is set", &[], &[], Listens(&[])),
    ("a port alone opens nothing", &[(PORT, "9000")], &[], Listens(&[])),
    ("a blank host opens nothing", &[(HOST, ""), (PORT, "9000")], &[], Listens(&[])),
    ("loopback", &[(HOST, "127.0.0.1")], &[], Listens(&["127.0.0.1:8000"])),
    ("another port", &[(HOST, "127.0.0.1"), (PORT, "9000")], &[], Listens(&["127.0.0.1:9000"])),
    ("another loopback address", &[(HOST, "127.7.7.7")], &[], Listens(&["127.7.7.7:8000"])),
    ("loopback of IPv6", &[(HOST, "::1")], &[], Listens(&["[::1]:8000"])),
    ("in brackets", &[(HOST, "[::1]")], &[], Listens(&["[::1]:8000"])),
    ("a private address", &[(HOST, "192.168.77.5")], &[], Listens(&["192.168.77.5:8000"])),
    ("mapped", &[(HOST, "::ffff:192.168.77.5")], &[], Listens(&["[::ffff:192.168.77.5]:8000"])),
    ("a short form of loopback", &[(HOST, "127.1")], &[], Listens(&["127.0.0.1:8000"])),
    ("a name", &[(HOST, "localhost")], &[], Listens(&["127.0.0.1:8000", "[::1]:8000"])),
    ("every address", &[(HOST, "0.0.0.0")], &[], Refused(&["0.0.0.0:8000", "allow_public_bind"])),
    ("zero", &[(HOST, "0")], &[], Refused(&["0.0.0.0:8000"])),
    ("zero in base 16", &[(HOST, "0x0")], &[], Refused(&["0.0.0.0:8000"])),
    ("zeroes", &[(HOST, "00.00.00.00")], &[], Refused(&["0.0.0.0:8000"])),
    ("every address of IPv6", &[(HOST, "::")], &[], Refused(&["[::]:8000"])),
    ("in brackets too", &[(HOST, "[::]")], &[], Refused(&["[::]:8000"])),
    ("spelt out", &[(HOST, "0:0:0:0:0:0:0:0")], &[], Refused(&["[::]:8000"])),
    ("mapped zero", &[(HOST, "::ffff:0.0.0.0")], &[], Refused(&["0.0.0.0"])),
    ("a public address", &[(HOST, "203.0.113.9")], &[], Refused(&["203.0.113.9:8000", "Internet"])),
    ("a public address as a number", &[(HOST, "3405803785")], &[], Refused(&["203.0.113.9:8000"])),
    ("a name of a public address", &[(HOST, "public.test")], &[], Refused(&["203.0.113.9:8000"])),
    ("a name of every address", &[(HOST, "every.test")], &[], Refused(&["0.0.0.0:8000"])),
    ("a name of a private and a public one", &[(HOST, "both.test")], &[], Refused(&["203.0.113.9:8000"])),
    ("a public address of IPv6", &[(HOST, "2001:db8::9")], &[], Refused(&["[2001:db8::9]:8000"])),
    ("a name that means nothing", &[(HOST, "nobody.test")], &[], Refused(&["nobody.test", "api.bind_host"])),
    ("a word", &[(HOST, "no such host")], &[], Refused(&["no such host"])),
    ("every address, and it is meant", &[(HOST, "0.0.0.0"), OPEN], &[], Listens(&["0.0.0.0:8000"])),
    ("every one of IPv6, meant", &[(HOST, "::"), OPEN], &[], Listens(&["[::]:8000"])),
    ("a public address, meant", &[(HOST, "203.0.113.9"), OPEN], &[], Listens(&["203.0.113.9:8000"])),
    (
        "the published host wins",
        &[(HOST, "0.0.0.0"), ("AGENT_API_PUBLISHED_HOST", "127.0.0.1")],
        &[],
        Listens(&["127.0.0.1:8000"]),
    ),
    (
        "the published port wins",
        &[(HOST, "127.0.0.1"), (PORT, "8000"), ("AGENT_API_PUBLISHED_PORT", "9001")],
        &[],
        Listens(&["127.0.0.1:9001"]),
    ),
    (
        "a published host that is public",
        &[(HOST, "127.0.0.1"), ("AGENT_API_PUBLISHED_HOST", "0.0.0.0")],
        &[],
        Refused(&["0.0.0.0:8000"]),
    ),
    ("no login on a private address", &[(HOST, "192.168.77.5"), NO_LOGIN], &[], Refused(&["api.auth", "192.168.77.5"])),
    ("no login on an inherited one", &[NO_LOGIN], &["192.168.77.5:8123"], Refused(&["192.168.77.5:8123"])),
    ("an inherited one", &[], &["127.0.0.1:8123"], Listens(&["127.0.0.1:8123"])),
    ("an inherited private one", &[], &["192.168.77.5:8123"], Listens(&["192.168.77.5:8123"])),
    ("inherited, every address", &[], &["0.0.0.0:8123"], Refused(&["0.0.0.0:8123"])),
    ("inherited, every one of IPv6", &[], &["[::]:8123"], Refused(&["[::]:8123"])),
    ("inherited, public", &[], &["203.0.113.9:8123"], Refused(&["203.0.113.9:8123"])),
    ("one of two is public", &[], &["127.0.0.1:8123", "203.0.113.9:8124"], Refused(&["203.0.113.9:8124"])),
    ("inherited, every address, meant", &[OPEN], &["0.0.0.0:8123"], Listens(&["0.0.0.0:8123"])),
    // Who gives sockets gives all of them; what is configured is still held against the guard.
    ("inherited and configured", &[(HOST, "127.0.0.1")], &["127.0.0.1:8123"], Listens(&["127.0.0.1:8123"])),
    ("inherited and publicly configured", &[(HOST, "0.0.0.0")], &["127.0.0.1:8123"], Refused(&["0.0.0.0:8000"])),
];

fn outcomes(cases: &[&Case]) -> Vec<Value> {
    let cases: Vec<_> = cases
        .iter()
        .map(|(_, environment, inherited, _)| {
            let environment: serde_json::Map<_, _> =
                environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
            json!({ "environment": environment, "inherited": inherited })
        })
        .collect();
    let mut child = Command::new("unshare")
        .args(["--map-root-user", "--net", "--mount", "python3", "-c", SCRIPT, env!("CARGO_BIN_EXE_assistantd")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(serde_json::to_string(&cases).unwrap().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn it_listens_where_it_may_and_nowhere_else() {
    hold(&CASES.iter().collect::<Vec<_>>());
}

/// The cases of these names, every one of them.
fn named(names: &[&str]) -> Vec<&'static Case> {
    let cases: Vec<_> = CASES.iter().filter(|case| names.contains(&case.0)).collect();
    assert_eq!(cases.len(), names.len());
    cases
}

#[test]
fn s3_the_lan_is_reached_by_an_address_that_is_set_and_by_no_other() {
    hold(&named(&["nothing is set", "a port alone opens nothing", "a private address", "an inherited private one"]));
}

#[test]
fn s4_every_spelling_of_all_addresses_and_a_public_one_is_refused() {
    hold(&named(&[
        "every address",
        "zero",
        "every address of IPv6",
        "mapped zero",
        "a name of every address",
        "a public address",
        "a blank host opens nothing",
        "every address, and it is meant",
    ]));
}

#[test]
fn s5_nothing_that_is_shipped_acknowledges_a_public_address() {
    for (name, text) in [
        ("assistant.toml", include_str!("../../config/assistant.toml")),
        ("assistant.default", include_str!("../../debian/assistant.default")),
        ("assistantd.service", include_str!("../../systemd/assistantd.service")),
        ("assistantd-web.socket", include_str!("../../systemd/assistantd-web.socket")),
    ] {
        let in_force = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
        let set: Vec<_> = in_force.filter(|line| line.to_lowercase().contains("allow_public_bind")).collect();
        assert!(set.is_empty(), "{name}: {set:?}");
    }
}

#[test]
fn s20_beyond_this_host_there_is_a_login_or_no_listener() {
    hold(&named(&["a private address", "no login on a private address", "no login on an inherited one"]));
}

/// Runs these cases, and compares what became of them.
#[track_caller]
fn hold(cases: &[&Case]) {
    let outcomes = outcomes(cases);
    assert_eq!(outcomes.len(), cases.len());
    for ((name, _, _, then), found) in cases.iter().zip(&outcomes) {
        let said = found["stderr"].as_str().unwrap();
        match then {
            Refused(words) => {
                assert_eq!(found["exit"], 78, "{name}: {found}");
                assert!(words.iter().all(|word| said.contains(word)), "{name}: {said}");
                assert!(said.contains("hint: "), "{name}: {said}");
                assert_eq!(found["database"], false, "{name}: refused before anything is made");
            }
            Listens(addresses) => {
                assert_eq!(found["exit"], 0, "{name}: {found}");
                let mut addresses = addresses.to_vec();
                addresses.sort_unstable();
                assert_eq!(found["listening"], json!(addresses), "{name}: {said}");
                // Everything but /health takes a login.
                for answer in found["answers"].as_array().unwrap() {
                    assert_eq!(
                        *answer,
                        json!({ "/health": 200, "/api/jobs": 401, "/nothing": 401 }),
                        "{name}: {found}"
                    );
                }
                assert_eq!(found["answers"].as_array().unwrap().len(), addresses.len(), "{name}");
            }
        }
        let open = found["environment"].get(OPEN.0).is_some();
        assert_eq!(said.contains("can be reached from outside"), open, "{name}: {said}");
    }
}
