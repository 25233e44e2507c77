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
    fs::write(home.path().join("mail.password"), "hunter22\n").expect("secret");
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

#[test]
fn the_defaults_alone_are_without_fault() {
    let home = tempfile::tempdir().expect("directory");
    let output = Command::new(env!("CARGO_BIN_EXE_lastmile")).args(["config", "check"]).current_dir(home.path()).output().expect("runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
