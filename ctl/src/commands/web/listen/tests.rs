use super::*;

/// A machine with a service, whose `systemctl` writes down what it was told and fails for `failing`; the socket unit has
/// the lines of all its drop-ins in the order of their names, as systemd has it.
fn machine(dir: &Path, failing: &str) -> Place {
    let programs = dir.join("bin");
    fs::create_dir_all(&programs).unwrap();
    let script = format!(
        r#"#!/bin/sh
echo "$*" >> {0}/said
unit={0}/units/{UNIT}.d
case "$*" in
is-enabled*) exit 1;;
{failing}) echo no >&2; exit 1;;
*DropInPaths*) echo "$unit"/*;;
*Listen*) sed '/^ListenStream=$/ {{s/.*/clear/}}' "$unit"/*.conf | awk '/^clear/ {{n = 0}} sub(/^ListenStream=/, "") {{at[n++] = $0}}
    END {{for (i = 0; i < n; i++) print at[i] " (Stream)"}}';;
esac
"#,
        dir.display()
    );
    write(&programs.join("systemctl"), script.as_bytes(), 0o755).unwrap();
    let etc = dir.join("etc");
    fs::create_dir_all(&etc).unwrap();
    Place {
        host: Host { programs: Some(programs), service: true },
        units: dir.join("units"),
        file: DropIn::new(&etc.join("assistant.toml"), FILE),
    }
}

fn said(dir: &Path) -> Vec<String> {
    fs::read_to_string(dir.join("said")).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn lan() -> (&'static str, Vec<SocketAddr>) {
    ("192.168.1.50:8000", vec!["192.168.1.50:8000".parse().unwrap()])
}

#[test]
fn the_socket_unit_gets_the_address_and_loses_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let place = machine(dir.path(), "nothing");
    let (bind, addresses) = lan();
    place.enable(bind, &addresses, true, &Tls::Kept).unwrap();
    assert_eq!(fs::read_to_string(place.unit()).unwrap(), "[Socket]\nListenStream=\nListenStream=192.168.1.50:8000\n");
    assert_eq!(fs::metadata(place.unit()).unwrap().permissions().mode() & 0o777, 0o644);
    // The unit opens the port: the daemon is told nothing but that it is meant.
    assert_eq!(place.file.read().unwrap(), "[api]\nallow_public_bind = true\n");
    let expected = [
        format!("is-enabled {UNIT}"),
        "daemon-reload".to_owned(),
        format!("show --value --property Listen {UNIT}"),
        format!("enable {UNIT}"),
        format!("reset-failed {UNIT} {SERVICE}"),
        format!("stop {SERVICE}"),
        format!("restart {UNIT}"),
        format!("start {SERVICE}"),
    ];
    assert_eq!(said(dir.path()), expected);
    assert_eq!(unit_addresses(&place.host).unwrap(), ["192.168.1.50:8000"]);

    place.disable().unwrap();
    assert!(!place.unit().exists() && !place.file.path().exists());
    let told = said(dir.path());
    assert!(told.contains(&format!("disable {UNIT}")) && told.contains(&format!("stop {UNIT}")), "{told:?}");
    assert_eq!(told.last().unwrap(), &format!("restart {SERVICE}"));
    place.disable().unwrap();
}

#[test]
fn what_fails_half_way_is_undone() {
    for failing in ["daemon-reload", "enable*", "restart\\ assistantd-web*"] {
        let dir = tempfile::tempdir().unwrap();
        let place = machine(dir.path(), failing);
        let before = "[Socket]\nListenStream=\nListenStream=10.0.0.9:8000\n";
        write(&place.unit(), before.as_bytes(), 0o640).unwrap();
        let (bind, addresses) = lan();
        let failure = place.enable(bind, &addresses, true, &Tls::Kept).unwrap_err();
        assert!(failure.message.ends_with("all is as it was"), "{failing}: {}", failure.message);
        assert_eq!(fs::read_to_string(place.unit()).unwrap(), before);
        assert_eq!(fs::metadata(place.unit()).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(!place.file.path().exists(), "{failing}");
        let told = said(dir.path());
        assert!(told.contains(&format!("disable --now {UNIT}")), "it was not enabled before: {told:?}");
        assert_eq!(told.last().unwrap(), &format!("restart {SERVICE}"), "the service goes on");
    }
}

#[test]
fn a_drop_in_of_somebody_else_that_has_the_last_word_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let place = machine(dir.path(), "nothing");
    let theirs = place.unit().with_file_name("override.conf");
    write(&theirs, b"[Socket]\nListenStream=\nListenStream=10.0.0.9:8000\nListenStream=/run/web.sock\n", 0o644)
        .unwrap();
    let (bind, addresses) = lan();
    let failure = place.enable(bind, &addresses, true, &Tls::Kept).unwrap_err();
    let expected = format!(
        "{UNIT} would listen on /run/web.sock and 10.0.0.9:8000, which {} sets; all is as it was",
        theirs.display()
    );
    assert_eq!(failure.message, expected);
    assert!(!place.unit().exists() && theirs.exists() && !place.file.path().exists());
    // One that comes before, or says something else, is in nobody's way.
    fs::rename(&theirs, theirs.with_file_name("10-first.conf")).unwrap();
    write(&theirs, b"[Socket]\nBacklog=64\n", 0o644).unwrap();
    place.enable(bind, &addresses, true, &Tls::Kept).unwrap();
}

#[test]
fn an_address_has_a_host_and_a_port() {
    assert_eq!(split("192.168.1.50:8000").unwrap(), ("192.168.1.50", 8000));
    assert_eq!(split("[fd00::7]:80").unwrap(), ("fd00::7", 80));
    assert_eq!(split("box.lan:8000").unwrap(), ("box.lan", 8000));
    for wrong in ["", "8000", ":8000", "192.168.1.50", "192.168.1.50:0", "192.168.1.50:70000", "fd00::7:80", "[]:80"] {
        assert_eq!(split(wrong).unwrap_err().code, Code::Usage, "{wrong:?}");
    }
    assert_eq!(resolve("[::1]:9").unwrap(), ["[::1]:9".parse().unwrap()]);
}
