//! Which programs make one kind of document of another.

use std::{fs::File, str::FromStr};

use assistant_mail::document::Kind;

use super::reader;
use crate::{
    cx::Cx,
    error::{Error, ErrorKind, Result},
    sandbox::{self, Program},
};

/// What a document can be made into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Markdown,
    Html,
    Pdf,
    Docx,
}

impl Format {
    /// As it is asked for.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Markdown => "markdown",
            Self::Html => "html",
            Self::Pdf => "pdf",
            Self::Docx => "docx",
        }
    }

    /// The end of the name of such a file, without the dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Markdown => "md",
            Self::Html => "html",
            Self::Pdf => "pdf",
            Self::Docx => "docx",
        }
    }
}

impl FromStr for Format {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "markdown" | "md" => Ok(Self::Markdown),
            "html" | "htm" => Ok(Self::Html),
            "pdf" => Ok(Self::Pdf),
            "docx" | "doc" | "office" | "word" => Ok(Self::Docx),
            _ => Err(Error::validation(format!("{text:?} is no format; there are markdown, html, pdf and docx"))
                .field("output_format")),
        }
    }
}

/// What a document became.
#[derive(Debug)]
pub struct Converted {
    /// A file without a name, at its beginning.
    pub file: File,
    /// `copy`, `builtin`, or the program that read or wrote it.
    pub engine: &'static str,
}

/// Makes `format` of a document whose kind is known by the end of its name (`extension`, without the dot).
///
/// # Errors
/// `too_large` above `conversion.max_input_bytes`; `invalid` with the reason when it cannot be read; `unavailable` when a
/// program for it is missing.
pub async fn convert(cx: &Cx, input: File, extension: &str, format: Format) -> Result<Converted> {
    let most = cx.config.load().conversion.max_input_bytes.0;
    if super::size(&input)? > most {
        let message = format!("the document is larger than {most} bytes");
        return Err(Error::too_large(message).hint("the limit is conversion.max_input_bytes"));
    }
    let extension = extension.to_ascii_lowercase();
    if format == Format::Markdown {
        return markdown(cx, input, &extension).await;
    }
    let (from, input) = match read_by_pandoc(&extension) {
        Some(from) => (from, input),
        None if matches!(extension.as_str(), "md" | "markdown") => ("gfm", input),
        None => ("gfm", markdown(cx, input, &extension).await?.file),
    };
    let from = format!("--from={from}");
    if format == Format::Html {
        let arguments = ["--sandbox", "--standalone", "--metadata=pagetitle=Document", &from, "--to=html5"];
        return Ok(Converted { file: pandoc(cx, &arguments, input).await.map_err(no_pandoc)?, engine: "pandoc" });
    }
    // What is written may hold what it names, such as images; so everything that would be fetched is taken out before.
    let tree = pandoc(cx, &["--sandbox", &from, "--to=json"], input).await.map_err(no_pandoc)?;
    let tree = reader::markdown(cx, Kind::PandocTree, tree).await?;
    if format == Format::Docx {
        // Without --sandbox, in which pandoc finds its own templates no more.
        let file = pandoc(cx, &["--from=json", "--to=docx"], tree).await?;
        return Ok(Converted { file, engine: "pandoc" });
    }
    let arguments = ["--sandbox", "--standalone", "--metadata=pagetitle=Document", "--from=json", "--to=html5"];
    let page = pandoc(cx, &arguments, tree).await?;
    let engine = cx.config.load().conversion.pdf_engine.clone();
    let file = program(cx, &engine, vec![engine.clone(), "-".to_owned(), "-".to_owned()], page).await;
    let file = file.map_err(|err| missing(err, "conversion.pdf_engine", "weasyprint"))?;
    Ok(Converted { file, engine: "pandoc" })
}

async fn markdown(cx: &Cx, input: File, extension: &str) -> Result<Converted> {
    if let Some(from) = read_by_pandoc(extension) {
        let from = format!("--from={from}");
        let arguments = ["--sandbox", &from, "--to=gfm-raw_html", "--wrap=none"];
        match pandoc(cx, &arguments, input.try_clone().map_err(Error::internal)?).await {
            Ok(text) => return Ok(Converted { file: reader::markdown(cx, Kind::Text, text).await?, engine: "pandoc" }),
            // There are others that read most of these.
            Err(err) if err.kind() == ErrorKind::NotFound && Kind::of_extension(extension).is_some() => {
                return builtin(cx, input, extension).await;
            }
            Err(err) => return Err(no_pandoc(err)),
        }
    }
    match extension {
        "pdf" => {
            let argv = ["pdftotext", "-layout", "-enc", "UTF-8", "-", "-"].map(str::to_owned).to_vec();
            let text = program(cx, "pdftotext", argv, input).await;
            let text = text.map_err(|err| missing(err, "path", "poppler-utils"))?;
            Ok(Converted { file: reader::markdown(cx, Kind::Text, text).await?, engine: "pdftotext" })
        }
        "doc" => {
            let document = office(cx, "doc", "docx", input).await?;
            let Converted { file, .. } = Box::pin(markdown(cx, document, "docx")).await?;
            Ok(Converted { file, engine: "libreoffice" })
        }
        "ppt" | "odp" => {
            let document = office(cx, extension, "pptx", input).await?;
            Ok(Converted { file: reader::markdown(cx, Kind::Pptx, document).await?, engine: "libreoffice" })
        }
        _ => builtin(cx, input, extension).await,
    }
}

async fn builtin(cx: &Cx, input: File, extension: &str) -> Result<Converted> {
    let kind = Kind::of_extension(extension).unwrap_or(Kind::Text);
    let engine = if kind == Kind::Text { "copy" } else { "builtin" };
    Ok(Converted { file: reader::markdown(cx, kind, input).await?, engine })
}

/// What pandoc calls a format that it reads best.
fn read_by_pandoc(extension: &str) -> Option<&'static str> {
    Some(match extension {
        "docx" => "docx",
        "odt" => "odt",
        "epub" => "epub",
        "rtf" => "rtf",
        "html" | "htm" | "xhtml" => "html-native_divs-native_spans",
        _ => return None,
    })
}

async fn pandoc(cx: &Cx, arguments: &[&str], input: File) -> Result<File> {
    let name = cx.config.load().conversion.pandoc_path.clone();
    let arguments = arguments.iter().map(|argument| (*argument).to_owned());
    let argv = [name.clone()].into_iter().chain(arguments).collect();
    program(cx, &name, argv, input).await
}

fn no_pandoc(err: Error) -> Error {
    missing(err, "conversion.pandoc_path", "pandoc")
}

/// One kind of office document becomes another. The program wants files, and has them where nothing stays. Its script
/// asks for files of /proc that are not there; the program behind it does not, and ends with 81 when it wants to be
/// started again, as after it has made its first profile.
async fn office(cx: &Cx, from: &str, to: &str, input: File) -> Result<File> {
    let script = format!(
        "s=$(command -v soffice) || exit 127; s=$(readlink -f \"$s\").bin; d=$(mktemp -d) || exit; export HOME=\"$d\"
         cat >\"$d/in.{from}\" || exit
         office() {{ \"$s\" --headless --convert-to {to} --outdir \"$d/out\" \"$d/in.{from}\" >&2; }}
         office; r=$?; [ $r != 81 ] || {{ office; r=$?; }}
         [ $r = 0 ] || exit $r
         cat \"$d/out/in.{to}\""
    );
    let converted = program(cx, "soffice", vec!["sh".to_owned(), "-c".to_owned(), script], input).await;
    converted.map_err(|err| not_found(err, "soffice", "path", "libreoffice"))
}

/// What is said in a video, as Markdown: its subtitles, in English or else in its own language. The program that fetches
/// them runs as commands of jobs do, and reaches what these reach.
///
/// # Errors
/// `unavailable` when the program is missing, or commands reach no network; `invalid` with what it said: the proxy refused
/// it, or there are none.
pub async fn transcript(cx: &Cx, address: &str) -> Result<Converted> {
    const SCRIPT: &str = "d=$(mktemp -d) && cd \"$d\" || exit
        \"$1\" --quiet --no-warnings --no-config --no-cache-dir --no-playlist --skip-download --write-subs \\
            --write-auto-subs --sub-langs 'en,.*-orig' --sub-format vtt --output text -- \"$2\" >&2 || exit
        set -- text.*vtt
        [ -e \"$1\" ] || { echo 'the video has no subtitles' >&2; exit 1; }
        cat \"$1\"";
    let name = cx.config.load().conversion.transcript_program.clone();
    let argv = ["sh", "-c", SCRIPT, "sh", &name, address].map(str::to_owned).to_vec();
    let nothing = tempfile::tempfile_in(&cx.state_dir).map_err(Error::internal)?;
    let said = sandbox::apart(cx, Program { reaches: true, ..of(cx, &name, argv) }, nothing).await;
    let said = said.map_err(|err| not_found(err, &name, "conversion.transcript_program", "yt-dlp"))?;
    Ok(Converted { file: reader::markdown(cx, Kind::Vtt, said).await?, engine: "yt-dlp" })
}

async fn program(cx: &Cx, name: &str, argv: Vec<String>, input: File) -> Result<File> {
    sandbox::apart(cx, of(cx, name, argv), input).await
}

/// Within the bounds of one document.
fn of(cx: &Cx, name: &str, argv: Vec<String>) -> Program {
    let config = &cx.config.load().conversion;
    let (seconds, output_bytes) = (config.timeout_seconds.0.as_secs(), config.max_output_bytes.0);
    Program { name: name.to_owned(), argv, seconds, output_bytes, reaches: false }
}

/// A shell ends with 127 when there is no such program.
fn not_found(err: Error, name: &str, field: &'static str, package: &str) -> Error {
    if !err.message().contains("ended with 127") {
        return err;
    }
    missing(Error::new(ErrorKind::NotFound, format!("the program {name} is not installed")), field, package)
}

/// A program that is not there: which package has it.
fn missing(err: Error, field: &'static str, package: &str) -> Error {
    if err.kind() != ErrorKind::NotFound {
        return err;
    }
    Error::unavailable(err.message().to_owned()).field(field).hint(format!("install the package {package}"))
}
