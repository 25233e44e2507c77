//! Owns showing the body of a request without what is written into it by hand: names of places and templates stay, values do not.
//! Refuses to know gateways. Pure. Invariant: no literal value is shown, whatever form the body has.

use super::MASK;

/// Stands for a template while the rest is masked; none of these letters has a meaning anywhere.
const FIRST: u32 = 0xe000;
const LAST: u32 = 0xf8ff;

/// JSON, XML or a form, as it begins.
pub(super) fn masked(body: &str) -> String {
    let (text, templates) = put_aside(body);
    let masked = match text.trim_start().chars().next() {
        Some('{' | '[') => json(&text),
        Some('<') => xml(&text),
        _ => form(&text),
    };
    let restored = |letter: char| match place_of(letter).and_then(|place| templates.get(place)) {
        Some(template) => template.clone(),
        None => letter.to_string(),
    };
    masked.chars().map(restored).collect()
}

fn place_of(letter: char) -> Option<usize> {
    (FIRST..=LAST).contains(&u32::from(letter)).then(|| (u32::from(letter) - FIRST) as usize)
}

/// The text with a letter in the place of each template. What cannot be told apart is masked with the rest.
fn put_aside(body: &str) -> (String, Vec<String>) {
    let (mut text, mut templates, mut rest) = (String::new(), Vec::new(), body);
    while let Some((at, end)) = [("{{", "}}"), ("{%", "%}")].into_iter().filter_map(|(mark, end)| Some((rest.find(mark)?, end))).min()
        && let Some(len) = rest[at..].find(end)
        && let Some(letter) =
            u32::try_from(templates.len()).ok().and_then(|count| char::from_u32(FIRST + count)).filter(|&letter| u32::from(letter) <= LAST)
    {
        text.extend(rest[..at].chars().filter(|&letter| place_of(letter).is_none()));
        templates.push(rest[at..at + len + end.len()].to_owned());
        text.push(letter);
        rest = &rest[at + len + end.len()..];
    }
    text.extend(rest.chars().filter(|&letter| place_of(letter).is_none()));
    (text, templates)
}

/// A value: templates stay, each stretch between them is masked.
fn value(text: &str) -> String {
    let mut out = String::new();
    let mut is_open = false;
    for letter in text.chars() {
        if place_of(letter).is_some() {
            out.push(letter);
            is_open = false;
        } else if !is_open {
            out.push_str(MASK);
            is_open = true;
        }
    }
    out
}

fn form(text: &str) -> String {
    let field = |field: &str| match field.split_once('=') {
        Some((name, of)) => format!("{name}={}", value(of)),
        None => value(field),
    };
    text.split('&').map(field).collect::<Vec<_>>().join("&")
}

/// Names before a colon stay, every other text and number is a value.
fn json(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(first) = rest.chars().next() {
        let len = if first == '"' { quoted(rest) } else { rest.find('"').unwrap_or(rest.len()) };
        let (piece, after) = rest.split_at(len);
        if first != '"' {
            out.push_str(&bare(piece));
        } else if after.trim_start().starts_with(':') {
            out.push_str(piece);
        } else {
            out.push_str(&format!("\"{}\"", value(piece.trim_matches('"'))));
        }
        rest = after;
    }
    out
}

/// Bytes of the text in quotes that this begins with.
fn quoted(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            '"' if !is_escaped => return at + 1,
            '\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    text.len()
}

/// Between texts of JSON: numbers and words are values, the signs are not.
fn bare(text: &str) -> String {
    let mut out = String::new();
    let mut word = String::new();
    for letter in text.chars().chain([' ']) {
        if letter.is_whitespace() || "{}[]:,".contains(letter) {
            out.push_str(&value(&word));
            word.clear();
            out.push(letter);
        } else {
            word.push(letter);
        }
    }
    out.pop();
    out
}

/// Between tags, and within the quotes of a tag.
fn xml(text: &str) -> String {
    let (mut out, mut held) = (String::new(), String::new());
    let (mut is_tag, mut quote) = (false, None);
    for letter in text.chars() {
        let is_end = match (is_tag, quote) {
            (true, Some(open)) => letter == open,
            (true, None) => matches!(letter, '>' | '"' | '\''),
            (false, _) => letter == '<',
        };
        if !is_end {
            held.push(letter);
            continue;
        }
        let is_value = !is_tag || quote.is_some();
        out.push_str(&if is_value && !held.trim().is_empty() { value(&held) } else { held.clone() });
        held.clear();
        out.push(letter);
        (is_tag, quote) = match (letter, quote) {
            ('<', None) => (true, None),
            ('>', None) => (false, None),
            (_, None) => (true, Some(letter)),
            (_, Some(_)) => (true, None),
        };
    }
    out.push_str(&value(&held));
    out
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn names_and_templates_stay_and_values_do_not() {
        for (body, shown) in [
            ("user=gw&pass=s3cret&t={{ text|urlencode }}", "user=***&pass=***&t={{ text|urlencode }}"),
            ("s3cret", "***"),
            (
                r#"{"pass": "s3cr\"et", "n":12345, "to":["{{ to }}"], "t":{{ text|tojson }},"k":"a{{ id }}b"}"#,
                r#"{"pass": "***", "n":***, "to":["{{ to }}"], "t":{{ text|tojson }},"k":"***{{ id }}***"}"#,
            ),
            ("<a key='s3cret'><pass>s3cret</pass><t>{{ text|xml }}</t></a>", "<a key='***'><pass>***</pass><t>{{ text|xml }}</t></a>"),
            ("{{ text }}&pass=s3cret{% if a %}", "{{ text }}&pass=***{% if a %}"),
            ("pass={{ secret", "pass=***"),
            ("{\"pass\":\"s3cret", "{\"pass\":\"***\""),
        ] {
            assert_eq!(masked(body), shown, "{body}");
        }
    }
}
