//! Reads XML without a tree. Entities that a document declares are never expanded, whatever they stand for.

use quick_xml::{
    Reader,
    escape::resolve_xml_entity,
    events::{BytesStart, Event},
};

use super::{Failed, Result};

/// Elements that may lie in each other.
const MAX_DEPTH: u32 = 256;

pub(super) enum Piece<'a> {
    Open(&'a BytesStart<'a>),
    Close(&'a str),
    Text(&'a str),
}

/// The local name of an element, whatever its prefix.
pub(super) fn name<'a>(element: &'a BytesStart<'_>) -> &'a str {
    let name = element.name().into_inner();
    name.rsplit_once(':').map_or(name, |(_, local)| local)
}

/// The value of an attribute by its local name.
pub(super) fn attribute(element: &BytesStart<'_>, wanted: &str) -> Option<String> {
    element.attributes().with_checks(false).flatten().find_map(|attribute| {
        let key = attribute.key.into_inner();
        let local = key.rsplit_once(':').map_or(key, |(_, local)| local);
        (local == wanted).then(|| attribute.value.into_owned())
    })
}

/// Goes through a document in its order.
pub(super) fn walk<'t>(text: &'t str, mut take: impl FnMut(Piece<'_>) -> Result<()>) -> Result<()> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_end_names = true;
    let mut depth = 0_u32;
    loop {
        let event: Event<'t> = reader.read_event().map_err(|err| Failed(format!("it is not XML: {err}")))?;
        match event {
            Event::Start(element) => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(Failed(format!("its elements lie more than {MAX_DEPTH} deep in each other")));
                }
                take(Piece::Open(&element))?;
            }
            Event::Empty(element) => {
                take(Piece::Open(&element))?;
                take(Piece::Close(name(&element)))?;
            }
            Event::End(element) => {
                depth = depth.saturating_sub(1);
                let name = element.name().into_inner();
                take(Piece::Close(name.rsplit_once(':').map_or(name, |(_, local)| local)))?;
            }
            Event::Text(text) => take(Piece::Text(&text.into_inner()))?,
            Event::CData(text) => take(Piece::Text(&text.into_inner()))?,
            Event::GeneralRef(reference) => {
                let character = reference.resolve_char_ref().ok().flatten();
                let name = reference.into_inner();
                match (character, resolve_xml_entity(&name)) {
                    (Some(character), _) => take(Piece::Text(character.encode_utf8(&mut [0; 4])))?,
                    (None, Some(known)) => take(Piece::Text(known))?,
                    (None, None) => take(Piece::Text(&format!("&{name};")))?,
                }
            }
            Event::DocType(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof if depth > 0 => return Err(Failed("it is not XML: it ends in the middle".to_owned())),
            Event::Eof => return Ok(()),
        }
    }
}
