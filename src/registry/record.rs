//! Owns what all records have in common: reading one from cells (of a file or of JSON), and writing it back canonically.
//! Refuses to know other records: references are checked where all of them are at hand.
//! Invariant: every fault of a row is found in one reading, each with its column.

use std::{borrow::Cow, fmt, str::FromStr};

use serde_json::{Map, Number, Value};

use super::{
    columns::{Form, Kind},
    mask,
    place::Place,
    row_faults::RowFaults,
};
use crate::{area::AreaCode, datum::Datum, fault::Fault};

/// Letters in an id; it stands in addresses, topics and file names.
const ID_LETTERS_MAX: usize = 64;
/// A name, a kind, an account.
pub(crate) const SHORT_LETTERS_MAX: usize = 100;
/// An address of a robot, a need, a route.
pub(crate) const LONG_LETTERS_MAX: usize = 1_000;
/// People in one household, institution or below one hazard point.
const PEOPLE_MAX: u32 = 1_000_000;

/// A field that is shown and not taken.
pub(crate) const OPTED_OUT: &str = "opted_out";

/// One record as it is written: what files and JSON hold, and what the table is built from.
pub trait Record: Sized {
    const KIND: Kind;

    /// Reads a record from its cells; on any fault, `None` and the faults are in `cells`.
    fn read(cells: &mut Cells<'_>) -> Option<Self>;

    /// The canonical cells in the order of the kind's columns.
    fn cells(&self) -> Vec<Cow<'_, str>>;

    fn id(&self) -> Cow<'_, str>;

    /// Whether its name is a house's and not a person's.
    fn is_institution(&self) -> bool {
        false
    }

    /// From JSON as `PUT` takes it: fields named as the columns; unknown fields are refused by name.
    fn from_json(value: &Value) -> Result<Self, Vec<Fault>> {
        let columns = Self::KIND.columns();
        let mut faults = RowFaults::default();
        let Value::Object(object) = value else {
            return Err(vec![Fault::new("", "not-an-object", "expected a JSON object of one record")]);
        };
        let mut texts = vec![String::new(); columns.len()];
        for (name, value) in object {
            match columns.iter().position(|column| column.name == name) {
                // Answers carry it; only the person's own word changes it.
                None if Self::KIND == Kind::Subscribers && name == OPTED_OUT => {}
                None => faults.add(name.clone(), "unknown-field", format!("{} have no field {name:?}", Self::KIND.name())),
                Some(at) => match value {
                    Value::Null => {}
                    Value::String(text) => texts[at].clone_from(text),
                    Value::Number(number) => texts[at] = number.to_string(),
                    _ => faults.add(name.clone(), "wrong-type", "expected a string, a number or null"),
                },
            }
        }
        let values: Vec<&str> = texts.iter().map(String::as_str).collect();
        let place = |column: &str| column.to_owned();
        let mut cells = Cells::new(Self::KIND, &values, Datum::Wgs84, &place, &mut faults);
        let record = Self::read(&mut cells);
        let list = faults.into_list();
        match record {
            Some(record) if list.is_empty() => Ok(record),
            _ => Err(list),
        }
    }

    /// As `GET` answers it, or `PUT` takes it: every column, empty ones as null.
    fn to_json(&self, shown: Shown) -> Value {
        let mut object = Map::new();
        for (column, cell) in Self::KIND.columns().iter().zip(self.cells()) {
            let value = match mask::cell(column.class_for(self.is_institution()), shown, &cell) {
                None => Value::Null,
                Some(_) if cell.is_empty() => Value::Null,
                Some(cell) if column.form == Form::Number => Number::from_str(&cell).map_or(Value::Null, Value::Number),
                Some(cell) => Value::String(cell.into_owned()),
            };
            object.insert(column.name.to_owned(), value);
        }
        Value::Object(object)
    }
}

/// Whether what tells of people is given whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    Whole,
    Masked,
}

/// The cells of one record while it is read.
pub struct Cells<'a> {
    kind: Kind,
    /// One per column of the kind, empty where the file has none.
    values: &'a [&'a str],
    datum: Datum,
    /// How a column of this row is named in a fault: `subscribers.csv line 7, phone`.
    place: &'a dyn Fn(&str) -> String,
    faults: &'a mut RowFaults,
    sound: bool,
}

impl<'a> Cells<'a> {
    pub fn new(kind: Kind, values: &'a [&'a str], datum: Datum, place: &'a dyn Fn(&str) -> String, faults: &'a mut RowFaults) -> Self {
        debug_assert_eq!(values.len(), kind.columns().len());
        Self { kind, values, datum, place, faults, sound: true }
    }

    /// The record, unless any of its cells was at fault.
    pub(crate) fn finish<T>(&self, record: T) -> Option<T> {
        self.sound.then_some(record)
    }

    pub(crate) fn fault(&mut self, column: usize, rule: &'static str, message: impl Into<String>) {
        self.sound = false;
        self.faults.add((self.place)(self.kind.columns()[column].name), rule, message);
    }

    pub(crate) fn raw(&self, column: usize) -> &'a str {
        self.values[column].trim()
    }

    /// A text of at most `letters_max` letters without control characters; may be empty.
    pub(crate) fn text(&mut self, column: usize, letters_max: usize) -> Box<str> {
        let text = self.raw(column);
        // Three bytes a letter bounds the count without counting in the usual case.
        if text.len() > letters_max && text.chars().count() > letters_max {
            self.fault(column, "too-long", format!("longer than {letters_max} letters"));
        } else if text.chars().any(char::is_control) {
            self.fault(column, "control-character", "holds a line break or another control character");
        }
        text.into()
    }

    pub(crate) fn needed_text(&mut self, column: usize, letters_max: usize) -> Box<str> {
        if self.raw(column).is_empty() {
            self.missing(column);
        }
        self.text(column, letters_max)
    }

    /// An id: letters and digits of any script and `.`, `_`, `-`, `:`, `@`, because it stands in addresses and topics.
    pub(crate) fn id(&mut self, column: usize) -> Box<str> {
        if self.raw(column).is_empty() {
            self.missing(column);
        }
        self.reference(column).unwrap_or_default()
    }

    /// The id of another record, or nothing.
    pub(crate) fn reference(&mut self, column: usize) -> Option<Box<str>> {
        let id = self.text(column, ID_LETTERS_MAX);
        if id.chars().any(|letter| !letter.is_alphanumeric() && !"._-:@".contains(letter)) {
            self.fault(column, "bad-id", format!("{id:?} holds other than letters, digits and . _ - : @"));
        }
        (!id.is_empty()).then_some(id)
    }

    /// A needed value of its own type; its error says what is wrong.
    pub(crate) fn needed<T>(&mut self, column: usize, rule: &'static str) -> Option<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        if self.raw(column).is_empty() {
            self.missing(column);
            return None;
        }
        self.optional(column, rule)
    }

    pub(crate) fn optional<T>(&mut self, column: usize, rule: &'static str) -> Option<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        let raw = self.raw(column);
        if raw.is_empty() {
            return None;
        }
        raw.parse().map_err(|error: T::Err| self.fault(column, rule, error.to_string())).ok()
    }

    pub(crate) fn area(&mut self, column: usize) -> Option<AreaCode> {
        self.needed(column, "bad-area-code")
    }

    /// A whole number of people; spreadsheets write `4.0` for 4.
    pub(crate) fn people(&mut self, column: usize, if_empty: u32) -> u32 {
        let raw = self.raw(column);
        if raw.is_empty() {
            return if_empty;
        }
        let whole = raw.strip_suffix(".0").unwrap_or(raw);
        match whole.parse::<u32>() {
            Ok(people) if people <= PEOPLE_MAX && whole.bytes().all(|b| b.is_ascii_digit()) => people,
            _ => {
                self.fault(column, "bad-number", format!("expected a whole number from 0 to {PEOPLE_MAX}"));
                if_empty
            }
        }
    }

    /// Coordinates: both or neither, on the globe, brought to WGS-84.
    pub(crate) fn place(&mut self, lon: usize, lat: usize) -> Option<Place> {
        if self.raw(lon).is_empty() != self.raw(lat).is_empty() {
            let empty = if self.raw(lon).is_empty() { lon } else { lat };
            self.fault(empty, "half-coordinates", "longitude and latitude go together");
            return None;
        }
        if self.raw(lon).is_empty() {
            return None;
        }
        let (east, north) = (self.degrees(lon, 180.0), self.degrees(lat, 90.0));
        let (east, north) = (east?, north?);
        let (east, north) = self.datum.to_wgs84(east, north);
        let place = Place::new(east, north);
        if place.is_none() {
            self.fault(lon, "bad-coordinates", "lies off the globe");
        }
        place
    }

    fn degrees(&mut self, column: usize, most: f64) -> Option<f64> {
        let degrees = self.raw(column).parse::<f64>().ok().filter(|degrees| degrees.abs() <= most);
        if degrees.is_none() {
            self.fault(column, "bad-coordinates", format!("expected degrees from -{most} to {most}"));
        }
        degrees
    }

    fn missing(&mut self, column: usize) {
        let name = self.kind.columns()[column].name;
        self.fault(column, "missing", format!("{name} is needed"));
    }
}

/// Coordinates as two cells, without needless digits.
pub(crate) fn place_cells(place: Option<Place>) -> [Cow<'static, str>; 2] {
    place.map_or([Cow::Borrowed(""), Cow::Borrowed("")], |place| [place.lon().to_string().into(), place.lat().to_string().into()])
}

/// An empty cell for nothing.
pub(crate) fn cell(text: Option<&str>) -> Cow<'_, str> {
    Cow::Borrowed(text.unwrap_or(""))
}
