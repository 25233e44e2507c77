//! Owns the reading of one JSON object: each field by its kind, each fault with its path.
//! Refuses to know alerts. Invariant: a field of another kind is a fault and then absent, never converted.

use serde_json::{Map, Value};

use crate::{fault::Faults, time::Timestamp};

/// One JSON object, and where it stands.
pub(super) struct Object<'a> {
    pub(super) map: &'a Map<String, Value>,
    pub(super) path: String,
    pub(super) faults: &'a mut Faults,
}

impl<'a> Object<'a> {
    pub(super) fn path_of(&self, name: &str) -> String {
        match (self.path.is_empty(), name.is_empty()) {
            (true, _) => name.to_owned(),
            (false, true) => self.path.clone(),
            (false, false) => format!("{}.{name}", self.path),
        }
    }

    pub(super) fn fault(&mut self, name: &str, rule: &'static str, message: impl Into<String>) {
        let path = self.path_of(name);
        self.faults.add(path, rule, message);
    }

    pub(super) fn only(&mut self, names: &[&str]) {
        let unknown: Vec<String> = self.map.keys().filter(|name| !names.contains(&name.as_str())).cloned().collect();
        for name in unknown {
            let shown: String = name.chars().take(60).collect();
            self.fault(&shown, "unknown-field", "is not a field of an alert");
        }
    }

    pub(super) fn present(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        match self.present(name)? {
            Value::String(text) => Some(text.clone()),
            other => {
                let message = format!("must be a text, not {}", type_name(other));
                self.fault(name, "wrong-type", message);
                None
            }
        }
    }

    pub(super) fn required(&mut self, name: &str) -> Option<String> {
        let text = self.text(name);
        if text.is_none() && self.present(name).is_none() {
            self.fault(name, "missing", "must be given");
        }
        text
    }

    pub(super) fn time(&mut self, name: &str) -> Option<Timestamp> {
        let text = self.text(name)?;
        match Timestamp::from_document(&text) {
            Ok(time) => Some(time),
            Err(error) => {
                let message = format!("{error}");
                self.fault(name, "bad-time", message);
                None
            }
        }
    }

    pub(super) fn list(&mut self, name: &str) -> &'a [Value] {
        match self.present(name) {
            None => &[],
            Some(Value::Array(list)) => list,
            Some(other) => {
                let message = format!("must be a list, not {}", type_name(other));
                self.fault(name, "wrong-type", message);
                &[]
            }
        }
    }

    pub(super) fn texts(&mut self, name: &str) -> Vec<String> {
        let mut texts = Vec::new();
        for (place, value) in self.list(name).iter().enumerate() {
            match value {
                Value::String(text) => texts.push(text.clone()),
                other => self.fault(&format!("{name}[{place}]"), "wrong-type", format!("must be a text, not {}", type_name(other))),
            }
        }
        texts
    }

    pub(super) fn words(&mut self, name: &str, known: &[&str]) -> Vec<String> {
        let words = self.texts(name);
        for (place, word) in words.iter().enumerate() {
            if !known.contains(&word.as_str()) {
                self.fault(&format!("{name}[{place}]"), "bad-value", format!("{word:?} is not one of {}", known.join(", ")));
            }
        }
        words
    }

    pub(super) fn object(&mut self, name: &str) -> Option<Object<'_>> {
        match self.present(name)? {
            Value::Object(map) => Some(Object { map, path: self.path_of(name), faults: self.faults }),
            other => {
                let message = format!("must be an object, not {}", type_name(other));
                self.fault(name, "wrong-type", message);
                None
            }
        }
    }

    /// The objects of a list, each read by `read`.
    pub(super) fn each<T>(&mut self, name: &str, mut read: impl FnMut(&mut Object<'_>) -> T) -> Vec<T> {
        let mut list = Vec::new();
        for (place, value) in self.list(name).iter().enumerate() {
            let path = format!("{}[{place}]", self.path_of(name));
            match value {
                Value::Object(map) => list.push(read(&mut Object { map, path, faults: self.faults })),
                other => self.faults.add(path, "wrong-type", format!("must be an object, not {}", type_name(other))),
            }
        }
        list
    }
}

pub(super) const fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
