use std::io::{Cursor, Write as _};

use zip::{ZipWriter, write::SimpleFileOptions};

use super::{Bounds, convert};
use crate::document::Kind;

fn bounds() -> Bounds {
    Bounds { output: 1 << 20, unpacked: 4 << 20 }
}

fn converted(kind: Kind, input: impl AsRef<[u8]>) -> Result<String, String> {
    let mut out = Vec::new();
    convert(kind, input.as_ref(), bounds(), &mut out).map_err(|err| err.to_string())?;
    Ok(String::from_utf8(out).unwrap())
}

#[track_caller]
fn becomes(kind: Kind, input: impl AsRef<[u8]>, wanted: &str) {
    assert_eq!(converted(kind, input).unwrap(), wanted);
}

#[track_caller]
fn refused(kind: Kind, input: impl AsRef<[u8]>, why: &str) {
    let reason = converted(kind, input).unwrap_err();
    assert!(reason.contains(why), "{reason}");
}

fn zipped(files: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in files {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn text_of_any_encoding_is_read() {
    becomes(Kind::Text, "a\r\nb", "a\nb");
    becomes(Kind::Text, b"\xef\xbb\xbfna\xc3\xafve", "naïve");
    becomes(Kind::Text, b"\xff\xfeh\0i\0", "hi");
    becomes(Kind::Text, b"caf\xe9 \x80", "café €");
    becomes(Kind::Text, "exe\u{202e}fdp.\u{7}x", "exefdp.x");
    refused(Kind::Text, b"MZ\0\0\x90", "it is not text");
}

#[test]
fn data_is_shown_as_it_is() {
    becomes(Kind::Json, r#"{"a": "```"}"#, "````json\n{\"a\": \"```\"}\n````\n");
    becomes(Kind::Xml, "<a>x</a>", "```xml\n<a>x</a>\n```\n");
    refused(Kind::Json, "a: 1", "not JSON");
    refused(Kind::Json, "[".repeat(100_000), "not JSON");
    refused(Kind::Xml, "%PDF-1.7", "no element");
    refused(Kind::Xml, "<a></b>", "not XML");
    refused(Kind::Xml, "<a>".repeat(100_000), "deep in each other");
}

#[test]
fn tables_are_read() {
    becomes(Kind::Csv, "a;b\n1|2;\"x\ny\"\n", "| a | b |\n| --- | --- |\n| 1\\|2 | x y |\n");
    becomes(Kind::Csv, "a\tb\n", "| a | b |\n| --- | --- |\n");
    let wide = vec!["x"; 5000].join(",");
    assert_eq!(converted(Kind::Csv, wide).unwrap().lines().next().unwrap().matches("| x ").count(), 256);
}

#[test]
fn no_entity_is_expanded() {
    let laughs = "<!DOCTYPE l [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;&a;\"><!ENTITY f SYSTEM \"file:///etc/passwd\">]>";
    let document =
        format!("{laughs}<w:document><w:body><w:p><w:r><w:t>x &b; &f; &lt;</w:t></w:r></w:p></w:body></w:document>");
    becomes(Kind::Docx, zipped(&[("word/document.xml", &document)]), "x &b; &f; <\n\n");
    let shown = converted(Kind::Xml, format!("{laughs}<a>&b;&f;</a>")).unwrap();
    assert!(shown.contains("<a>&b;&f;</a>"), "shown as it is, and no more: {shown}");
}

#[test]
fn text_documents_are_read() {
    let document = r#"<w:document xmlns:w="w"><w:body>
        <w:p><w:pPr><w:pStyle w:val="Heading2"/></w:pPr><w:r><w:t>Head</w:t></w:r></w:p>
        <w:p><w:r><w:t>One </w:t></w:r><w:r><w:t>two.</w:t></w:r></w:p>
        <w:p><w:pPr><w:numPr><w:ilvl w:val="1"/></w:numPr></w:pPr><w:r><w:t>item</w:t></w:r></w:p>
        <w:tbl><w:tr><w:tc><w:p><w:r><w:t>a</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>b</w:t></w:r></w:p></w:tc></w:tr>
        <w:tr><w:tc><w:p><w:r><w:t>1</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>2</w:t></w:r></w:p></w:tc></w:tr></w:tbl>
        </w:body></w:document>"#;
    let note = "<w:footnotes><w:p><w:r><w:t>small print</w:t></w:r></w:p></w:footnotes>";
    let file = zipped(&[("word/document.xml", document), ("word/footnotes.xml", note)]);
    let wanted =
        "## Head\n\nOne two.\n\n  - item\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n\n## Footnotes\n\n- small print\n\n";
    becomes(Kind::Docx, file, wanted);
    refused(Kind::Docx, zipped(&[("a.txt", "x")]), "no word/document.xml");
    refused(Kind::Docx, "%PDF-1.7", "not a zip file");
}

#[test]
fn presentations_are_read_in_their_order() {
    let slide = |text: &str| format!("<p:sld><a:p><a:r><a:t>{text}</a:t></a:r></a:p></p:sld>");
    let file = zipped(&[
        ("ppt/slides/slide10.xml", &slide("ten")),
        ("ppt/slides/slide2.xml", &slide("two")),
        ("ppt/notesSlides/notesSlide2.xml", &slide("say so")),
    ]);
    becomes(Kind::Pptx, file, "## Slide 2\n\ntwo\n\nNotes:\n\nsay so\n\n## Slide 10\n\nten\n\n");
}

#[test]
fn books_are_read_in_their_order() {
    let file = zipped(&[
        ("META-INF/container.xml", r#"<container><rootfiles><rootfile full-path="O/c.opf"/></rootfiles></container>"#),
        (
            "O/c.opf",
            r#"<package><manifest><item id="b" href="b.xhtml"/><item id="a" href="a.xhtml"/><item id="x" href="../../etc/passwd"/>
            </manifest><spine><itemref idref="a"/><itemref idref="x"/><itemref idref="b"/></spine></package>"#,
        ),
        ("O/a.xhtml", "<html><body><h1>A</h1></body></html>"),
        ("O/b.xhtml", "<html><body><p>B &amp; C</p></body></html>"),
    ]);
    becomes(Kind::Epub, file, "# A\n\nB & C\n\n");
}

fn workbook(sheet: &str) -> Vec<u8> {
    zipped(&[
        ("[Content_Types].xml", "<Types/>"),
        (
            "_rels/.rels",
            r#"<Relationships><Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>"#,
        ),
        (
            "xl/workbook.xml",
            r#"<workbook xmlns:r="r"><sheets><sheet name="S 1" sheetId="1" r:id="r1"/></sheets></workbook>"#,
        ),
        (
            "xl/_rels/workbook.xml.rels",
            r#"<Relationships><Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet1.xml"/></Relationships>"#,
        ),
        (
            "xl/styles.xml",
            r#"<styleSheet><cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs></styleSheet>"#,
        ),
        ("xl/worksheets/sheet1.xml", &format!("<worksheet><sheetData>{sheet}</sheetData></worksheet>")),
    ])
}

#[test]
fn spreadsheets_are_read() {
    let sheet = r#"<row r="1"><c r="A1" t="inlineStr"><is><t>when</t></is></c><c r="B1" t="inlineStr"><is><t>what</t></is></c></row>
        <row r="2"><c r="A2" s="1"><v>46024</v></c><c r="B2"><v>1.5</v></c></row>"#;
    becomes(Kind::Xlsx, workbook(sheet), "## S 1\n\n| when | what |\n| --- | --- |\n| 2026-01-02 | 1.5 |\n\n");
    refused(Kind::Xls, "not one", "not a spreadsheet");
    refused(Kind::Ods, zipped(&[("content.xml", "<a/>")]), "not a spreadsheet");
}

#[test]
fn a_sheet_that_claims_to_be_huge_costs_nothing() {
    let sheet = r#"<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="B1048576"><v>2</v></c><c r="XFD1048576"><v>3</v></c></row>"#;
    becomes(Kind::Xlsx, workbook(sheet), "## S 1\n\n| 1 |\n| --- |\n|  | 2 |\n\n");
}

#[test]
fn nothing_unpacks_to_more_than_it_may() {
    let bomb = zipped(&[("word/document.xml", &" ".repeat(5 << 20))]);
    assert!(bomb.len() < 10_000);
    refused(Kind::Docx, &bomb, "unpacks to more than 4194304 bytes");
    refused(Kind::Xlsx, &bomb, "unpacks to more than");
    refused(Kind::Ods, &bomb, "unpacks to more than");
    // All of its parts count together.
    let parts: Vec<_> = (0..6).map(|at| format!("ppt/slides/slide{at}.xml")).collect();
    let slide = format!("<p>{}</p>", " ".repeat(1 << 20));
    let many: Vec<_> = parts.iter().map(|name| (name.as_str(), slide.as_str())).collect();
    refused(Kind::Pptx, zipped(&many), "unpacks to more than");
    // Headers that lie about sizes change nothing: those of the bomb now say that it is empty.
    let mut lying = bomb.clone();
    let size = u32::try_from(5 << 20).unwrap().to_le_bytes();
    while let Some(at) = lying.windows(4).position(|bytes| bytes == size) {
        lying[at..at + 4].fill(0);
    }
    assert!(converted(Kind::Docx, &lying).is_err());
    refused(Kind::Text, "x".repeat(2 << 20), "becomes more than 1048576 bytes");
    let tiny = Bounds::of(10, 1000);
    assert_eq!((tiny.unpacked, Bounds::of(25 << 20, 1).unpacked), (16 << 20, 256 << 20));
}

#[test]
fn pages_are_read() {
    let page = r#"<!DOCTYPE html><title>T</title><style>p{}</style><script>document.write("<p>no</p>")</script>
        <h2>Head  line</h2><p>Some <b>bold</b> <a href="https://example.org/x">link</a> and <a href="javascript:x()">none</a>.
        <ul><li>one<li>two<ol><li>in</ol></ul><pre>a
  b</pre><table><tr><th>k<th>v<tr><td>1<td><p>2</p></table><img src="http://x.test/p" alt="a picture"> &copy; &#8238;end"#;
    let wanted = "## Head line\n\nSome bold [link](https://example.org/x) and none.\n\n- one\n- two\n  1. in\n\n\
        ```\na\n  b\n```\n\n| k | v |\n| --- | --- |\n| 1 | 2 |\n\na picture © end\n\n";
    becomes(Kind::Html, page, wanted);
}

#[test]
fn no_depth_of_a_page_costs_anything() {
    for element in ["<div>", "<b>", "<ul>", "<table><tr><td>", "<a href=x>", "<select>", "<svg>"] {
        let text = converted(Kind::Html, element.repeat(200_000) + "x").unwrap();
        assert!(text.len() < 1000, "{element}");
    }
    let cells = format!("<table><tr>{}", "<td>x".repeat(100_000));
    assert!(converted(Kind::Html, cells).is_ok());
}

#[test]
fn subtitles_are_read() {
    let text = "WEBVTT\n\n00:01.000 --> 00:02.000\n<c>Hello</c> you\n\n2\n00:02.000 --> 00:03.000\nHello you\nthere\n";
    becomes(Kind::Vtt, text, "Hello you\nthere\n");
    refused(Kind::Vtt, "<html>", "not subtitles");
}

#[test]
fn what_pandoc_would_fetch_is_taken_out() {
    let tree = r#"{"pandoc-api-version":[1,22],"meta":{"title":{"t":"MetaInlines","c":[{"t":"Str","c":"T"}]},
        "header-includes":{"t":"MetaBlocks","c":[{"t":"RawBlock","c":["html","<link rel=stylesheet href=file:///etc/passwd>"]}]}},
        "blocks":[{"t":"Para","c":[{"t":"Image","c":[["",["c"],[["style","background:url(http://x.test)"]]],[{"t":"Str","c":"alt"}],["file:///etc/passwd",""]]},
        {"t":"RawInline","c":["html","<img src=http://x.test>"]},
        {"t":"Span","c":[["i",[],[["style","background:url(http://x.test)"]]],[{"t":"Str","c":"s"}]]}]},
        {"t":"RawBlock","c":["html","<iframe src=file:///etc/passwd>"]}]}"#;
    let stripped = converted(Kind::PandocTree, tree).unwrap();
    for gone in ["Image", "Raw", "passwd", "x.test", "header-includes"] {
        assert!(!stripped.contains(gone), "{gone} in {stripped}");
    }
    for kept in ["alt", "\"s\"", "title", "\"i\""] {
        assert!(stripped.contains(kept), "{kept} in {stripped}");
    }
    refused(Kind::PandocTree, "{}", "no blocks");
}
