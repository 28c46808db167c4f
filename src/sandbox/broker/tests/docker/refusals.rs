use assistant_broker::container::{MAX_LINE, Open, RefusedKind, Reply};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::Stage;

async fn refused(stage: &Stage, line: &str) -> (RefusedKind, String) {
    let (mut stream, reply) = stage.say(line).await;
    let Reply::Refused(refused) = reply else { panic!("{line}: {reply:?}") };
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "nothing follows a refusal");
    (refused.kind, format!("{refused}; {}", refused.remedy.clone().unwrap_or_default()))
}

#[tokio::test]
async fn what_is_no_request_is_refused() {
    let stage = Stage::new("engine = \"/nonexistent/docker.sock\"");
    for line in ["", "garbage", "{}", r#"{"open":{"binds":["/:/host"]}}"#, r#"{"run":{"image":"x"}}"#, "\u{0}"] {
        let (kind, message) = refused(&stage, line).await;
        assert_eq!(kind, RefusedKind::Malformed, "{line}: {message}");
    }
    let (kind, message) = refused(&stage, r#"{"open":{"net":true}}"#).await;
    assert!(kind == RefusedKind::Malformed && message.contains("no descriptor of the egress proxy"), "{message}");
    let mut stream = tokio::net::UnixStream::connect(stage.path("run")).await.unwrap();
    let _ = stream.write_all(&vec![b'x'; MAX_LINE + 10]).await;
    let _ = stream.read(&mut [0]).await; // closed, with or without a reset
    assert_eq!(refused(&stage, "still there?").await.0, RefusedKind::Malformed);
}

#[tokio::test]
async fn without_an_engine_the_way_to_one_is_told() {
    let stage = Stage::new("engine = \"/nonexistent/docker.sock\"");
    for line in [r#"{"open":{}}"#, r#"{"check":{}}"#] {
        let (kind, message) = refused(&stage, line).await;
        assert_eq!(kind, RefusedKind::EngineUnavailable);
        assert!(message.contains("/nonexistent/docker.sock") && message.contains("apt install docker.io"), "{message}");
    }
    // Something that listens there and never says a word is no engine either.
    let dead = Stage::new("");
    let path = dead.path("dead");
    let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let stage = Stage::new(&format!("engine = \"{}\"", path.display()));
    let (kind, message) = refused(&stage, r#"{"check":{}}"#).await;
    assert!(kind == RefusedKind::EngineUnavailable && message.contains("nothing within 5 seconds"), "{message}");
}

#[tokio::test]
async fn an_image_that_is_not_listed_is_refused_before_the_engine_is_asked() {
    let stage = Stage::new("engine = \"/nonexistent/docker.sock\"\nimages = [\"assistant-work:1\", \"own:2\"]");
    for image in ["debian:12", "assistant-work", "own:2@sha256:0", ""] {
        let (_, reply) = stage.open(&Open { image: Some(image.to_owned()), ..Open::default() }).await;
        let Reply::Refused(refused) = reply else { panic!("{reply:?}") };
        assert_eq!(refused.kind, RefusedKind::ImageNotAllowed, "{image}");
    }
}

#[tokio::test]
async fn a_broker_stops_with_connections_open() {
    let stage = Stage::new("engine = \"/nonexistent/docker.sock\"");
    let mut silent = tokio::net::UnixStream::connect(stage.path("run")).await.unwrap();
    stage.stop().await;
    assert_eq!(silent.read(&mut [0]).await.unwrap_or(0), 0);
}
