//! Owns the gate before any tree is built: encoding, size, depth, attributes, document types, control characters.
//! Refuses to know alerts. Invariant: bounded time and memory for any bytes; what passes is well-formed enough and small.

use encoding_rs::{Encoding, GB18030, UTF_8, UTF_16BE, UTF_16LE};
use quick_xml::{Reader, events::Event};

use super::reading::Limits;
use crate::fault::Fault;

const HEAD_BYTES: usize = 64 << 10;
/// Declarations that hold at one place; the tree copies them to every element that adds its own, and real documents have under ten.
const NAMESPACES_IN_SCOPE_MAX: usize = 64;

/// The document as text, or the first thing that forbids to read it.
pub(super) fn scan(body: &[u8], limits: &Limits) -> Result<String, Fault> {
    let text = decode(body)?;
    if let Some((place, letter)) = text.char_indices().find(|(_, letter)| letter.is_control() && !matches!(letter, '\t' | '\n' | '\r')) {
        let line = text[..place].matches('\n').count() + 1;
        return Err(Fault::new(format!("line {line}"), "control-character", format!("U+{:04X} is not allowed in XML", u32::from(letter))));
    }
    walk(&text, limits)?;
    Ok(text)
}

/// The beginning of a document as text, to tell what its root is; prolog and comments longer than this are no one's.
pub(super) fn head(body: &[u8]) -> Option<String> {
    let (encoding, skip) = encoding(body).ok()?;
    let end = body.len().min(HEAD_BYTES);
    Some(strip_declaration(&encoding.decode_without_bom_handling(body.get(skip..end)?).0))
}

/// By byte order mark, else by the XML declaration, else UTF-8; with the length of the mark.
fn encoding(body: &[u8]) -> Result<(&'static Encoding, usize), Fault> {
    Ok(match Encoding::for_bom(body) {
        Some((encoding, length)) => (encoding, length),
        None if body.starts_with(b"\0<") => (UTF_16BE, 0),
        None if body.starts_with(b"<\0") => (UTF_16LE, 0),
        None => (declared(body)?, 0),
    })
}

fn decode(body: &[u8]) -> Result<String, Fault> {
    let (encoding, skip) = encoding(body)?;
    let (text, had_errors) = encoding.decode_without_bom_handling(&body[skip..]);
    if had_errors {
        return Err(Fault::new("", "bad-encoding", format!("the bytes are not {}", encoding.name())));
    }
    Ok(strip_declaration(&text))
}

fn declared(body: &[u8]) -> Result<&'static Encoding, Fault> {
    let head = String::from_utf8_lossy(&body[..body.len().min(200)]);
    let declaration = head.split("?>").next().filter(|text| text.trim_start().starts_with("<?xml"));
    let Some(name) = declaration.and_then(|text| text.split("encoding").nth(1)) else { return Ok(UTF_8) };
    let name = name.trim_start_matches([' ', '=', '\t', '"', '\'']);
    let name = name.split(['"', '\'', ' ', '?']).next().unwrap_or_default();
    // GBK is read by its superset, as senders declare the one and write the other.
    let encoding = Encoding::for_label(name.as_bytes())
        .ok_or_else(|| Fault::new("", "unknown-encoding", format!("encoding {name:?} is not known")))?;
    // The declaration itself was read byte by byte, so the document is not in an encoding of two bytes.
    if encoding == UTF_16LE || encoding == UTF_16BE {
        return Err(Fault::new("", "bad-encoding", format!("{name:?} is declared, but the bytes are not {}", encoding.name())));
    }
    Ok(if encoding == encoding_rs::GBK { GB18030 } else { encoding })
}

/// The text is UTF-8 now, whatever the declaration said.
fn strip_declaration(text: &str) -> String {
    let trimmed = text.trim_start();
    match trimmed.strip_prefix("<?xml").and_then(|rest| rest.find("?>")) {
        Some(end) => trimmed["<?xml".len() + end + 2..].to_owned(),
        None => trimmed.to_owned(),
    }
}

fn walk(text: &str, limits: &Limits) -> Result<(), Fault> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_end_names = false;
    let (mut depth, mut elements) = (0_usize, 0_usize);
    // Declarations of each open element, and of all together.
    let (mut declared, mut in_scope) = (Vec::new(), 0_usize);
    loop {
        let place = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
        let fault = |rule, message: String| {
            // A byte order mark in the text puts the reader's positions between the bytes of a letter.
            let line = text.bytes().take(place).filter(|byte| *byte == b'\n').count() + 1;
            Fault::new(format!("line {line}"), rule, message)
        };
        match reader.read_event() {
            Err(error) => return Err(fault("not-xml", error.to_string())),
            Ok(Event::Eof) => return Ok(()),
            Ok(Event::DocType(_)) => return Err(fault("doctype", "document type definitions and entities are refused".into())),
            Ok(Event::GeneralRef(name)) => {
                let known = ["amp", "lt", "gt", "quot", "apos"].iter().any(|entity| name.as_ref() == *entity);
                if !known && !name.is_char_ref() {
                    return Err(fault("entity", "entities are refused".into()));
                }
            }
            Ok(Event::Start(start)) => {
                depth += 1;
                elements += 1;
                if depth > limits.depth_max {
                    return Err(fault("too-deep", format!("elements are nested deeper than {}", limits.depth_max)));
                }
                let own = attributes(&start, limits)
                    .map_err(|count| fault("too-many-attributes", format!("an element has {count} or more attributes")))?;
                declared.push(own);
                in_scope += own;
                if in_scope > NAMESPACES_IN_SCOPE_MAX {
                    return Err(fault("too-many-namespaces", format!("more than {NAMESPACES_IN_SCOPE_MAX} namespaces hold at one place")));
                }
            }
            Ok(Event::Empty(start)) => {
                elements += 1;
                attributes(&start, limits)
                    .map_err(|count| fault("too-many-attributes", format!("an element has {count} or more attributes")))?;
            }
            Ok(Event::End(_)) => {
                depth = depth.saturating_sub(1);
                in_scope -= declared.pop().unwrap_or(0);
            }
            Ok(Event::Text(_) | Event::CData(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_)) => {}
        }
        if elements > limits.elements_max {
            return Err(fault("too-many-elements", format!("more than {} elements", limits.elements_max)));
        }
    }
}

/// How many of an element's attributes declare a namespace; the number of all when it is too many.
fn attributes(start: &quick_xml::events::BytesStart<'_>, limits: &Limits) -> Result<usize, usize> {
    // Checks for doubled names are quadratic; the tree builder makes them on the few that are left.
    let (mut count, mut declared) = (0, 0);
    for attribute in start.attributes().with_checks(false).take(limits.attributes_max + 1) {
        count += 1;
        declared += usize::from(attribute.is_ok_and(|attribute| attribute.key.as_ref().starts_with("xmlns")));
    }
    if count > limits.attributes_max { Err(count) } else { Ok(declared) }
}
