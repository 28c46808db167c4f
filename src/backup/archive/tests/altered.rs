//! An archive that is not whole, or not as it was written, is refused, whatever was changed of it.

use std::fs;

use proptest::prelude::*;

use crate::bed::Bed;

#[test]
fn what_a_check_found_is_noted_until_the_next() {
    let bed = Bed::filled();
    let path = bed.create();
    let name = path.rsplit('/').next().unwrap().to_owned();
    let noted = || bed.good(&["list"])["backups"][0].clone();
    assert!(noted()["checked_at"].is_null() && noted()["problem"].is_null());
    bed.good(&["verify", &name]);
    let good = noted();
    assert!(good["checked_at"].is_string() && good["checked_at"] == good["verified_at"], "{good}");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    bed.refused(&["verify", &name]);
    let bad = noted();
    assert!(bad["problem"].as_str().unwrap().contains("not whole"), "{bad}");
    assert!(bad["verified_at"].is_null() && bad["checked_at"] != good["checked_at"], "{bad}");
    fs::write(&path, whole).unwrap();
    bed.good(&["verify", &name]);
    assert!(noted()["problem"].is_null() && noted()["verified_at"].is_string(), "{}", noted());
}

#[test]
fn what_cannot_be_opened_here_is_not_called_bad() {
    let bed = Bed::filled();
    let identity = age::x25519::Identity::generate();
    let made = bed.good(&["create", "--recipient", &identity.to_public().to_string()]);
    let path = made["path"].as_str().unwrap();
    assert!(bed.refused(&["verify", path]).starts_with("forbidden"));
    let noted = || bed.good(&["list"])["backups"][0].clone();
    assert!(noted()["checked_at"].is_null() && noted()["problem"].is_null(), "{}", noted());
    let mut bytes = fs::read(path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(path, bytes).unwrap();
    assert!(bed.refused(&["verify", path]).starts_with("invalid"));
    assert!(noted()["problem"].as_str().unwrap().contains("not as it was written"), "{}", noted());
}

#[test]
fn a_file_that_ends_too_early_is_refused() {
    let bed = Bed::filled();
    let path = bed.create();
    let whole = fs::read(&path).unwrap();
    for length in [5, 100, whole.len() / 2, whole.len() - 41, whole.len() - 40, whole.len() - 39, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        let refusal = bed.refused(&["verify", &path]);
        assert!(refusal.starts_with("invalid") && refusal.contains("not whole"), "{length}: {refusal}");
    }
    fs::write(&path, [&whole[..], b"x"].concat()).unwrap();
    assert!(bed.refused(&["verify", &path]).contains("something follows"));
    fs::write(&path, [&whole[..], &whole[..]].concat()).unwrap();
    assert!(bed.refused(&["verify", &path]).contains("something follows"));
    fs::write(&path, "").unwrap();
    assert!(bed.refused(&["verify", &path]).contains("not a backup"));
    assert!(bed.refused(&["verify", "assistant-20260101T000000Z.tar.zst"]).starts_with("not_found"));
    // A refusal changes nothing.
    let before = bed.ask("SELECT count(*) FROM jobs");
    bed.refused(&["restore", &path, "--force"]);
    assert_eq!(bed.ask("SELECT count(*) FROM jobs"), before);
    assert!(!bed.path("state/.restoring").exists() && bed.workspace().join("a.txt").exists());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_flipped_bit_anywhere_is_found(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        thread_local!(static BED: (Bed, String, Vec<u8>) = {
            let bed = Bed::filled();
            let path = bed.create();
            let whole = fs::read(&path).unwrap();
            (bed, path, whole)
        });
        BED.with(|(bed, path, whole)| {
            let mut bytes = whole.clone();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            fs::write(path, bytes).unwrap();
            let refusal = bed.refused(&["verify", path]);
            assert!(refusal.starts_with("invalid") || refusal.starts_with("forbidden"), "{at}: {refusal}");
        });
    }
}
