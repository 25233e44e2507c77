//! The verdict of `alert validate` on every file of the corpus of real alerts, beside that of the schema (or what the corpus expects of its own files).
//! `cargo test --lib alert::corpus_tests -- --nocapture` prints the table.

use std::{fs, path::Path};

use serde_json::Value;

use super::validate;

/// Files on which we differ from the schema, and why. A row that no longer differs is a fault of this table.
const EXPLAINED: &[(&str, &str)] = &[
    ("own/polygon-open.xml", "CAP 1.2 section 3.2.4 wants a closed ring; the area told must be the area meant"),
    ("real/at-emma-id.xml", "its polygon is open"),
    ("real/fah-actual-public-en.xml", "CAP 1.1 with a time without offset, a circle without radius, an update without reference"),
    ("real/fah-test-public-fr.xml", "the same generator"),
    ("real/gdacs-1470644.xml", "a polygon leaves the globe at longitude -180.005"),
    ("real/x-no-optional-fields.cap", "an alert without info says nothing that could be passed on"),
    ("real/au-nsw-rfs.xml", "a distribution with exactly one alert is read as that alert"),
    ("real/us-nws-weather.atom", "a feed with exactly one alert inside is read as that alert"),
];

struct Row {
    file: String,
    verdict: &'static str,
    schema: String,
    rules: String,
    reason: &'static str,
}

#[test]
fn real_alerts_are_judged_as_the_schema_judges_them() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus/cap");
    let Ok(index) = fs::read_to_string(corpus.join("index.tsv")) else {
        eprintln!("NOT RUN: the corpus of real alerts is not at {}", corpus.display());
        return;
    };
    let rows = rows(&corpus, &index);
    for row in &rows {
        eprintln!("{:<42} {:<9} {:<22} {:<60} {}", row.file, row.verdict, row.schema, row.rules, row.reason);
    }
    let count = |verdict: &str| rows.iter().filter(|row| row.verdict == verdict).count();
    eprintln!("{} files: {} agree, {} stricter, {} looser", rows.len(), count("agree"), count("stricter"), count("looser"));
    let wrong: Vec<String> = rows
        .iter()
        .filter(|row| (row.verdict == "agree") != row.reason.is_empty())
        .map(|row| format!("{}: {} than {}, {}, explained as {:?}", row.file, row.verdict, row.schema, row.rules, row.reason))
        .collect();
    assert!(wrong.is_empty(), "{} files are judged otherwise than explained:\n{}", wrong.len(), wrong.join("\n"));
}

fn rows(corpus: &Path, index: &str) -> Vec<Row> {
    let mut lines = index.lines();
    let columns: Vec<&str> = lines.next().expect("headings").split('\t').collect();
    let place = |name: &str| columns.iter().position(|column| *column == name).expect("column");
    let (file, valid, expect, root) = (place("file"), place("xsd_valid"), place("expect"), place("root"));
    lines
        .map(|line| line.split('\t').collect::<Vec<&str>>())
        .map(|cells| {
            let expected = cells.get(expect).copied().unwrap_or_default();
            let wanted = match expected {
                word if word.starts_with("accept") => true,
                word if word.starts_with("reject") => false,
                _ => cells[valid] == "yes" && cells[root] == "alert",
            };
            let report = validate::report(cells[file], &fs::read(corpus.join(cells[file])).expect("corpus file"));
            let ours = report["valid"] == Value::Bool(true);
            Row {
                file: cells[file].to_owned(),
                verdict: if ours == wanted {
                    "agree"
                } else if wanted {
                    "stricter"
                } else {
                    "looser"
                },
                schema: if expected.is_empty() { format!("xsd {}", cells[valid]) } else { format!("expect {expected}") }
                    .chars()
                    .take(22)
                    .collect(),
                rules: rules(&report),
                reason: EXPLAINED.iter().find(|(known, _)| *known == cells[file]).map_or("", |(_, reason)| *reason),
            }
        })
        .collect()
}

/// The rules that were broken, each once.
fn rules(report: &Value) -> String {
    let mut rules: Vec<&str> = report["problems"].as_array().into_iter().flatten().filter_map(|fault| fault["rule"].as_str()).collect();
    rules.sort_unstable();
    rules.dedup();
    rules.join(" ")
}
