use super::*;

fn config() -> Config {
    let mut config = Config::default();
    config.identity.email = Some("ada@corp.example".into());
    config.identity.name = Some("Ada".into());
    config.admin.email = Some("owner@home.example".into());
    config.org.internal_email_domains = vec!["corp.example".into()];
    config
}

fn draft(to: &str) -> Draft {
    Draft {
        to: vec![recipients::parse(to).unwrap()],
        subject: "Üben – and more".into(),
        body: "# Result\n\nAll **done**.".into(),
        ..Draft::default()
    }
}

fn now() -> Timestamp {
    "2026-11-22T09:00:00Z".parse().unwrap()
}

/// Headers (unfolded) and the rest.
fn parts(letter: &Letter) -> (Vec<(String, String)>, String) {
    let text = String::from_utf8(letter.bytes.clone()).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let head = head.replace("\r\n ", " ").replace("\r\n\t", " ");
    let headers = head.split("\r\n").map(|line| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.to_owned(), value.to_owned())
    });
    (headers.collect(), body.to_owned())
}

fn header(letter: &Letter, name: &str) -> Option<String> {
    let (headers, _) = parts(letter);
    assert!(headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).count() <= 1, "{name} twice");
    headers.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

#[test]
fn a_mail_says_who_sends_it_and_that_no_person_did() {
    let letter = letter(&config(), now(), &draft("Bo <bo@corp.example>"), None).unwrap();
    assert_eq!(header(&letter, "From").unwrap(), "Ada <ada@corp.example>");
    assert_eq!(header(&letter, "To").unwrap(), "Bo <bo@corp.example>");
    assert_eq!(header(&letter, "Message-ID").unwrap(), letter.message_id);
    assert!(letter.message_id.ends_with("@corp.example>") && is_message_id(&letter.message_id));
    assert_eq!(header(&letter, "Auto-Submitted").unwrap(), "auto-generated");
    assert_eq!(header(&letter, OWN_MARK).unwrap(), "1");
    assert_eq!(header(&letter, "Date").unwrap(), "Sun, 22 Nov 2026 09:00:00 +0000");
    assert!(header(&letter, "Subject").unwrap().starts_with("=?utf-8?"), "{:?}", header(&letter, "Subject"));
    assert_eq!((header(&letter, "In-Reply-To"), header(&letter, "Bcc")), (None, None));
    assert!(!letter.disclosed && !letter.text.contains("AI assistant"), "nobody outside gets it");
    let mut other = config();
    other.email.smtp_from = Some("Robot <robot@mail.example>".into());
    other.identity.message_id_domain = Some("ids.example".into());
    let letter = super::letter(&other, now(), &draft("bo@corp.example"), None).unwrap();
    assert_eq!(header(&letter, "From").unwrap(), "Robot <robot@mail.example>");
    assert!(letter.message_id.ends_with("@ids.example>"));
}

#[test]
fn an_answer_refers_to_the_newest_of_its_thread() {
    let references: Vec<_> =
        (0..40).map(|n| format!("<m{n}@far.example>")).chain(["no id".into(), "<a b@c>".into()]).collect();
    let target = Target { message_id: "<last@far.example>".into(), references };
    let letter = letter(&config(), now(), &Draft { target: Some(target), ..draft("bo@corp.example") }, None).unwrap();
    assert_eq!(header(&letter, "In-Reply-To").unwrap(), "<last@far.example>");
    let references = header(&letter, "References").unwrap();
    let references: Vec<_> = references.split_whitespace().collect();
    assert_eq!((references.len(), references[0], references[19]), (20, "<m21@far.example>", "<last@far.example>"));
    assert_eq!(header(&letter, "Auto-Submitted").unwrap(), "auto-replied");

    let odd = Target { message_id: "<x@y>\r\nBcc: evil@evil.example".into(), references: Vec::new() };
    let letter =
        super::letter(&config(), now(), &Draft { target: Some(odd), ..draft("bo@corp.example") }, None).unwrap();
    assert_eq!((header(&letter, "In-Reply-To"), letter.in_reply_to.clone()), (None, None));
}

#[test]
fn no_header_can_be_put_in_by_text() {
    for subject in ["a\r\nBcc: evil@evil.example", "a\nX: y", "a\0b", "", "  ", &"x".repeat(241)] {
        let draft = Draft { subject: subject.into(), ..draft("bo@corp.example") };
        assert_eq!(letter(&config(), now(), &draft, None).unwrap_err().field_name(), Some("subject"), "{subject:?}");
    }
    let long = Draft { subject: "wörd ".repeat(48).trim().into(), ..draft("bo@corp.example") };
    let letter = letter(&config(), now(), &long, None).unwrap();
    let known = [
        "From",
        "To",
        "Subject",
        "Message-ID",
        "Date",
        "Auto-Submitted",
        OWN_MARK,
        "MIME-Version",
        "Content-Type",
        "Content-Transfer-Encoding",
    ];
    for (name, _) in parts(&letter).0 {
        assert!(known.contains(&name.as_str()), "{name}");
    }
    assert!(String::from_utf8(letter.bytes).unwrap().lines().all(|line| line.len() <= 998));
}

#[test]
fn people_outside_are_told_that_a_program_wrote() {
    let letter = letter(&config(), now(), &draft("bo@far.example"), Some("<h1>Result</h1>")).unwrap();
    assert!(letter.disclosed);
    let (_, body) = parts(&letter);
    let (plain, html) = (body.find("text/plain").unwrap(), body.find("text/html").unwrap());
    assert!(plain < html && header(&letter, "Content-Type").unwrap().starts_with("multipart/alternative"));
    assert_eq!(disclosure::strip(&letter.text).trim(), "# Result\n\nAll **done**.");
    let both = Draft { cc: vec![recipients::parse("x@far.example").unwrap()], ..draft("bo@corp.example") };
    assert!(super::letter(&config(), now(), &both, None).unwrap().disclosed, "one outside is enough");
}

#[test]
fn files_go_with_it_under_their_names() {
    let about = attachments::About {
        filename: "Übersicht 1.csv".into(),
        content_type: "text/csv".into(),
        size_bytes: 4,
        path: Some("a/Übersicht 1.csv".into()),
    };
    let attachments = vec![Attachment { about, bytes: b"1;2\n".to_vec() }];
    let letter =
        letter(&config(), now(), &Draft { attachments, ..draft("bo@corp.example") }, Some("<p>x</p>")).unwrap();
    let (_, body) = parts(&letter);
    assert!(header(&letter, "Content-Type").unwrap().starts_with("multipart/mixed"));
    assert!(body.contains("multipart/alternative") && body.contains("text/csv"), "{body}");
    assert!(body.contains("attachment;") && !body.contains("a/Über"), "{body}");
    assert_eq!(letter.attachments[0]["size_bytes"], 4);
}

#[test]
fn subjects_of_answers() {
    assert_eq!(reply_subject("Report"), "Re: Report");
    assert_eq!(reply_subject("RE:  Re: x\r\ny"), "RE: Re: x y");
    assert_eq!(reply_subject(""), "Re: ");
    assert!(reply_subject(&"ö".repeat(500)).chars().count() <= 240);
}
