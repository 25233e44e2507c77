//! Owns the shape in which anything wrong with an input is told: where, which rule, in words.
//! Refuses to know who asks; HTTP, the command line and imports print the same list.
//! Invariant: checkers collect every fault before they answer, up to `FAULTS_MAX`.

use std::fmt;

use serde::Serialize;

/// A hostile document can break a rule a million times; a person reads the first few.
pub const FAULTS_MAX: usize = 200;

/// One fault: `path` points into the input (`info[1].area[0].polygon`, `line 7, phone`, `channel.sms.url`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    pub path: String,
    /// Closed kebab-case word, stable for machines: `polygon-open`, `unknown-area`.
    pub rule: &'static str,
    pub message: String,
}

impl Fault {
    pub fn new(path: impl Into<String>, rule: &'static str, message: impl Into<String>) -> Self {
        Self { path: path.into(), rule, message: message.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} [{}]", self.path, self.message, self.rule)
    }
}

/// Collects faults, at most `FAULTS_MAX` of them; what is over is counted.
#[derive(Debug, Default)]
pub struct Faults {
    list: Vec<Fault>,
    over: usize,
}

impl Faults {
    pub fn add(&mut self, path: impl Into<String>, rule: &'static str, message: impl Into<String>) {
        self.push(Fault::new(path, rule, message));
    }

    pub fn push(&mut self, fault: Fault) {
        if self.list.len() < FAULTS_MAX {
            self.list.push(fault);
        } else {
            self.over += 1;
        }
    }

    pub fn extend(&mut self, faults: impl IntoIterator<Item = Fault>) {
        for fault in faults {
            self.push(fault);
        }
    }

    /// Whether a fault at exactly this place is known already: what is misspelt is not also missing.
    pub fn has(&self, path: &str) -> bool {
        self.list.iter().any(|fault| fault.path == path)
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn len(&self) -> usize {
        self.list.len() + self.over
    }

    /// `Ok` when nothing was wrong, else all of it.
    pub fn into_result<T>(self, value: T) -> Result<T, Vec<Fault>> {
        if self.list.is_empty() { Ok(value) } else { Err(self.into_list()) }
    }

    pub fn into_list(mut self) -> Vec<Fault> {
        if self.over > 0 {
            let message = format!("{} more faults of the same document are not listed", self.over);
            self.list.push(Fault::new("", "too-many-faults", message));
        }
        self.list
    }
}
