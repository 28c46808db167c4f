//! `assistantctl sandbox test`: what the sandbox promises, tried.

use assistant_sandbox::protocol::Guarantee;

use super::{ctl, idle, start};

/// The lines of the table of guarantees: name, required, state, refused, tried.
fn guarantees(text: &str) -> Vec<(String, String, String, u32, u32)> {
    let line = |line: &str| {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        let at = words.iter().position(|word| word == "of")?;
        let (refused, tried) = (words.get(at - 1)?.parse().ok()?, words.get(at + 1)?.parse().ok()?);
        (words.get(at + 2)? == "refused")
            .then(|| (words[0].clone(), words[1].clone(), words[2].clone(), refused, tried))
    };
    text.lines().filter_map(line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_guarantee_is_tried_and_holds() {
    let model = idle().await;
    let (daemon, _dir) = start(&model, "").await;
    let ran = ctl(&daemon.socket(), &["sandbox", "test"]).output().await.unwrap();
    let text = String::from_utf8(ran.stdout).unwrap();
    let table = guarantees(&text);
    let names = Guarantee::ALL.map(|guarantee| serde_json::to_value(guarantee).unwrap().as_str().unwrap().to_owned());
    assert_eq!(table.iter().map(|row| row.0.clone()).collect::<Vec<_>>(), names, "{text}");
    for (name, required, state, refused, tried) in &table {
        assert!(*tried > 0 && refused == tried && required == "yes" && state == "ok", "{name}: {text}");
    }
    assert_eq!(ran.status.code(), Some(0), "{text}");
    assert!(!text.contains("CAME OUT"), "only what is wrong is listed: {text}");
    daemon.stop().await;
}

/// Landlock alone does not keep what is protected in the workspace: whoever accepts that sees it.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_out_wrong_is_listed() {
    let model = idle().await;
    let accepted = "backend = \"landlock\"\nrequire = [\"read\", \"network\", \"ipc\", \"syscalls\"]\n";
    let (daemon, _dir) = start(&model, accepted).await;
    let ran = ctl(&daemon.socket(), &["sandbox", "test"]).output().await.unwrap();
    let text = String::from_utf8(ran.stdout).unwrap();
    assert_eq!(ran.status.code(), Some(1), "{text}{}", String::from_utf8_lossy(&ran.stderr));
    let table = guarantees(&text);
    let of = |name: &str| table.iter().find(|row| row.0 == name).unwrap_or_else(|| panic!("{name}: {text}"));
    let (_, required, state, refused, tried) = of("write");
    assert!(required == "no" && state == "fail" && refused < tried, "{text}");
    let (_, required, state, refused, tried) = of("network");
    assert!(required == "yes" && state == "ok" && refused == tried, "{text}");
    let listed = text.lines().find(|line| line.starts_with("replace-protected-file ")).unwrap();
    assert!(listed.contains("denied") && listed.contains("allowed"), "{listed}");
    daemon.stop().await;
}
