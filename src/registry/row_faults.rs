//! Owns the list of what is wrong with an import: every bad row by its line, up to a bound.
//! Refuses to know rows and columns.

use crate::fault::Fault;

/// An import has rows, not clauses: a column that is wrong throughout is still worth a long list to a script.
pub const ROW_FAULTS_MAX: usize = 10_000;

/// Like `crate::fault::Faults`, with room for a long file.
#[derive(Debug, Default)]
pub struct RowFaults {
    list: Vec<Fault>,
    over: usize,
}

impl RowFaults {
    pub fn add(&mut self, path: impl Into<String>, rule: &'static str, message: impl Into<String>) {
        if self.list.len() < ROW_FAULTS_MAX {
            self.list.push(Fault::new(path, rule, message));
        } else {
            self.over += 1;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn len(&self) -> usize {
        self.list.len() + self.over
    }

    pub fn into_result<T>(self, value: T) -> Result<T, Vec<Fault>> {
        if self.list.is_empty() { Ok(value) } else { Err(self.into_list()) }
    }

    pub fn into_list(mut self) -> Vec<Fault> {
        if self.over > 0 {
            self.list.push(Fault::new("", "too-many-faults", format!("{} more faults are not listed: {ROW_FAULTS_MAX} are", self.over)));
        }
        self.list
    }
}
