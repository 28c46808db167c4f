use super::*;

#[test]
fn a_plain_message() {
    let raw = b"From: A <A@Example.org>\r\nTo: b@example.org\r\nSubject: =?utf-8?q?H=C3=A9?=\r\nMessage-ID: <1@x>\r\nDate: Mon, 01 Jan 2024 10:00:00 +0000\r\n\r\nHello\r\n";
    let message = read(raw).unwrap();
    assert_eq!(message.from[0].address, "a@example.org");
    assert_eq!((message.subject.as_str(), message.text.as_str()), ("Hé", "Hello"));
    assert_eq!(message.message_id.as_deref(), Some("<1@x>"));
    assert_eq!(message.defects, Vec::<String>::new());
}

#[test]
fn hidden_text_does_not_reach_the_text() {
    for hidden in [
        "<div style='display:none'>SECRET</div>",
        "<span style='color:#fff'>SECRET</span>",
        "<p style='font-size:0'>SECRET</p>",
        "<font color=white>SECRET</font>",
        "<style>.x{display:none}</style><p class=x>SECRET</p>",
        "<div style='position:absolute;left:-9999px'>SECRET</div>",
        "<div hidden>SECRET</div>",
        "<!-- SECRET -->",
        "<div style='dis/**/play:none'>SECRET</div>",
        "<div style='max-height:0;overflow:hidden'>SECRET</div>",
        "<script>SECRET</script>",
        "<title>SECRET</title>",
    ] {
        let shown = html::shown(&format!("<html><body><p>seen</p>{hidden}</body></html>"));
        assert!(!shown.text.contains("SECRET") && shown.text.contains("seen"), "{hidden}: {}", shown.text);
        assert!(!shown.html.contains("SECRET"), "{hidden}: {}", shown.html);
    }
    let dark = "<table><tr><td bgcolor='#003366' style='color:#fff'>SHOWN</td></tr></table>";
    assert!(html::shown(dark).text.contains("SHOWN"));
    let link = html::shown("<a href='https://example.org/x' onclick='y()'>here</a><img src='https://t/1.gif'>");
    assert!(
        link.text.contains("https://example.org/x") && !link.html.contains("onclick") && !link.html.contains("img")
    );
}
