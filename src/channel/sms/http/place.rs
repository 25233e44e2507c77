//! Owns the places that a template writes into, and whether a text could write more than its own.
//! Refuses to know requests. Invariant: it is tried and not read off the source, so that loops, conditions and chains of filters are seen.

use super::template::{Template, Values, in_its_form, sample};

/// Written by us out of digits and letters alone: they mean the same in every place.
const PLAIN: [&str; 3] = ["to", "id", "minutes_left"];
/// Whatever ends a place somewhere: a quote, a tag, a field, a line.
const HOSTILE: &str = "x\"'\\<&>=#?%+ /\r\n";
const MARK: &str = "begin-hostile-end";

/// Where a template is used, and so what a text in it must not be able to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Url,
    Header,
    Json,
    Form,
    Xml,
    /// A body of a kind of its own: the county knows what it writes.
    Free,
}

impl Place {
    /// What a body is, by how it begins and by the content type that a header gives it.
    pub(super) fn of_body(source: &str, content_type: Option<&str>) -> Self {
        let kind = content_type.unwrap_or_default().to_ascii_lowercase();
        match source.trim_start().chars().next() {
            Some('{') if source.trim_start().starts_with("{{") || source.trim_start().starts_with("{%") => Self::of_kind(&kind),
            Some('{' | '[') => Self::Json,
            Some('<') => Self::Xml,
            _ => Self::of_kind(&kind),
        }
    }

    fn of_kind(kind: &str) -> Self {
        if kind.is_empty() || kind.contains("x-www-form-urlencoded") {
            Self::Form
        } else if kind.contains("json") {
            Self::Json
        } else if kind.contains("xml") {
            Self::Xml
        } else {
            Self::Free
        }
    }

    /// The filter that makes a value safe here.
    pub(super) const fn filter(self) -> &'static str {
        match self {
            Self::Json => "tojson",
            Self::Xml => "xml",
            Self::Url | Self::Header | Self::Form | Self::Free => "urlencode",
        }
    }

    /// Whether what was written between the marks could end its place.
    fn is_open(self, written: &str) -> bool {
        match self {
            Self::Url | Self::Form => written.contains(['"', '\'', '<', '>', '&', '=', '#', '?', '+', ' ', '/', '\r', '\n']),
            Self::Header => written.contains(['\r', '\n']),
            Self::Xml => written.contains(['<', '>', '"', '\'']),
            Self::Json => written.contains(['\r', '\n']) || written.replace("\\\\", "").replace("\\\"", "").contains('"'),
            Self::Free => false,
        }
    }

    /// Whether a hostile value of this variable could write more than its own place. Tried and not read off the source: loops, conditions and
    /// chains of filters are all seen.
    pub(super) fn lets_through(self, template: &Template, name: &'static str) -> bool {
        // In a header only a text from outside can bring what the county has not written itself, and `secret` often is a header whole.
        if PLAIN.contains(&name) || self == Self::Free || (self == Self::Header && name != "text") {
            return false;
        }
        let hostile = format!("begin-{HOSTILE}-end");
        let written = |text: &str| {
            let value = |other: &'static str| if other == name { in_its_form(name, text) } else { sample(other) };
            template.render(&Values::of(&template.named(), value)).ok()
        };
        let (Some(harmless), Some(hostile_one)) = (written(MARK), written(&hostile)) else { return true };
        if self == Self::Json {
            let whole = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
            // What is no JSON even with a harmless value is judged by its quotes, below.
            if let Some(expected) = whole(&harmless) {
                return whole(&hostile_one) != Some(replaced(expected, MARK, &hostile));
            }
        }
        let mut rest = hostile_one.as_str();
        while let Some((_, after)) = rest.split_once("begin-") {
            let Some((between, further)) = after.split_once("-end") else { return true };
            if self.is_open(between) {
                return true;
            }
            rest = further;
        }
        false
    }
}

/// The same JSON with another text in the place of this one.
fn replaced(value: serde_json::Value, from: &str, to: &str) -> serde_json::Value {
    use serde_json::Value as Json;
    match value {
        Json::String(text) => Json::String(text.replace(from, to)),
        Json::Array(list) => Json::Array(list.into_iter().map(|value| replaced(value, from, to)).collect()),
        Json::Object(object) => {
            Json::Object(object.into_iter().map(|(key, value)| (key.replace(from, to), replaced(value, from, to))).collect())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_writes_its_own_place_and_nothing_else() {
        use Place::{Form, Free, Header, Json, Url, Xml};
        for (place, source, bare) in [
            (Json, "{\"t\":{{ text|tojson }},\"n\":{{ to_list|tojson }},\"m\":{{ minutes_left }},\"to\":\"{{ to }}\"}", ""),
            (Json, "{\"t\":\"{{ text }}\"}", "text"),
            (Json, "{\"t\":\"{{ text|urlencode }}\"}", "text"),
            (Json, "[{% for n in to_list %}\"{{ n }}\"{% if not loop.last %},{% endif %}{% endfor %}]", "to_list"),
            (Json, "{\"key\":\"{{ secret }}\",\"back\":\"{{ callback_url }}\"}", "callback_url secret"),
            (Json, "{\"t\":{{ text }}}", "text"),
            (Json, "{t: {{ text|tojson }}}", ""),
            (Url, "http://h/?t={{ text }}", "text"),
            (Url, "http://h/?t={{ text|urlencode }}&n={{ to }}&e={{ to_e164|urlencode }}", ""),
            (Url, "http://h/?e={{ to_e164 }}", "to_e164"),
            (Form, "t={{ text }}", "text"),
            (Form, "t={{ text|urlencode }}&n={{ to }}", ""),
            (Header, "{{ text }}", "text"),
            (Header, "Bearer {{ secret }}", ""),
            (Xml, "<t>{{ text }}</t>", "text"),
            (Xml, "<t>{{ text|xml }}</t>", ""),
            (Free, "{{ text }}", ""),
        ] {
            let template = Template::compile(source, None).expect("compiles");
            let found: Vec<&str> = template.named().into_iter().filter(|&name| place.lets_through(&template, name)).collect();
            assert_eq!(found.join(" "), bare, "{place:?} {source}");
        }
    }
}
