//! The configuration as its only reader, the county's IT person, meets it.

use std::{fs, process::Command};

#[test]
fn three_faults_are_told_at_once_with_file_line_and_key() {
    let home = tempfile::tempdir().expect("directory");
    let file = home.path().join("county.toml");
    let text = "[server]\nlisten = \"127.0.0.1:x\"\n\n[county]\ncode = \"51\"\nnmae = \"北川\"\n\n[channel.mas]\nkind = \"sms\"\nprovider = \"pigeon\"\n";
    fs::write(&file, text).expect("file");
    let output = Command::new(env!("CARGO_BIN_EXE_lastmile")).args(["config", "check", "--config"]).arg(&file).output().expect("runs");
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    for wanted in
        ["county.toml:2: server.listen", "county.toml:6: county.nmae", "did you mean name", "county.toml:10: channel.mas.provider"]
    {
        assert!(told.contains(wanted), "{wanted} is not in:\n{told}");
    }
}

#[test]
fn the_environment_wins_and_no_secret_is_shown() {
    let home = tempfile::tempdir().expect("directory");
    let file = home.path().join("county.toml");
    crate::write_private(&home.path().join("mail.password"), "hunter22\n");
    let text = "[channel.post]\nkind = \"email\"\nprovider = \"smtp\"\nhost = \"mail.example\"\nfrom = \"a@b.example\"\nusername = \"u\"\npassword_file = \"mail.password\"\n";
    fs::write(&file, text).expect("file");
    let output = Command::new(env!("CARGO_BIN_EXE_lastmile"))
        .args(["config", "show", "--config"])
        .arg(&file)
        .env("LASTMILE__SERVER__LISTEN", "127.0.0.1:9")
        .env("LASTMILE__CHANNEL__POST__PORT", "2525")
        .output()
        .expect("runs");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(shown.contains("127.0.0.1:9") && shown.contains("2525") && shown.contains("password = \"***\""), "{shown}");
    assert!(!shown.contains("hunter22"), "{shown}");
}

/// What the program says to a configuration; the code it ends with.
fn checked(text: &str, home: &std::path::Path) -> (Option<i32>, serde_json::Value) {
    let file = home.join("county.toml");
    fs::write(&file, text).expect("file");
    let output =
        Command::new(env!("CARGO_BIN_EXE_lastmile")).args(["config", "check", "--json", "--config"]).arg(&file).current_dir(home).output();
    let output = output.expect("runs");
    (output.status.code(), serde_json::from_slice(&output.stdout).expect("json"))
}

fn rules(list: &serde_json::Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().map(|found| found["rule"].as_str().expect("a rule")).collect()
}

const SOURCE: &str = "[[source]]\nname = \"met\"\nsenders = [\"1\"]\nareas = [\"510726\"]\n";
const LINE: &str = "[channel.line]\nkind = \"sms\"\nprovider = \"file\"\npath = \"out.jsonl\"\n";

#[test]
fn what_would_tell_nobody_is_no_fault_free_configuration() {
    let home = tempfile::tempdir().expect("directory");
    let (code, told) = checked("", home.path());
    assert_eq!((code, rules(&told["problems"])), (Some(2), vec!["no-channel", "no-source"]), "{told}");
    let (code, told) = checked(&format!("{SOURCE}\n{LINE}"), home.path());
    assert_eq!((code, &told["valid"]), (Some(0), &serde_json::json!(true)), "{told}");
    assert_eq!(rules(&told["warnings"]), ["kind-without-channel"; 3], "the usual policy names three kinds more: {told}");
    fs::write(home.path().join("policy.toml"), "[[rule]]\nevents = [\"*\"]\nlevels = [\"red\"]\nroles = [\"*\"]\nchannels = [\"email\"]\n")
        .expect("file");
    let (code, told) = checked(&format!("{SOURCE}\n{LINE}\n[policy]\nfile = \"policy.toml\"\n"), home.path());
    assert_eq!((code, rules(&told["problems"])), (Some(2), vec!["kinds-without-channel"]), "{told}");
}

#[test]
fn a_county_that_the_data_are_not_of_is_told() {
    let home = crate::http_kit::new_home();
    let elsewhere = SOURCE.replace("510726", "510727");
    let (_, told) = checked(&format!("{elsewhere}\n{LINE}\n[county]\ncode = \"510727\"\nname = \"平武县\"\n"), home.path());
    assert_eq!(rules(&told["problems"]), ["county-unlike-data"], "{told}");
    let (code, told) = checked(&format!("{SOURCE}\n{LINE}"), home.path());
    assert_eq!(code, Some(0), "{told}");
}
