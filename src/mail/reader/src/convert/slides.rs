//! Presentations (ECMA-376, part 1, section 19) and books (EPUB 3, section 5).

use super::{
    Bounds, Failed, Page, Result, html,
    office::paragraphs,
    xml::{self, Piece},
    zipped::Zipped,
};

/// The number in `ppt/slides/slide12.xml`.
fn number(name: &str, begin: &str) -> Option<u32> {
    name.strip_prefix(begin)?.strip_suffix(".xml")?.parse().ok()
}

pub(super) fn pptx(input: &[u8], bounds: Bounds, page: &mut Page<'_>) -> Result<()> {
    let mut zip = Zipped::open(input, bounds)?;
    let mut slides: Vec<u32> = zip.names().filter_map(|name| number(&name, "ppt/slides/slide")).collect();
    slides.sort_unstable();
    if slides.is_empty() {
        return Err(Failed("it is not a presentation: there are no slides".to_owned()));
    }
    for slide in slides {
        page.text(&format!("## Slide {slide}\n\n"))?;
        for (part, title) in [("ppt/slides/slide", ""), ("ppt/notesSlides/notesSlide", "Notes:\n\n")] {
            let Some(text) = zip.text(&format!("{part}{slide}.xml"))? else { continue };
            let mut lines = Vec::new();
            paragraphs(&text, |line| lines.push(line))?;
            if !lines.is_empty() {
                page.text(title)?;
                lines.iter().try_for_each(|line| page.text(&format!("{line}\n\n")))?;
            }
        }
    }
    Ok(())
}

pub(super) fn epub(input: &[u8], bounds: Bounds, page: &mut Page<'_>) -> Result<()> {
    let mut zip = Zipped::open(input, bounds)?;
    let container = zip.text("META-INF/container.xml")?;
    let container = container.ok_or_else(|| Failed("it is not a book: there is no META-INF/container.xml".into()))?;
    let mut package = None;
    xml::walk(&container, |piece| {
        if let Piece::Open(element) = piece
            && xml::name(element) == "rootfile"
            && package.is_none()
        {
            package = xml::attribute(element, "full-path");
        }
        Ok(())
    })?;
    let package = package.ok_or_else(|| Failed("it is not a book: it names no content".to_owned()))?;
    let content = zip.text(&package)?.ok_or_else(|| Failed("it is not a book: its content is missing".to_owned()))?;
    let folder = package.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
    let (mut items, mut order) = (Vec::new(), Vec::new());
    xml::walk(&content, |piece| {
        let Piece::Open(element) = piece else { return Ok(()) };
        match xml::name(element) {
            "item" => {
                if let (Some(id), Some(path)) = (xml::attribute(element, "id"), xml::attribute(element, "href")) {
                    items.push((id, path));
                }
            }
            "itemref" => order.extend(xml::attribute(element, "idref")),
            _ => {}
        }
        Ok(())
    })?;
    let items: std::collections::HashMap<String, String> = items.into_iter().collect();
    for id in order {
        let Some(path) = items.get(&id) else { continue };
        if let Some(chapter) = zip.text(&format!("{folder}{path}"))? {
            html::page(&chapter, page)?;
        }
    }
    Ok(())
}
