//! `assistantctl web enable|disable|status` where no service manager is: with a daemon, and while none runs.

use super::ctl::Desk;

#[test]
fn the_network_is_set_and_taken_away_while_the_daemon_is_down() {
    let mut desk = Desk::new();
    desk.daemon.kill();
    let config = desk.place.config_file().to_owned();
    let file = config.with_file_name("conf.d").join("60-web.toml");
    let named = ["--config", config.to_str().unwrap()];
    let web = |words: &[&str]| desk.run(&[&["web"], words].concat());
    let with = |words: &[&str]| web(&[words, &named[..]].concat());

    // What the guard would refuse is refused before anything is written.
    for bind in ["0.0.0.0:8000", "[::]:8000", "0:8000", "203.0.113.5:8000", "[2001:db8::1]:8000"] {
        let ran = with(&["enable", "--bind", bind]);
        assert_eq!(ran.code, Some(78), "{bind}: {}{}", ran.out, ran.err);
        assert!(ran.err.contains("--allow-public-bind"), "{bind}: {}", ran.err);
        assert!(!file.exists(), "{bind}");
    }
    assert_eq!(with(&["enable", "--bind", "192.168.1.50"]).code, Some(2));
    let ran = with(&["enable", "--bind", "0.0.0.0:8123", "--allow-public-bind"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert!(std::fs::read_to_string(&file).unwrap().contains("allow_public_bind = true"));

    let ran = with(&["enable", "--bind", "127.0.0.1:8123"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text, "[api]\nbind_host = \"127.0.0.1\"\nport = 8123\n", "what was allowed for another address is gone");

    let ran = with(&["disable"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert!(!file.exists());
    assert_eq!(with(&["disable"]).code, Some(0), "again");
    let status = web(&["status"]);
    assert_eq!(status.code, Some(0), "{}{}", status.out, status.err);
    assert!(status.out.contains("not running"), "{}", status.out);
}

#[test]
fn the_status_tells_where_the_daemon_really_listens() {
    let desk = Desk::new();
    let status = desk.json(&["web", "status"]);
    assert_eq!(status["running"], true);
    let listening = status["listening"].as_array().unwrap();
    assert_eq!(listening.len(), 1, "{status}");
    assert_eq!(
        (&listening[0]["reach"], listening[0]["address"].as_str()),
        (&"socket".into(), desk.place.socket().to_str())
    );
    assert!(desk.run(&["status"]).out.contains("listens on no address"));
}

#[test]
fn https_is_switched_on_kept_and_switched_off() {
    let mut desk = Desk::new();
    desk.daemon.kill();
    let config = desk.place.config_file().to_owned();
    let (file, dir) = (config.with_file_name("conf.d").join("60-web.toml"), config.parent().unwrap());
    let script = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem \
                  -out certificate.pem -subj /CN=test -days 90 && chmod 644 key.pem";
    let made = std::process::Command::new("sh").args(["-ec", script]).current_dir(dir).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let (certificate, key) = (dir.join("certificate.pem"), dir.join("key.pem"));
    let web = |words: &[&str]| desk.run(&[&["web"], words, &["--config", config.to_str().unwrap()]].concat());
    let bind = ["enable", "--bind", "127.0.0.1:8443"];
    let with = [&bind[..], &["--tls-certificate", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()]];

    // A key that every user can read is refused before anything is written.
    let ran = web(&with.concat());
    assert_eq!(ran.code, Some(78), "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("mode 0644") && ran.err.contains("sudo chmod o= "), "{}", ran.err);
    assert!(!file.exists());
    let status = std::process::Command::new("chmod").arg("600").arg(&key).status().unwrap();
    assert!(status.success());
    let ran = web(&with.concat());
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    let text = || std::fs::read_to_string(&file).unwrap();
    assert!(text().contains(&format!("tls_key = \"{}\"", key.display())), "{}", text());
    assert_eq!(web(&bind).code, Some(0));
    assert!(text().contains("tls_certificate"), "another address is no reason to speak HTTP: {}", text());
    assert_eq!(web(&[&bind[..], &["--no-tls"]].concat()).code, Some(0));
    assert_eq!(text(), "[api]\nbind_host = \"127.0.0.1\"\nport = 8443\n");
    assert_eq!(web(&[&bind[..], &["--tls-key", "key.pem"]].concat()).code, Some(2));
}
