use super::*;

/// A machine with a service, whose `systemctl` writes down what it was told and fails for `failing`.
fn machine(dir: &Path, failing: &str) -> Place {
    let programs = dir.join("bin");
    fs::create_dir_all(&programs).unwrap();
    let script = format!(
        "#!/bin/sh\necho \"$*\" >> {0}/said\ncase \"$*\" in is-enabled*) exit 1;; {failing}) echo no >&2; exit 1;; esac\n",
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
    assert_eq!(unit_address(&place.units), "192.168.1.50:8000");
    assert_eq!(fs::metadata(place.unit()).unwrap().permissions().mode() & 0o777, 0o644);
    // The unit opens the port: the daemon is told nothing but that it is meant.
    assert_eq!(place.file.read().unwrap(), "[api]\nallow_public_bind = true\n");
    let expected = [
        format!("is-enabled {UNIT}"),
        "daemon-reload".to_owned(),
        format!("enable {UNIT}"),
        format!("reset-failed {UNIT} {SERVICE}"),
        format!("stop {SERVICE}"),
        format!("restart {UNIT}"),
        format!("start {SERVICE}"),
    ];
    assert_eq!(said(dir.path()), expected);

    place.disable().unwrap();
    assert!(!place.unit().exists() && !place.file.path().exists());
    assert_eq!(unit_address(&place.units), "127.0.0.1:8000", "what the package ships");
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
fn an_address_has_a_host_and_a_port() {
    assert_eq!(split("192.168.1.50:8000").unwrap(), ("192.168.1.50", 8000));
    assert_eq!(split("[fd00::7]:80").unwrap(), ("fd00::7", 80));
    assert_eq!(split("box.lan:8000").unwrap(), ("box.lan", 8000));
    for wrong in ["", "8000", ":8000", "192.168.1.50", "192.168.1.50:0", "192.168.1.50:70000", "fd00::7:80", "[]:80"] {
        assert_eq!(split(wrong).unwrap_err().code, Code::Usage, "{wrong:?}");
    }
    assert_eq!(resolve("[::1]:9").unwrap(), ["[::1]:9".parse().unwrap()]);
}
