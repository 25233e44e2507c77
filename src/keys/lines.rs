//! Owns where things stand in a TOML text: key path (`rule[1].levels[0]`) to line.
//! Refuses to know what the keys mean.
//! Invariant: a path that is not in the text stands where its nearest parent stands.

use std::collections::BTreeMap;

use toml::{
    Table,
    de::{DeTable, DeValue},
};

use crate::fault::Fault;

/// Deeper than any table of ours; a text of brackets must not end in a stack overflow.
const DEPTH_MAX: usize = 16;

/// A fault with its line in the text it was found in, where it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    pub(crate) line: Option<usize>,
    pub(crate) fault: Fault,
}

impl Located {
    /// The fault with its line in front of its path, for whoever shows faults without a file.
    pub(crate) fn into_fault(self) -> Fault {
        let Self { line, mut fault } = self;
        if let Some(line) = line {
            fault.path = if fault.path.is_empty() { format!("line {line}") } else { format!("line {line}, {}", fault.path) };
        }
        fault
    }
}

/// Lines of all key paths of one text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lines(BTreeMap<String, usize>);

impl Lines {
    pub(crate) fn line_of(&self, path: &str) -> Option<usize> {
        let mut path = path;
        loop {
            if let Some(&line) = self.0.get(path) {
                return Some(line);
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    /// Lets `also` stand where `path` stands.
    pub(crate) fn same_line(&mut self, path: &str, also: String) {
        if let Some(line) = self.line_of(path) {
            self.0.insert(also, line);
        }
    }

    pub(crate) fn locate(&self, faults: impl IntoIterator<Item = Fault>) -> Vec<Located> {
        let mut located: Vec<Located> = faults.into_iter().map(|fault| Located { line: self.line_of(&fault.path), fault }).collect();
        located.sort_by_key(|located| located.line);
        located
    }
}

/// The table and its lines, or every place at which the text is no TOML.
pub(crate) fn read(text: &str) -> Result<(Table, Lines), Vec<Located>> {
    let starts = line_starts(text);
    let line_at = |offset: usize| starts.partition_point(|&start| start <= offset);
    let not_toml = |error: &toml::de::Error| Located {
        line: error.span().map(|span| line_at(span.start)),
        fault: Fault::new("", "not-toml", error.message().replace('\n', ", ")),
    };
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let mut found: Vec<Located> = errors.iter().map(not_toml).collect();
        found.sort_by_key(|located| located.line);
        return Err(found);
    }
    let mut lines = BTreeMap::new();
    put_table("", document.get_ref(), DEPTH_MAX, &line_at, &mut lines);
    let table = toml::from_str(text).map_err(|error| vec![not_toml(&error)])?;
    Ok((table, Lines(lines)))
}

fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n').map(|(at, _)| at + 1)).collect()
}

fn put_table(path: &str, table: &DeTable<'_>, depth: usize, line_at: &impl Fn(usize) -> usize, lines: &mut BTreeMap<String, usize>) {
    for (key, value) in table {
        let path = join(path, key.get_ref());
        lines.insert(path.clone(), line_at(key.span().start));
        put_value(&path, value.get_ref(), depth, line_at, lines);
    }
}

fn put_value(path: &str, value: &DeValue<'_>, depth: usize, line_at: &impl Fn(usize) -> usize, lines: &mut BTreeMap<String, usize>) {
    let Some(depth) = depth.checked_sub(1) else { return };
    match value {
        DeValue::Table(table) => put_table(path, table, depth, line_at, lines),
        DeValue::Array(list) => {
            for (place, item) in list.iter().enumerate() {
                let path = format!("{path}[{place}]");
                lines.insert(path.clone(), line_at(item.span().start));
                put_value(&path, item.get_ref(), depth, line_at, lines);
            }
        }
        _ => {}
    }
}

pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_and_item_has_its_line_and_what_is_missing_stands_with_its_parent() {
        let text = "a = 1\n\n[b]\nc = [\n  \"x\",\n  \"y\",\n]\n[[d]]\ne = 1\n[[d]]\ne = { f = 2 }\n";
        let (_, lines) = read(text).expect("toml");
        for (path, line) in [("a", 1), ("b", 3), ("b.c[1]", 6), ("d[0].e", 9), ("d[1].e.f", 11), ("d[1].g", 10), ("b.c[1].x", 6)] {
            assert_eq!(lines.line_of(path), Some(line), "{path}");
        }
        assert_eq!(lines.line_of("z"), None);
    }

    #[test]
    fn every_place_that_is_no_toml_is_named() {
        let faults = read("a = \nb = 1\nc = [1,\nd 2\n").expect_err("not toml");
        assert!(faults.len() >= 2 && faults.iter().all(|located| located.fault.rule == "not-toml"), "{faults:?}");
        assert_eq!(faults[0].line, Some(1));
        assert!(read("a = 1\na = 2\n").is_err());
    }

    #[test]
    fn a_text_of_brackets_is_refused_or_read_but_never_breaks_the_program() {
        let deep = format!("a = {}{}", "[".repeat(50_000), "]".repeat(50_000));
        assert!(read(&deep).is_err());
    }
}
