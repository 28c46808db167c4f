//! The daemon is killed while it unpacks an archive: nothing of it is left, neither in the workspace nor beside it.

use std::{io::Write as _, time::Duration};

use assistant_api::workspace::{Unzip, Unzipped};

use crate::support::{process::Place, until};

fn leftovers(place: &Place) -> Vec<String> {
    let names = std::fs::read_dir(place.state()).unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.to_string_lossy().into_owned()).filter(|name| name.starts_with(".unzip-")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unpacking_that_is_killed_leaves_nothing() {
    let place = Place::new("");
    let mut process = place.start(&[]);
    let mut zip = zip::ZipWriter::new(std::fs::File::create(place.workspace().join("many.zip")).unwrap());
    for number in 0..8000 {
        zip.start_file(format!("{number}.txt"), zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(b"some text").unwrap();
    }
    zip.finish().unwrap();
    let client = place.client();
    let ask = Unzip { path: "many.zip".into(), destination_folder: None };
    let killing = async {
        until("something is unpacked", 20, async || {
            tokio::time::sleep(Duration::from_millis(1)).await;
            leftovers(&place).pop()
        })
        .await;
        process.kill();
    };
    let (asked, ()) = tokio::join!(client.post::<Unzipped>("/api/workspace/unzip", &ask), killing);
    assert!(asked.is_err(), "it was done before it was killed");
    assert_eq!(leftovers(&place).len(), 1, "it was not killed in the midst of it");

    let mut process = place.start(&[]);
    assert!(process.ready, "the daemon does not come back:\n{}", place.log());
    assert_eq!(leftovers(&place), [""; 0]);
    assert!(!place.workspace().join("many").exists(), "a part of the archive is in the workspace");
    assert_eq!(process.stop(), Some(0));
}
