//! Owns the texts of a request that the table writes as templates: address, headers, body.
//! Refuses to know HTTP. Filters: `tojson` writes a JSON text with its quotes, or a list of them; `urlencode` escapes for a query, a form or a
//! header; `xml` escapes for a document.
//! Invariant: a template that names anything but the known variables, or through which a text could write more than its own place, is found
//! when the table is read, not when a warning is sent.

use std::collections::{BTreeMap, BTreeSet};

use encoding_rs::Encoding;
use minijinja::{Environment, Error, UndefinedBehavior, Value};

use super::place::Place;
use crate::{
    channel::http_client::{percent_encode, percent_encode_octets},
    keys::Keys,
};

/// Everything a template may name, and what it is tried with when the table is read.
const VARIABLES: [(&str, &str); 10] = [
    ("to", "13800138000"),
    ("to_e164", "+8613800138000"),
    ("to_list", "13800138000"),
    ("text", "x"),
    ("id", "0000000000000"),
    ("from", "x"),
    ("secret", "x"),
    ("callback_url", "https://x.invalid/"),
    (OF_ONE, "https://x.invalid/"),
    ("minutes_left", "60"),
];
/// The only variable that is a list and not a text.
pub(super) const LIST: &str = "to_list";
/// The address for reports of one message.
pub(super) const OF_ONE: &str = "message_callback_url";
const NAME: &str = "text";

pub(super) enum Template {
    /// Without a variable: never rendered.
    Fixed(String),
    Written {
        environment: Box<Environment<'static>>,
        named: BTreeSet<&'static str>,
    },
}

/// The variables of one request.
pub(super) struct Values(Value);

impl Values {
    /// `value` is asked for what the templates name, and for nothing else.
    pub(super) fn of(named: &BTreeSet<&'static str>, value: impl Fn(&'static str) -> Value) -> Self {
        Self(named.iter().map(|&name| (name, value(name))).collect::<BTreeMap<_, _>>().into())
    }
}

impl Template {
    /// In words, what is wrong with it.
    pub(super) fn compile(source: &str, charset: Option<&'static Encoding>) -> Result<Self, String> {
        if !["{{", "{%", "{#"].iter().any(|mark| source.contains(mark)) {
            return Ok(Self::Fixed(source.to_owned()));
        }
        // Without built-in functions: a template writes a request, it does not compute.
        let mut environment = Environment::empty();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.add_filter("tojson", to_json);
        environment.add_filter("urlencode", move |text: &str| {
            let mut written = String::with_capacity(text.len());
            match charset {
                Some(charset) => percent_encode_octets(&octets_in(text, charset), &mut written),
                None => percent_encode(text, &mut written),
            }
            written
        });
        environment.add_filter("xml", to_xml);
        environment.add_template_owned(NAME, source.to_owned()).map_err(|error| error.to_string())?;
        let (named, unknown) = names(&environment)?;
        if !unknown.is_empty() {
            let known = VARIABLES.map(|(name, _)| name).join(", ");
            return Err(format!("names {}; there are only {known}", unknown.join(", ")));
        }
        let template = Self::Written { environment: Box::new(environment), named };
        template.render(&Values::of(&template.named(), sample))?;
        Ok(template)
    }

    /// From a key's text; a fault there and a stand-in that is never used when it cannot be one.
    pub(super) fn read(keys: &mut Keys<'_>, key: &str, source: &str, charset: Option<&'static Encoding>, place: Place) -> Self {
        let template = Self::compile(source, charset).unwrap_or_else(|message| {
            keys.fault(key, "bad-template", message);
            Self::Fixed(String::new())
        });
        let bare: Vec<&str> = template.named().into_iter().filter(|&name| place.lets_through(&template, name)).collect();
        if !bare.is_empty() {
            let filter = place.filter();
            let message = format!(
                "{} must pass the filter {filter}, as in {{{{ {}|{filter} }}}}, or a text could write more than its own place",
                bare.join(", "),
                bare[0]
            );
            keys.fault(key, "unfiltered", message);
        }
        template
    }

    /// Its text, where it names nothing.
    pub(super) fn as_fixed(&self) -> Option<&str> {
        match self {
            Self::Fixed(text) => Some(text),
            Self::Written { .. } => None,
        }
    }

    pub(super) const fn is_fixed(&self) -> bool {
        matches!(self, Self::Fixed(_))
    }

    /// The variables that it needs.
    pub(super) fn named(&self) -> BTreeSet<&'static str> {
        match self {
            Self::Fixed(_) => BTreeSet::new(),
            Self::Written { named, .. } => named.clone(),
        }
    }

    pub(super) fn render(&self, values: &Values) -> Result<String, String> {
        match self {
            Self::Fixed(text) => Ok(text.clone()),
            Self::Written { environment, .. } => {
                environment.get_template(NAME).and_then(|template| template.render(&values.0)).map_err(|error| error.to_string())
            }
        }
    }
}

/// A text in the account's charset. What that has not becomes a question mark, as on every telephone that lacks a letter.
pub(super) fn octets_in(text: &str, charset: &'static Encoding) -> Vec<u8> {
    let (octets, _, lacks) = charset.encode(text);
    if !lacks {
        return octets.into_owned();
    }
    let has = |letter: &char| !charset.encode(letter.encode_utf8(&mut [0; 4])).2;
    let known: String = text.chars().map(|letter| if has(&letter) { letter } else { '?' }).collect();
    charset.encode(&known).0.into_owned()
}

/// The known and the unknown variables of the compiled template.
fn names(environment: &Environment<'_>) -> Result<(BTreeSet<&'static str>, Vec<String>), String> {
    let template = environment.get_template(NAME).map_err(|error| error.to_string())?;
    let (mut named, mut unknown) = (BTreeSet::new(), Vec::new());
    for name in template.undeclared_variables(false) {
        match VARIABLES.into_iter().find(|(known, _)| *known == name) {
            Some((known, _)) => {
                named.insert(known);
            }
            None => unknown.push(name),
        }
    }
    unknown.sort();
    Ok((named, unknown))
}

pub(super) fn sample(name: &'static str) -> Value {
    let text = VARIABLES.into_iter().find(|(known, _)| *known == name).map_or("", |(_, text)| text);
    in_its_form(name, text)
}

pub(super) fn in_its_form(name: &str, text: &str) -> Value {
    if name == LIST { vec![text.to_owned()].into() } else { text.into() }
}

fn to_xml(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => written.push_str("&amp;"),
            '<' => written.push_str("&lt;"),
            '>' => written.push_str("&gt;"),
            '"' => written.push_str("&quot;"),
            '\'' => written.push_str("&#39;"),
            other => written.push(other),
        }
    }
    written
}

/// A text, or the list of numbers.
fn to_json(value: &Value) -> Result<String, Error> {
    if let Some(text) = value.as_str() {
        return Ok(serde_json::Value::from(text).to_string());
    }
    let texts: Vec<String> = value.try_iter()?.map(|item| item.to_string()).collect();
    Ok(serde_json::Value::from(texts).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(name: &'static str) -> Value {
        match name {
            "to" => "138".into(),
            "to_e164" => "+86138".into(),
            "to_list" => vec!["138", "139"].into(),
            "text" => "他说\"走\"\n".into(),
            "id" => "id".into(),
            "from" => "10690".into(),
            "secret" => "s&x".into(),
            "callback_url" | OF_ONE => "https://x/?a=1&b=2".into(),
            "minutes_left" => "90".into(),
            other => panic!("{other} is not a variable"),
        }
    }

    #[test]
    fn values_are_written_for_the_place_they_stand_in() {
        let render = |source| {
            let template = Template::compile(source, None).expect("compiles");
            template.render(&Values::of(&template.named(), value)).expect("renders")
        };
        assert_eq!(render("{\"t\":{{ text | tojson }}}"), "{\"t\":\"他说\\\"走\\\"\\n\"}");
        assert_eq!(render("u={{ callback_url|urlencode }}&p={{ secret|urlencode }}"), "u=https%3A%2F%2Fx%2F%3Fa%3D1%26b%3D2&p=s%26x");
        assert_eq!(render("{{ to }} {{ to_e164 }} {{ id }} {{ from }} {{ minutes_left }}"), "138 +86138 id 10690 90");
        assert_eq!(
            render("{{ to_list|tojson }} {% for to in to_list %}<n>{{ to }}</n>{% endfor %}"),
            "[\"138\",\"139\"] <n>138</n><n>139</n>"
        );
        assert_eq!(render("as it stands }}"), "as it stands }}");
    }

    #[test]
    fn what_a_template_cannot_know_is_found_before_a_warning_is_sent() {
        for source in ["{{ phone }}", "{{ text", "{{ text | html }}", "{% for a in range(99999999) %}x{% endfor %}"] {
            assert!(Template::compile(source, None).is_err(), "{source}");
        }
    }
}
