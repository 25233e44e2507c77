//! Owns the texts of a request that the table writes as templates: address, headers, body.
//! Refuses to know HTTP. Filters: `tojson` writes a JSON text with its quotes, `urlencode` escapes for a query or a form.
//! Invariant: a template that names anything but the known variables is found when the table is read, not when a warning is sent.

use std::collections::BTreeMap;

use minijinja::{Environment, UndefinedBehavior};

use crate::{channel::http_client::percent_encode, keys::Keys};

/// Everything a template may name.
pub(super) const VARIABLES: [&str; 7] = ["to", "to_e164", "text", "id", "from", "secret", "callback_url"];
const NAME: &str = "text";

pub(super) struct Template(Environment<'static>);

/// Values in the order of `VARIABLES`.
pub(super) type Values<'a> = [&'a str; 7];

impl Template {
    /// In words, what is wrong with it.
    fn compile(source: &str) -> Result<Self, String> {
        // Without built-in functions: a template writes a request, it does not compute.
        let mut environment = Environment::empty();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.add_filter("tojson", |text: &str| serde_json::Value::from(text).to_string());
        environment.add_filter("urlencode", |text: &str| {
            let mut written = String::with_capacity(text.len());
            percent_encode(text, &mut written);
            written
        });
        environment.add_template_owned(NAME, source.to_owned()).map_err(|error| error.to_string())?;
        let template = Self(environment);
        let named = template.0.get_template(NAME).map_err(|error| error.to_string())?.undeclared_variables(false);
        let mut unknown: Vec<String> = named.into_iter().filter(|name| !VARIABLES.contains(&name.as_str())).collect();
        unknown.sort();
        if !unknown.is_empty() {
            return Err(format!("names {}; there are only {}", unknown.join(", "), VARIABLES.join(", ")));
        }
        template.render(&["13800138000", "+8613800138000", "x", "0000000000000", "x", "x", "https://x.invalid/"])?;
        Ok(template)
    }

    /// From a key's text; a fault there and a stand-in that is never used when it cannot be one.
    pub(super) fn read(keys: &mut Keys<'_>, key: &str, source: &str) -> Self {
        Self::compile(source).unwrap_or_else(|message| {
            keys.fault(key, "bad-template", message);
            Self(Environment::new())
        })
    }

    pub(super) fn render(&self, values: &Values<'_>) -> Result<String, String> {
        let named: BTreeMap<&'static str, minijinja::Value> = VARIABLES.into_iter().zip(values.iter().map(|&value| value.into())).collect();
        self.0.get_template(NAME).and_then(|template| template.render(named)).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: Values<'_> = ["138", "+86138", "他说\"走\"\n", "id", "10690", "s&x", "https://x/?a=1&b=2"];

    #[test]
    fn values_are_written_for_the_place_they_stand_in() {
        let render = |source| Template::compile(source).expect("compiles").render(&VALUES).expect("renders");
        assert_eq!(render("{\"t\":{{ text | tojson }}}"), "{\"t\":\"他说\\\"走\\\"\\n\"}");
        assert_eq!(render("u={{ callback_url|urlencode }}&p={{ secret|urlencode }}"), "u=https%3A%2F%2Fx%2F%3Fa%3D1%26b%3D2&p=s%26x");
        assert_eq!(render("{{ to }} {{ to_e164 }} {{ id }} {{ from }}"), "138 +86138 id 10690");
    }

    #[test]
    fn what_a_template_cannot_know_is_found_before_a_warning_is_sent() {
        for source in ["{{ phone }}", "{{ text", "{{ text | html }}", "{% for a in range(99999999) %}x{% endfor %}"] {
            assert!(Template::compile(source).is_err(), "{source}");
        }
    }
}
