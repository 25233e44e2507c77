//! Owns posts to groups: a few lines within a limit of bytes, the measures before the background.
//! Refuses to know robots and their keys. Invariant: never over the limit, never cut inside a character, no line that an alert's text could turn into markup.

use super::{
    outside::plain,
    render::{Said, cut_bytes, links_apart},
};

pub(super) fn text(said: &Said<'_>, bytes_max: usize, markdown: bool) -> String {
    let (open, close) = if markdown { ("**", "**") } else { ("", "") };
    let title = format!("{}{}{}", said.why, said.what, said.place());
    let head = format!("{open}{}{}{close}\n{}", said.drill, plain(&title, markdown), plain(said.headline, markdown));
    let mut rest = String::new();
    if let Some(own) = said.own_text {
        rest.push_str(&format!("\n{}", plain(&links_apart(own), markdown)));
    } else {
        if !said.instruction.is_empty() && !said.is_over {
            rest.push_str(&format!("\n{open}措施{close} {}", plain(&links_apart(said.instruction), markdown)));
        }
        if !said.areas().is_empty() {
            rest.push_str(&format!("\n{open}范围{close} {}", plain(&said.areas(), markdown)));
        }
        if !said.is_over {
            rest.push_str(&format!("\n{open}有效至{close} {}", said.until));
        }
        if !said.description.is_empty() {
            rest.push_str(&format!("\n{open}情况{close} {}", plain(&links_apart(said.description), markdown)));
        }
    }
    let foot = format!("\n{}{}", plain(said.issuer(), markdown), link(&said.alert.web, markdown));
    let room = bytes_max.saturating_sub(head.len() + foot.len());
    let whole = format!("{head}{}{foot}", cut_bytes(&rest, room));
    cut_bytes(&whole, bytes_max).to_owned()
}

/// Longer addresses than this are not read, and would push the measures out.
const LINK_BYTES_MAX: usize = 300;

/// Where the issuer says more; an address is given whole or not at all.
fn link(web: &str, markdown: bool) -> String {
    let is_address = (web.starts_with("https://") || web.starts_with("http://")) && web.len() <= LINK_BYTES_MAX;
    let is_plain = web.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>[]()*`\"".contains(&byte));
    // In markdown the letters of an address that could be markup are written as its escapes; a fragment has none.
    let web = if markdown { web.replace('_', "%5F").replace('~', "%7E") } else { web.to_owned() };
    let is_plain = is_plain && !(markdown && web.contains(['#', '|', '\\']));
    if is_address && is_plain { format!("\n详见 {web}") } else { String::new() }
}
