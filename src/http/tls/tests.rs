use std::{fs, path::Path, process::Command};

use super::*;
use crate::{clock::Clock, daemon};

/// A certificate for this host with its key, by openssl, for so many days.
fn make(dir: &Path, days: &str) {
    let script = format!(
        "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.new -out request -subj /CN=test &&
         printf 'subjectAltName=IP:127.0.0.1' > names &&
         openssl x509 -req -in request -signkey key.new -days {days} -extfile names -out certificate.new &&
         chmod 600 key.new && mv certificate.new certificate.pem && mv key.new key.pem"
    );
    let made = Command::new("sh").args(["-ec", &script]).current_dir(dir).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

fn config(dir: &Path) -> Config {
    let mut config = Config::default();
    let path = |name: &str| Some(dir.join(name).display().to_string());
    (config.api.tls_certificate, config.api.tls_key) = (path("certificate.pem"), path("key.pem"));
    config
}

#[test]
fn what_cannot_be_served_is_refused_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let (paths, good) = (Paths::default(), config(dir.path()));
    let refused = |config: &Config| {
        let err = check(config, &paths).unwrap_err();
        (err.field_name().unwrap_or_default().to_owned(), format!("{} | {}", err.message(), err.hint_text().unwrap()))
    };
    assert!(refused(&good).1.contains("No such file"), "{:?}", refused(&good));
    make(dir.path(), "90");
    check(&good, &paths).unwrap();
    check(&Config::default(), &paths).unwrap();

    let mut half = good.clone();
    half.api.tls_key = None;
    assert_eq!(refused(&half).0, "api.tls_key");
    half = good.clone();
    half.api.tls_certificate = Some(" ".into());
    assert_eq!(refused(&half).0, "api.tls_certificate");

    let key = dir.path().join("key.pem");
    let mode = |mode| fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
    for (bits, fine) in [(0o600, true), (0o640, true), (0o440, true), (0o644, false), (0o602, false), (0o601, false)] {
        mode(bits);
        assert_eq!(check(&good, &paths).is_ok(), fine, "{bits:o}");
    }
    let (field, said) = refused(&good);
    assert!(field == "api.tls_key" && said.contains("0601") && said.contains("sudo chmod o= "), "{said}");
    mode(0o600);

    let former = fs::read(&key).unwrap();
    make(dir.path(), "90");
    fs::write(&key, &former).unwrap();
    assert!(refused(&good).1.contains("is not the one of"), "{:?}", refused(&good));
    fs::write(&key, "nonsense").unwrap();
    assert!(refused(&good).1.contains("holds no key"), "{:?}", refused(&good));
    fs::write(dir.path().join("certificate.pem"), "nonsense").unwrap();
    assert!(refused(&good).1.contains("holds no certificate"), "{:?}", refused(&good));
}

#[test]
fn credentials_are_taken_where_no_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let paths = Paths { credentials_dir: Some(dir.path().to_owned()), ..Paths::default() };
    let plain = Config::default();
    assert_eq!(Files::of(&plain, &paths).unwrap(), None);
    fs::write(dir.path().join("tls-certificate"), "x").unwrap();
    let half = Files::of(&plain, &paths).unwrap_err();
    assert!(half.hint_text().unwrap().contains("LoadCredential=tls-key:FILE"), "{half}");
    fs::write(dir.path().join("tls-key"), "x").unwrap();
    let found = Files::of(&plain, &paths).unwrap().unwrap();
    assert_eq!(found.key, dir.path().join("tls-key"));
    let named = Files::of(&config(Path::new("/elsewhere")), &paths).unwrap().unwrap();
    assert_eq!(named.key, Path::new("/elsewhere/key.pem"));
}

#[tokio::test]
async fn a_bad_new_pair_leaves_the_old_one_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), "3");
    let cx = daemon::idle(dir.path(), config(dir.path()), Clock::System);
    let names = || crate::status::warnings(&cx).into_iter().map(|warning| warning.name).collect::<Vec<_>>();
    let of_tls = || names().into_iter().filter(|name| name.starts_with("certificate")).collect::<Vec<_>>();
    renew(&cx, &cx.config.load()).unwrap();
    let first = cx.process.tls.pair().unwrap();
    assert_eq!(of_tls(), ["certificate-expires"], "in three days");

    make(dir.path(), "90");
    fs::set_permissions(dir.path().join("key.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    renew(&cx, &cx.config.load()).unwrap();
    assert!(Arc::ptr_eq(&first, &cx.process.tls.pair().unwrap()), "it goes on");
    assert_eq!(of_tls(), ["certificate-refused", "certificate-expires"]);

    fs::set_permissions(dir.path().join("key.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    renew(&cx, &cx.config.load()).unwrap();
    assert_ne!(first.certificate, cx.process.tls.pair().unwrap().certificate);
    assert_eq!(of_tls(), [""; 0]);

    make(dir.path(), "-1");
    renew(&cx, &cx.config.load()).unwrap();
    let expired =
        crate::status::warnings(&cx).into_iter().find(|warning| warning.name == "certificate-expires").unwrap();
    assert!(expired.text.contains("out of date since 20"), "{expired:?}");

    renew(&cx, &Config::default()).unwrap();
    assert!(cx.process.tls.pair().is_none(), "switched off by the configuration");
}
