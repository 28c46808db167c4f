//! Clients that want to keep others out: by connections that say nothing, or a head or a body that never ends.
//!
//! Judged by who is served and who is refused; how long others wait meanwhile is measured by `tests/bench`.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use assistantd::config::value::Seconds;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use super::served::{Served, read_reply, request};

const ATTACKER: &str = "127.0.0.2:0";
const OTHER: &str = "127.0.0.3:0";

/// Room for 32 connections, 8 of them from one address.
fn served() -> Served {
    Served::on_the_web(|config| {
        config.api.max_connections = 32;
        config.api.max_connections_per_address = 8;
        config.api.header_timeout = Seconds(Duration::from_millis(500));
        config.api.request_timeout = Seconds(Duration::from_millis(500));
    })
}

async fn connect(from: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(from.parse().unwrap()).unwrap();
    socket.connect(to).await.unwrap()
}

/// Somebody else's requests, from two addresses: all of them are answered.
async fn others_are_served(served: &Served) {
    let address = served.web.unwrap();
    for round in 0..20 {
        let mut other = connect(OTHER, address).await;
        let head = request("GET", "/health", "", "").replacen("assistantd", &address.to_string(), 1);
        other.write_all(head.as_bytes()).await.unwrap();
        assert_eq!(read_reply(&mut other).await.status, 200, "round {round}");
        assert_eq!(served.visit("GET", "/health", "", "").await.status, 200, "round {round}");
    }
}

#[tokio::test]
async fn idle_connections_of_one_address_leave_room_for_others() {
    let served = served();
    let address = served.web.unwrap();
    let mut attack = Vec::new();
    for _ in 0..100 {
        attack.push(connect(ATTACKER, address).await);
    }
    others_are_served(&served).await;

    let (mut answered, mut refused, mut closed) = (0, 0, 0);
    for mut stream in attack {
        let head = request("GET", "/health", "", "").replacen("assistantd", &address.to_string(), 1);
        let _ = stream.write_all(head.as_bytes()).await;
        let reply = read_reply(&mut stream).await;
        match reply.status {
            200 => answered += 1,
            429 => {
                assert_eq!(reply.kind(), "rate_limited", "{reply:?}");
                assert!(reply.json()["hint"].as_str().unwrap().contains("api.max_connections_per_address"));
                assert_eq!(reply.header("retry-after"), Some("1"));
                refused += 1;
            }
            0 => closed += 1,
            other => panic!("{other}: {reply:?}"),
        }
    }
    assert!(answered <= 8, "{answered} answered, {refused} refused, {closed} closed");
    assert!(refused + closed >= 92 && closed >= 1, "{answered} answered, {refused} refused, {closed} closed");

    // With its connections gone, the address is served again.
    let mut again = connect(ATTACKER, address).await;
    let head = request("GET", "/health", "", "").replacen("assistantd", &address.to_string(), 1);
    again.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(read_reply(&mut again).await.status, 200);
}

#[tokio::test]
async fn one_more_connection_of_an_address_hears_why_it_is_refused() {
    let served = served();
    let address = served.web.unwrap();
    let head = request("GET", "/health", "", "").replacen("assistantd", &address.to_string(), 1);
    let mut open = Vec::new();
    for _ in 0..8 {
        let mut stream = connect(ATTACKER, address).await;
        stream.write_all(head.replace("connection: close\r\n", "").as_bytes()).await.unwrap();
        stream.read_exact(&mut [0]).await.unwrap(); // served, and kept open
        open.push(stream);
    }
    let mut one_more = connect(ATTACKER, address).await;
    one_more.write_all(head.as_bytes()).await.unwrap();
    let reply = read_reply(&mut one_more).await;
    assert_eq!((reply.status, reply.kind().as_str()), (429, "rate_limited"), "{reply:?}");
    assert_eq!(reply.json()["title"], "your address has 8 connections open, and no more");
    others_are_served(&served).await;
    drop(open);
}

#[tokio::test]
async fn a_client_behind_a_proxy_leaves_room_for_the_others_behind_it() {
    let served = Served::on_the_web(|config| config.api.max_connections_per_address = 8);
    let address = served.web.unwrap();
    let attacker = "x-forwarded-for: 198.51.100.7\r\n";
    let mut attack = Vec::new();
    for _ in 0..8 {
        // A body that does not come: the request stays open.
        let mut stream = connect("127.0.0.1:0", address).await;
        let begin = format!(
            "POST /api/login HTTP/1.1\r\nhost: {address}\r\norigin: http://{address}\r\n\
             sec-fetch-site: same-origin\r\n{attacker}content-length: 1000\r\n\r\n"
        );
        stream.write_all(begin.as_bytes()).await.unwrap();
        attack.push(stream);
    }
    // The last of them is read in a moment.
    let begun = Instant::now();
    let answered = async |wanted: u16| loop {
        let reply = served.visit("GET", "/health", attacker, "").await;
        if reply.status == wanted {
            break reply;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{reply:?}");
    };
    let refused = answered(429).await;
    assert_eq!((refused.status, refused.kind().as_str()), (429, "rate_limited"), "{refused:?}");
    assert_eq!(refused.header("retry-after"), Some("1"));
    for client in ["x-forwarded-for: 198.51.100.8\r\n", "x-real-ip: 198.51.100.9\r\n", ""] {
        assert_eq!(served.visit("GET", "/health", client, "").await.status, 200, "{client}");
    }
    drop(attack);
    // The length of an answer is known as without a proxy.
    let reply = answered(200).await;
    assert_eq!(reply.header("content-length"), Some(reply.body.len().to_string().as_str()));
}

#[tokio::test]
async fn heads_and_bodies_that_do_not_end_are_ended_and_hold_up_nobody() {
    let served = served();
    let address = served.web.unwrap();
    let head = format!("GET /health HTTP/1.1\r\nhost: {address}\r\nx-slow: ");
    let body = format!(
        "POST /api/login HTTP/1.1\r\nhost: {address}\r\norigin: http://{address}\r\nsec-fetch-site: same-origin\r\n\
         content-length: 1000\r\n\r\n"
    );
    let mut attack = tokio::task::JoinSet::new();
    for begin in [head.clone(), head, body.clone(), body].into_iter().cycle().take(8) {
        let mut stream = connect(ATTACKER, address).await;
        attack.spawn(async move {
            stream.write_all(begin.as_bytes()).await.unwrap();
            // A byte from time to time: each of them is progress, and none of them buys time.
            let (mut reading, mut writing) = stream.split();
            let trickle = async {
                while writing.write_all(b"x").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            let mut said = Vec::new();
            tokio::select! {
                _ = reading.read_to_end(&mut said) => {}
                () = trickle => {}
            }
            (begin.starts_with("POST"), String::from_utf8_lossy(&said).into_owned())
        });
    }
    others_are_served(&served).await;
    let ended = tokio::time::timeout(Duration::from_secs(20), attack.join_all()).await.expect("they are ended");
    assert_eq!(ended.len(), 8);
    assert!(ended.iter().any(|(_, said)| said.starts_with("HTTP/1.1 504")), "{ended:?}");
    for (body, said) in ended {
        let expected = if body { said.starts_with("HTTP/1.1 504") } else { said.contains(" 408 ") };
        // An answer to somebody who still sends may be lost with the connection.
        assert!(expected || said.is_empty(), "{said}");
    }
    others_are_served(&served).await;
}
