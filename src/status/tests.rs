use super::without_secrets;

#[test]
fn urls_are_shown_without_user_information() {
    for (url, shown) in [
        ("https://user:secret@host.example/v1?key=secret#secret", "https://host.example/v1"),
        ("http://secret@127.0.0.1:11434/v1", "http://127.0.0.1:11434/v1"),
        ("https://host.example", "https://host.example/"),
        ("user:secret@host", ""),
        ("not a url secret", ""),
    ] {
        assert_eq!(without_secrets(url), shown);
    }
}
