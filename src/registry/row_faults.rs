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
    /// What was read otherwise than written, and is not a fault.
    warnings: Vec<Fault>,
    warnings_over: usize,
}

/// Warnings are looked over by a person, who sees after these what is wrong with a column.
const WARNINGS_MAX: usize = 1_000;

impl RowFaults {
    pub fn add(&mut self, path: impl Into<String>, rule: &'static str, message: impl Into<String>) {
        if self.list.len() < ROW_FAULTS_MAX {
            self.list.push(Fault::new(path, rule, message));
        } else {
            self.over += 1;
        }
    }

    pub fn warn(&mut self, path: impl Into<String>, rule: &'static str, message: impl Into<String>) {
        if self.warnings.len() < WARNINGS_MAX {
            self.warnings.push(Fault::new(path, rule, message));
        } else {
            self.warnings_over += 1;
        }
    }

    pub fn take_warnings(&mut self) -> Vec<Fault> {
        let mut warnings = std::mem::take(&mut self.warnings);
        if self.warnings_over > 0 {
            let message = format!("{} more warnings are not listed: {WARNINGS_MAX} are", self.warnings_over);
            warnings.push(Fault::new("", "too-many-warnings", message));
        }
        warnings
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
