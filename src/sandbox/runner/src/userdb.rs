//! Who a dynamic user of systemd is. A static program cannot ask the C library, so it asks systemd: over the socket of its
//! user database (<https://systemd.io/USER_GROUP_API/>).

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    time::Duration,
};

use serde::Deserialize;
use serde_json::json;

const SERVICE: &str = "io.systemd.DynamicUser";
const SOCKET: &str = "/run/systemd/userdb/io.systemd.DynamicUser";

/// The numbers that systemd gives to dynamic users, and to nobody else.
const DYNAMIC: std::ops::RangeInclusive<u32> = 61_184..=65_519;

/// Longest answer, in bytes.
const LONGEST: u64 = 64 << 10;

#[derive(Deserialize)]
struct Answer {
    error: Option<String>,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Default, Deserialize)]
struct Parameters {
    record: Option<Record>,
}

#[derive(Deserialize)]
struct Record {
    uid: u32,
}

/// The number of the dynamic user with this name; none if systemd knows no such user (any more).
pub(crate) fn uid_of(name: &str) -> io::Result<Option<u32>> {
    ask(&json!({ "userName": name, "service": SERVICE }))
}

/// Whether this is the number of a dynamic user that is there no more, as after a loss of power.
pub(crate) fn is_left(uid: u32) -> bool {
    DYNAMIC.contains(&uid) && matches!(ask(&json!({ "uid": uid, "service": SERVICE })), Ok(None))
}

fn ask(parameters: &serde_json::Value) -> io::Result<Option<u32>> {
    let mut socket = UnixStream::connect(SOCKET)?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    let call = json!({
        "method": "io.systemd.UserDatabase.GetUserRecord",
        "parameters": parameters,
    });
    let mut bytes = serde_json::to_vec(&call)?;
    bytes.push(0);
    socket.write_all(&bytes)?;
    let mut answer = Vec::new();
    BufReader::new(socket.take(LONGEST)).read_until(0, &mut answer)?;
    answer.pop();
    parse(&answer)
}

fn parse(answer: &[u8]) -> io::Result<Option<u32>> {
    let answer: Answer = serde_json::from_slice(answer)?;
    match (answer.error.as_deref(), answer.parameters.record) {
        (None, Some(record)) if DYNAMIC.contains(&record.uid) => Ok(Some(record.uid)),
        (None, Some(record)) => Err(io::Error::other(format!("uid {} is not one of a dynamic user", record.uid))),
        (Some("io.systemd.UserDatabase.NoRecordFound"), _) => Ok(None),
        (Some(error), _) => Err(io::Error::other(format!("systemd's user database: {error}"))),
        (None, None) => Err(io::Error::other("systemd's user database answered nothing")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dynamic_users_are_taken() {
        let of = |text: &str| parse(text.as_bytes());
        let record =
            |uid: u32| format!(r#"{{"parameters":{{"record":{{"userName":"x","uid":{uid}}},"incomplete":false}}}}"#);
        assert_eq!(of(&record(61_184)).unwrap(), Some(61_184));
        assert_eq!(of(r#"{"error":"io.systemd.UserDatabase.NoRecordFound","parameters":{}}"#).unwrap(), None);
        for wrong in [&*record(0), &record(994), &record(65_534), r#"{"error":"x"}"#, "{}", ""] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
