//! Owns turning bytes into a JSON value, with the bounds that the format itself has not.
//! Refuses to know alerts. Invariant: no key stands twice in an object (readers differ on which counts), nothing is deeper or larger than allowed.

use std::{
    cell::{Cell, RefCell},
    fmt,
};

use encoding_rs::Encoding;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::{
    alert::reading::Limits,
    fault::{Fault, Faults},
};

/// The value of a document. `charset` is that of the content type; a byte order mark goes before it, and UTF-8 is meant without both.
pub(in crate::alert) fn parse(body: &[u8], charset: Option<&str>, limits: &Limits) -> Result<Value, Vec<Fault>> {
    let text = decode(body, charset).map_err(|fault| vec![fault])?;
    let bounds = Bounds {
        faults: RefCell::default(),
        stopped: Cell::new(None),
        objects: Cell::new(0),
        depth_max: limits.depth_max,
        objects_max: limits.elements_max,
    };
    let mut reader = serde_json::Deserializer::from_str(&text);
    let outcome = Place { bounds: &bounds, at: At::Root, depth: 0 }.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    match outcome {
        Ok(value) => bounds.faults.into_inner().into_result(value),
        Err(error) => {
            let place = format!("line {}, column {}", error.line(), error.column());
            Err(vec![Fault::new(place, bounds.stopped.get().unwrap_or("not-json"), error.to_string())])
        }
    }
}

fn decode(body: &[u8], charset: Option<&str>) -> Result<String, Fault> {
    let (encoding, skip) = match (Encoding::for_bom(body), charset) {
        (Some(found), _) => found,
        (None, None) => (encoding_rs::UTF_8, 0),
        (None, Some(label)) => match Encoding::for_label(label.as_bytes()) {
            Some(encoding) => (encoding, 0),
            None => return Err(Fault::new("", "unknown-encoding", format!("charset {label:?} is not known"))),
        },
    };
    let (text, had_errors) = encoding.decode_without_bom_handling(&body[skip..]);
    if had_errors { Err(Fault::new("", "bad-encoding", format!("the bytes are not {}", encoding.name()))) } else { Ok(text.into_owned()) }
}

struct Bounds {
    faults: RefCell<Faults>,
    /// The rule that ended the reading, where it was not the grammar.
    stopped: Cell<Option<&'static str>>,
    objects: Cell<usize>,
    depth_max: usize,
    objects_max: usize,
}

/// Where a value stands; written out only when something is wrong there.
#[derive(Clone, Copy)]
enum At<'a> {
    Root,
    Key(&'a At<'a>, &'a str),
    Item(&'a At<'a>, usize),
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(At::Root, name) => write!(f, "{}", short(name)),
            Self::Key(above, name) => write!(f, "{above}.{}", short(name)),
            Self::Item(above, place) => write!(f, "{above}[{place}]"),
        }
    }
}

fn short(name: &str) -> String {
    name.chars().take(60).collect()
}

#[derive(Clone, Copy)]
struct Place<'a> {
    bounds: &'a Bounds,
    at: At<'a>,
    depth: usize,
}

impl<'a> Place<'a> {
    fn below<'b>(&'b self, at: At<'b>) -> Place<'b> {
        Place { bounds: self.bounds, at, depth: self.depth + 1 }
    }

    fn stop<E: serde::de::Error>(&self, rule: &'static str, message: &str) -> E {
        self.bounds.stopped.set(Some(rule));
        E::custom(message)
    }

    fn enter<E: serde::de::Error>(&self) -> Result<(), E> {
        if self.depth >= self.bounds.depth_max {
            return Err(self.stop("too-deep", "lists and objects are nested too deep"));
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        serde_json::Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.enter()?;
        let mut list = Vec::new();
        while let Some(value) = items.next_element_seed(self.below(At::Item(&self.at, list.len())))? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        self.enter()?;
        // An empty-looking object takes some 600 bytes of memory, a hundred times its text.
        self.bounds.objects.set(self.bounds.objects.get() + 1);
        if self.bounds.objects.get() > self.bounds.objects_max {
            return Err(self.stop("too-many-elements", "too many objects"));
        }
        let mut map = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let place = self.below(At::Key(&self.at, &name));
            if map.contains_key(&name) {
                self.bounds.faults.borrow_mut().add(place.at.to_string(), "given-twice", "stands twice in one object");
            }
            let value = entries.next_value_seed(place)?;
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(body: &[u8]) -> Vec<(String, &'static str)> {
        let faults = parse(body, None, &Limits::default()).expect_err("refused");
        faults.into_iter().map(|fault| (fault.path, fault.rule)).collect()
    }

    #[test]
    fn a_key_given_twice_is_named_wherever_it_stands() {
        let body = br#"{"level":"red","areas":[{},{"codes":[],"name":"a","name":"b"}],"level":"blue"}"#;
        assert_eq!(rules(body), [("areas[1].name".to_owned(), "given-twice"), ("level".to_owned(), "given-twice")]);
    }

    #[test]
    fn depth_and_number_of_objects_are_bounded() {
        assert_eq!(rules("[".repeat(100_000).as_bytes())[0].1, "too-deep");
        assert_eq!(rules(format!("[{}{{}}]", "{},".repeat(60_000)).as_bytes())[0].1, "too-many-elements");
        assert_eq!(rules(b"{} {}")[0].1, "not-json");
        assert_eq!(rules(b"[1e999]")[0].1, "not-json");
    }

    #[test]
    fn other_encodings_are_read_where_a_mark_or_the_content_type_says_so() {
        let text = r#"{"a":"暴雨"}"#;
        let utf16 =
            |mark: [u8; 2], bytes: fn(u16) -> [u8; 2]| mark.into_iter().chain(text.encode_utf16().flat_map(bytes)).collect::<Vec<u8>>();
        let (gbk, ..) = encoding_rs::GB18030.encode(text);
        let marked = [b"\xef\xbb\xbf".as_slice(), text.as_bytes()].concat();
        let cases = [
            (utf16([0xff, 0xfe], u16::to_le_bytes), None),
            (utf16([0xfe, 0xff], u16::to_be_bytes), None),
            (gbk.to_vec(), Some("gbk")),
            (marked, None),
        ];
        for (body, charset) in cases {
            assert_eq!(parse(&body, charset, &Limits::default()).expect("read")["a"], "暴雨");
        }
        let refused = |charset| parse(&gbk, charset, &Limits::default()).expect_err("refused")[0].rule;
        assert_eq!((refused(None), refused(Some("klingon"))), ("bad-encoding", "unknown-encoding"));
    }
}
