//! Documents of many kinds, honest and hostile, through the real converters in the real sandbox.

use std::{
    io::{Cursor, Write as _},
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use assistant_api::{
    client::Error as ClientError,
    workspace::{ConvertReply, ConvertRequest},
};
use tempfile::TempDir;
use tokio::net::TcpListener;
use zip::{ZipWriter, write::SimpleFileOptions};

use crate::support::{daemon::Daemon, skip};

/// A workspace that belongs to an ordinary user also when the tests run as root.
struct Bed {
    daemon: Daemon,
    _dir: TempDir,
    place: PathBuf,
}

impl Bed {
    async fn new(more: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("assistant-documents-").tempdir().unwrap();
        let place = dir.path().join("workspace");
        std::fs::create_dir(&place).unwrap();
        if nix::unistd::geteuid().is_root() {
            chown(&place, Some(65534), Some(65534)).unwrap();
        }
        let runner = Path::new(env!("CARGO_BIN_EXE_assistantd")).with_file_name("assistant-sandbox");
        let (shared, runner) = (place.display(), runner.display());
        let config = format!("[filesystem]\nshared_root = \"{shared}\"\n[sandbox]\nrunner = \"{runner}\"\n{more}");
        Self { daemon: Daemon::start(&config).await, _dir: dir, place }
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.place.join(name), content).unwrap();
    }

    async fn convert(&self, name: &str, format: &str) -> Result<(String, String), String> {
        let asked = ConvertRequest {
            path: name.into(),
            output_format: format.into(),
            destination_path: None,
            delete_original: false,
        };
        let made: Result<ConvertReply, _> = self.daemon.client().post("/api/workspace/convert", &asked).await;
        match made {
            Ok(made) => {
                let content = std::fs::read(self.place.join(&made.file.relative_path)).unwrap();
                Ok((made.conversion.engine, String::from_utf8_lossy(&content).into_owned()))
            }
            Err(ClientError::Problem { problem, .. }) => Err(problem.title),
            Err(err) => panic!("{name}: {err}"),
        }
    }

    #[track_caller]
    fn nothing_is_left(&self) {
        let left: Vec<_> = std::fs::read_dir(&self.place)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with('.') && !matches!(&**name, ".assistant" | ".trash"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// A document as pandoc writes it.
fn written(to: &str, markdown: &str) -> Vec<u8> {
    let mut child = Command::new("pandoc")
        .args(["--standalone", "--metadata=title=T", "--from=gfm", &format!("--to={to}"), "--output=-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(markdown.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    output.stdout
}

fn zipped(files: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in files {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// One page with a line of text (ISO 32000-1), found by readers that repair a missing table of references.
const PDF: &str = "%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n\
    3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 100]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>endobj\n\
    4 0 obj<</Length 41>>stream\nBT /F 12 Tf 20 50 Td (Paid in full) Tj ET\nendstream endobj\n\
    5 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n";

const TEXT: &str =
    "# Report\n\nAll is *well*, see [here](https://example.org/).\n\n| k | v |\n|---|---|\n| a | 1 |\n\n- one\n- two\n";

#[tokio::test(flavor = "multi_thread")]
async fn documents_of_every_kind_are_read() {
    // Also where jobs may run no command.
    let bed = Bed::new("enabled = false\n").await;
    for (kind, engine) in
        [("docx", "pandoc"), ("odt", "pandoc"), ("epub", "pandoc"), ("rtf", "pandoc"), ("html", "pandoc")]
    {
        let name = format!("report.{kind}");
        bed.write(&name, written(kind, TEXT));
        let (by, text) = bed.convert(&name, "markdown").await.unwrap();
        assert_eq!(by, engine, "{name}");
        for wanted in ["Report", "All is", "https://example.org/", "one"] {
            assert!(text.contains(wanted), "{name}: {wanted} in {text}");
        }
    }
    let slides = zipped(&[("ppt/slides/slide1.xml", "<p:sld><a:p><a:r><a:t>First slide</a:t></a:r></a:p></p:sld>")]);
    let samples: [(&str, &[u8], &str, &str); 10] = [
        ("a.txt", b"plain", "copy", "plain"),
        ("utf16.txt", b"\xff\xfeh\0i\0", "copy", "hi"),
        ("latin.txt", b"caf\xe9", "copy", "caf\u{e9}"),
        ("a.md", b"# T\n", "copy", "# T\n"),
        ("a.csv", b"a,b\n1,2\n", "builtin", "| 1 | 2 |"),
        ("a.tsv", b"a\tb\n1\t2\n", "builtin", "| 1 | 2 |"),
        ("a.json", b"{\"a\": 1}", "builtin", "```json\n{\"a\": 1}"),
        ("a.xml", b"<a>x</a>", "builtin", "<a>x</a>"),
        ("a.pptx", &slides, "builtin", "First slide"),
        ("a.pdf", PDF.as_bytes(), "pdftotext", "Paid in full"),
    ];
    for (name, content, engine, wanted) in samples {
        bed.write(name, content);
        let (by, text) = bed.convert(name, "md").await.unwrap();
        assert_eq!(by, engine, "{name}");
        assert!(text.contains(wanted), "{name}: {text}");
    }
    bed.nothing_is_left();
    bed.daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_of_other_kinds_are_made() {
    let bed = Bed::new("").await;
    bed.write("n.md", TEXT);
    let (_, page) = bed.convert("n.md", "html").await.unwrap();
    assert!(page.contains("<h1") && page.contains("<table>"), "{page}");
    assert_eq!(bed.convert("n.md", "word").await.unwrap().0, "pandoc");
    let (_, back) = bed.convert("n.docx", "markdown").await.unwrap();
    assert!(back.contains("All is *well*"), "{back}");
    assert!(bed.place.join("n-1.md").is_file(), "a name beside it that was free");
    let (_, pdf) = bed.convert("n.md", "pdf").await.unwrap();
    assert!(pdf.starts_with("%PDF"), "{pdf}");
    let (by, back) = bed.convert("n.pdf", "markdown").await.unwrap();
    assert_eq!(by, "pdftotext");
    for wanted in ["Report", "All is well", "two"] {
        assert!(back.contains(wanted), "{wanted} in {back}");
    }
    assert!(bed.convert("n.md", "exe").await.unwrap_err().contains("markdown, html, pdf and docx"));
    bed.nothing_is_left();
    bed.daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_missing_is_named() {
    let bed = Bed::new("[conversion]\npdf_engine = \"no-such-engine\"\npandoc_path = \"no-such-pandoc\"\n").await;
    bed.write("n.md", TEXT);
    bed.write("n.odt", written("odt", TEXT));
    for (name, format) in [("n.md", "html"), ("n.odt", "markdown")] {
        let reason = bed.convert(name, format).await.unwrap_err();
        assert!(reason.contains("no-such-pandoc is not installed"), "{name} to {format}: {reason}");
    }
    bed.daemon.stop().await;
    let bed = Bed::new("[conversion]\npdf_engine = \"no-such-engine\"\n").await;
    bed.write("n.md", TEXT);
    let reason = bed.convert("n.md", "pdf").await.unwrap_err();
    assert!(reason.contains("no-such-engine is not installed"), "{reason}");
    bed.nothing_is_left();
    bed.daemon.stop().await;
}

/// What an office program writes of a document of another kind.
fn saved(dir: &Path, name: &str, to: &str) -> Vec<u8> {
    let status = Command::new("soffice")
        .env("HOME", dir)
        .args(["--headless", "--convert-to", to, "--outdir"])
        .arg(dir)
        .arg(dir.join(name))
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{name} to {to}");
    std::fs::read(dir.join(name).with_extension(to)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_of_old_office_programs_are_read_by_another_one() {
    if Command::new("soffice").arg("--version").stdout(Stdio::null()).status().is_err() {
        skip("documents: soffice is not installed");
        return;
    }
    let bed = Bed::new("enabled = false\n").await;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("t.docx"), written("docx", TEXT)).unwrap();
    std::fs::write(dir.path().join("s.pptx"), written("pptx", TEXT)).unwrap();
    for (name, source, ending) in [("t.doc", "t.docx", "doc"), ("s.ppt", "s.pptx", "ppt"), ("s.odp", "s.pptx", "odp")] {
        bed.write(name, saved(dir.path(), source, ending));
        let (by, text) = bed.convert(name, "markdown").await.unwrap();
        assert_eq!(by, "libreoffice", "{name}");
        for wanted in ["Report", "All is", "two"] {
            assert!(text.contains(wanted), "{name}: {wanted} in {text}");
        }
    }
    bed.nothing_is_left();
    bed.daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_lies_or_swells_is_refused() {
    let bed = Bed::new("[conversion]\nmax_output_bytes = 100000\ntimeout_seconds = 20\n").await;
    let bomb = zipped(&[("word/document.xml", &" ".repeat(300 << 20))]);
    let deep = "<a>".repeat(100_000);
    let swelling =
        zipped(&[("ppt/slides/slide1.xml", &format!("<p>{}</p>", "<a:p><a:t>word</a:t></a:p>".repeat(50_000)))]);
    let samples: [(&str, &[u8], &str); 10] = [
        ("program.txt", b"MZ\0\0\x90\0", "it is not text"),
        ("page.pdf", b"<html><body>x</body></html>", "pdftotext"),
        ("text.docx", b"just text", "pandoc"),
        ("text.xlsx", b"just text", "not a zip file"),
        ("text.pptx", b"just text", "not a zip file"),
        ("bad.json", b"{a: 1}", "not JSON"),
        ("deep.xml", deep.as_bytes(), "deep in each other"),
        ("bomb.docx", &bomb, "pandoc"),
        ("swelling.pptx", &swelling, "becomes more than 100000 bytes"),
        ("empty.pdf", b"", "pdftotext"),
    ];
    for (name, content, why) in samples {
        bed.write(name, content);
        let reason = bed.convert(name, "markdown").await.unwrap_err();
        assert!(reason.contains(why), "{name}: {reason}");
        for path in [bed.place.to_str().unwrap(), "/state", "/tmp/"] {
            assert!(!reason.contains(path), "{name}: {reason}");
        }
    }
    bed.nothing_is_left();
    bed.daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_document_names_is_read_or_fetched() {
    let bed = Bed::new("").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let there = listener.local_addr().unwrap();
    // A picture in the workspace, whose bytes would stand in what is made.
    bed.write("secret.svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"><text>TOPSECRET</text></svg>");
    let picture = bed.place.join("secret.svg");
    let (host, local) = (format!("http://{there}/p.svg"), format!("file://{}", picture.display()));
    let page = format!(
        "<link rel=stylesheet href='{host}'><link rel=stylesheet href='{local}'><style>@import url({host});</style>\
         <p style='background:url({host})'>text <img src='{host}'><img src='{local}'><img src='secret.svg'>\
         <img src='/etc/passwd'><iframe src='{local}'></iframe><object data='{local}'></object></p>\
         <script src='{host}'></script>"
    );
    let text = format!("text ![a]({host}) ![b]({local}) ![c](secret.svg) ![d](/etc/passwd)\n\n<img src=\"{host}\">\n");
    let laughs = "<!DOCTYPE d [<!ENTITY x SYSTEM \"file:///etc/passwd\"><!ENTITY y SYSTEM \"http://there/\">]>";
    let laughs = laughs.replace("http://there/", &host);
    let document = format!(
        "{laughs}<w:document xmlns:w='w'><w:body><w:p><w:r><w:t>text &x; &y;</w:t></w:r></w:p></w:body></w:document>"
    );
    bed.write("page.html", page);
    bed.write("text.md", text);
    bed.write("entities.xml", format!("{laughs}<a>&x;&y;text</a>"));
    bed.write("entities.docx", zipped(&[("[Content_Types].xml", "<Types/>"), ("word/document.xml", &document)]));
    for name in ["page.html", "text.md", "entities.xml", "entities.docx"] {
        for format in ["markdown", "html", "docx", "pdf"] {
            match bed.convert(name, format).await {
                Ok((_, made)) => {
                    assert!(!made.contains("TOPSECRET") && !made.contains("root:x:"), "{name} to {format}: {made}");
                    if format == "pdf" {
                        let made = Path::new(name).with_extension("pdf");
                        let (_, seen) = bed.convert(made.to_str().unwrap(), "markdown").await.unwrap();
                        assert!(seen.contains("text"), "{name}: {seen}");
                        assert!(!seen.contains("TOPSECRET") && !seen.contains("root:x:"), "{name}: {seen}");
                    }
                    if format == "docx" {
                        let made = std::fs::read(bed.place.join(name).with_extension("docx")).unwrap();
                        let names: Vec<_> = zip::ZipArchive::new(Cursor::new(made))
                            .unwrap()
                            .file_names()
                            .flatten()
                            .map(std::borrow::Cow::into_owned)
                            .collect();
                        assert!(!names.iter().any(|name| name.contains("media/")), "{names:?}");
                    }
                }
                Err(reason) => assert!(!reason.contains("root:x:"), "{name} to {format}: {reason}"),
            }
        }
    }
    let connected = tokio::time::timeout(std::time::Duration::from_millis(200), listener.accept()).await;
    assert!(connected.is_err(), "a converter asked for what a document names");
    bed.nothing_is_left();
    bed.daemon.stop().await;
}
