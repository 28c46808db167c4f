use super::*;

fn sized(bytes: usize, body: &[u8]) -> Vec<u8> {
    [&body.len().to_be_bytes()[8 - bytes..], body].concat()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &sized(2, data)].concat()
}

fn name_extension(name: &str) -> Vec<u8> {
    extension(SERVER_NAME, &sized(2, &[&[0], &sized(2, name.as_bytes())[..]].concat()))
}

/// A client hello in records of at most `part` bytes.
fn client_hello(extensions: &[Vec<u8>], part: usize) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend(sized(1, &[9; 32]));
    body.extend(sized(2, &[0x13, 1, 0x13, 2]));
    body.extend(sized(1, &[0]));
    body.extend(sized(2, &extensions.concat()));
    records(&[&[CLIENT_HELLO], &sized(3, &body)[..]].concat(), part)
}

fn records(message: &[u8], part: usize) -> Vec<u8> {
    message.chunks(part).flat_map(|part| [&[HANDSHAKE, 3, 1], &sized(2, part)[..]].concat()).collect()
}

fn named(name: &str) -> Opening {
    Opening::Hello { name: Some(name.to_owned()), hidden: false }
}

#[test]
fn the_name_is_found_however_the_hello_is_cut() {
    let extensions = [extension(0x2b, &[2, 3, 4]), name_extension("example.org"), extension(0x33, &[0; 1300])];
    for part in [1, 2, 3, 5, 64, 512, 16_384] {
        let bytes = client_hello(&extensions, part);
        assert_eq!(read(&bytes), named("example.org"), "records of {part}");
        for end in 0..bytes.len().min(600) {
            assert_eq!(read(&bytes[..end]), Opening::Incomplete, "records of {part}, {end} bytes of them");
        }
        assert_eq!(read(&[&bytes[..], &[0; 40]].concat()), named("example.org"), "with what follows");
    }
}

#[test]
fn a_hello_without_a_name_or_with_a_hidden_one_is_told_apart() {
    let plain = client_hello(&[extension(0x2b, &[2, 3, 4])], 512);
    assert_eq!(read(&plain), Opening::Hello { name: None, hidden: false });
    for kind in [ENCRYPTED_CLIENT_HELLO, ENCRYPTED_SERVER_NAME] {
        let hidden = client_hello(&[name_extension("front.example"), extension(kind, &[0; 200])], 512);
        assert_eq!(read(&hidden), Opening::Hello { name: Some("front.example".to_owned()), hidden: true });
    }
}

#[test]
fn what_is_ambiguous_or_no_hello_is_not_tls() {
    let two_names = sized(2, &[&[0][..], &sized(2, b"a.org"), &[0], &sized(2, b"b.org")].concat());
    let other_kind = sized(2, &[&[1][..], &sized(2, b"a.org")].concat());
    let trailing = [sized(2, &[&[0][..], &sized(2, b"a.org")].concat()), vec![0]].concat();
    for (what, bytes) in [
        ("two names in a list", client_hello(&[extension(SERVER_NAME, &two_names)], 512)),
        ("two lists", client_hello(&[name_extension("a.org"), name_extension("b.org")], 512)),
        ("another kind of name", client_hello(&[extension(SERVER_NAME, &other_kind)], 512)),
        ("bytes after the list", client_hello(&[extension(SERVER_NAME, &trailing)], 512)),
        ("an empty list", client_hello(&[extension(SERVER_NAME, &[])], 512)),
        ("a name that is no text", client_hello(&[extension(SERVER_NAME, &sized(2, b"\0\0\x02\xff\xfe"))], 512)),
        ("an extension that is too long", client_hello(&[vec![0, 0, 255, 255]], 512)),
        ("a server hello", records(&[2, 0, 0, 1, 0], 512)),
        ("an empty hello", records(&[1, 0, 0, 0], 512)),
        ("an endless hello", records(&[1, 255, 255, 255, 0], 512)),
        ("an empty record", vec![HANDSHAKE, 3, 1, 0, 0]),
        ("a long record", vec![HANDSHAKE, 3, 1, 255, 255]),
        ("another version", vec![HANDSHAKE, 2]),
        ("another record in between", [&client_hello(&[], 20)[..25], &[23, 3, 3, 0, 1, 0]].concat()),
        ("plain HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("a nested CONNECT", b"CONNECT example.org:443 HTTP/1.1\r\n\r\n".to_vec()),
        ("a hello of SSL 2", vec![0x80, 0x2e, 1, 3, 1]),
    ] {
        assert_eq!(read(&bytes), Opening::NotTls, "{what}");
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_break_the_reader(bytes: Vec<u8>, cut in 0_usize..200, with: u8) {
        read(&bytes);
        read(&[&[HANDSHAKE, 3, 1], &bytes[..]].concat());
        let mut hello = client_hello(&[name_extension("example.org"), extension(5, &bytes)], 16_384);
        let at = cut % hello.len();
        hello[at] = with;
        // Whatever one wrong byte does, a name that comes out of it stands there, after its length.
        if let Opening::Hello { name: Some(name), .. } = read(&hello) {
            let stands = sized(2, name.as_bytes());
            proptest::prop_assert!(hello.windows(stands.len()).any(|part| part == stands));
        }
    }
}
