//! What a newer program wrote is refused by name, before anything is touched.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command};

use crate::{
    county::{County, all_below},
    program::run,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_lastmile");

fn contents(county: &County) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    all_below(&county.data).into_iter().map(|path| (path.clone(), fs::read(&path).ok())).collect()
}

fn refused(arguments: &[&str], word: &str) {
    let done = Command::new(PROGRAM).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(3), "{arguments:?}: {said}");
    assert!(said.contains(word), "{arguments:?}: {said}");
}

#[test]
fn a_directory_of_a_newer_program_is_refused_by_every_command_and_stays_as_it_is() {
    let county = County::imported();
    county.key("met", "bureau");
    fs::write(county.data.join("format"), "lastmile data 9999\n").unwrap();
    let before = contents(&county);
    let (data, config, home) = (county.data.to_str().unwrap(), county.config.to_str().unwrap(), county.home.path());
    let (backup, out) = (home.join("b"), home.join("o"));
    for arguments in [
        &["serve", "--config", config][..],
        &["key", "new", "--name", "x", "--role", "duty", "--config", config],
        &["key", "list", "--data", data],
        &["user", "list", "--data", data],
        &["registry", "check", "--data", data],
        &["registry", "export", out.to_str().unwrap(), "--data", data],
        &["store", "verify", "--data", data],
        &["store", "stats", "--data", data],
        &["store", "backup", backup.to_str().unwrap(), "--data", data],
        &["store", "drop", "2026-01", "--data", data],
    ] {
        refused(arguments, "newer lastmile (format 9999");
        assert_eq!(contents(&county), before, "{arguments:?}");
    }
    run(&["key", "list", "--data", home.join("elsewhere").to_str().unwrap()], 0);
}
