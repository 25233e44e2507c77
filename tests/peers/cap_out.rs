//! Owns the proof that CAP out is CAP 1.2: every document that is accepted, written again, is valid by its schema and reads back the same.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use lastmile::alert::{self, Limits, Vocabulary, cap};

use crate::{drive::SCHEMA, machine::require};

fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["fixtures/alerts", "../shared/corpus/cap/real", "../shared/corpus/cap/own"].map(|folder| root.join(folder));
    let mut files = Vec::new();
    for folder in folders {
        match fs::read_dir(&folder) {
            Ok(entries) => files.extend(entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file())),
            Err(_) => eprintln!("NOT RUN over {}: it is not here", folder.display()),
        }
    }
    files.sort();
    files
}

#[test]
fn every_accepted_document_comes_out_valid_and_reads_back_the_same() {
    require("/usr/bin/xmllint", "libxml2-utils");
    let folder = tempfile::tempdir().unwrap();
    let (limits, words) = (Limits::default(), Vocabulary::default());
    let mut written = Vec::new();
    for (number, file) in documents().iter().enumerate() {
        let Ok(alert) = alert::read(&fs::read(file).unwrap(), None, &limits, &words).outcome else { continue };
        let text = cap::write(&alert);
        let again = alert::read(text.as_bytes(), None, &limits, &words).outcome;
        let again = again.unwrap_or_else(|faults| panic!("{}: {faults:?}", file.display()));
        assert_eq!(again, alert, "{}", file.display());
        let out = folder.path().join(format!("{number}.xml"));
        fs::write(&out, text).unwrap();
        written.push((out, file.clone()));
    }
    assert!(written.len() >= 3, "the fixtures are accepted");
    if !Path::new(SCHEMA).exists() {
        eprintln!("NOTE: the schema of CAP 1.2 is not beside the project: {} documents were NOT checked against it", written.len());
        return;
    }
    let outs: Vec<&PathBuf> = written.iter().map(|(out, _)| out).collect();
    let done = Command::new("/usr/bin/xmllint").args(["--nonet", "--noout", "--schema"]).arg(SCHEMA).args(outs).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{}", said.lines().filter(|line| !line.ends_with("validates")).collect::<Vec<_>>().join("\n"));
    eprintln!("{} accepted documents came out valid", written.len());
}
