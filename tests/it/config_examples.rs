//! Holds the examples of the configuration's manual against the drivers: every block of a channel or source that a reader may uncomment is one that works.

use std::fs;

use lastmile::{
    app,
    channel::{Kind, drivers},
    config::{DEFAULTS, Layers},
    inlet, relay,
};

/// The blocks `# [SECTION.NAME]` up to the next empty line, without their comment signs.
fn examples(section: &str) -> Vec<(String, String)> {
    let mut blocks: Vec<(String, String)> = Vec::new();
    let (mut open, head) = (false, format!("[{section}."));
    for line in DEFAULTS.lines() {
        let bare = line.strip_prefix("# ").unwrap_or_default();
        if let Some(name) = bare.strip_prefix(&head).and_then(|rest| rest.split(']').next()) {
            blocks.push((name.to_owned(), String::new()));
            open = true;
        } else if bare.is_empty() {
            open = false;
        } else if let (true, Some((_, block))) = (open, blocks.last_mut()) {
            block.push_str(bare);
            block.push('\n');
        }
    }
    blocks
}

/// Secrets of the examples stand in files; here they are given in place, as the configuration would after reading them.
fn with_secrets(table: &mut toml::Table) {
    let files: Vec<String> = table.keys().filter(|key| key.ends_with("_file")).cloned().collect();
    for key in files {
        table.remove(&key);
        // 32 bytes in base64: good for a password and for an Ed25519 seed.
        let secret = if key == "headers_file" { "X-Key: AAEC" } else { "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=" };
        table.insert(key.trim_end_matches("_file").to_owned(), secret.into());
    }
}

#[test]
fn every_example_of_a_channel_is_one_that_its_driver_takes() {
    let mut seen = Vec::new();
    for (name, text) in examples("channel") {
        let mut table: toml::Table = text.parse().unwrap_or_else(|error| panic!("{name}: {error}"));
        with_secrets(&mut table);
        let word = |key: &str| table.get(key).and_then(toml::Value::as_str).unwrap_or_else(|| panic!("{name} has no {key}")).to_owned();
        let (kind, provider) = (word("kind"), word("provider"));
        let driver = Kind::from_name(&kind).and_then(|kind| drivers::find(kind, &provider));
        let driver = driver.unwrap_or_else(|| panic!("{name}: no driver {kind}/{provider}"));
        if let Err(faults) = (driver.check)(&name, &table) {
            panic!("{name}: {}", faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
        }
        seen.push((driver.kind, driver.provider));
    }
    for kind in [Kind::Email, Kind::Speaker] {
        for driver in drivers::drivers().iter().filter(|driver| driver.kind == kind && driver.provider != "sandbox") {
            assert!(seen.contains(&(kind, driver.provider)), "the manual has no example of {}/{}", kind.name(), driver.provider);
        }
    }
}

#[test]
fn every_example_of_an_inlet_is_one_that_its_kind_takes() {
    let mut seen = Vec::new();
    for (name, text) in examples("inlet") {
        let mut table: toml::Table = text.parse().unwrap_or_else(|error| panic!("{name}: {error}"));
        with_secrets(&mut table);
        if let Err(faults) = inlet::check(&name, &table) {
            panic!("{name}: {}", faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
        }
        seen.extend(table["kind"].as_str().map(str::to_owned));
    }
    for kind in inlet::kinds() {
        assert!(seen.iter().any(|known| known == kind), "the manual has no example of {kind}");
    }
}

#[test]
fn the_example_of_a_relay_is_one_that_is_taken() {
    let relays = examples("relay");
    assert_eq!(relays.len(), 1);
    for (name, text) in relays {
        let mut table: toml::Table = text.parse().unwrap_or_else(|error| panic!("{name}: {error}"));
        with_secrets(&mut table);
        if let Err(faults) = relay::check(&name, &table) {
            panic!("{name}: {}", faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
        }
    }
}

/// The block `# [[source]]`, as a reader would uncomment it for this way of signing: keys of another way are left out.
fn source(way: &str, without: &[&str]) -> String {
    let lines = DEFAULTS.lines().filter_map(|line| line.strip_prefix("# ")).skip_while(|line| *line != "[[source]]");
    let block: Vec<&str> = lines.take_while(|line| line.contains('=') || *line == "[[source]]").collect();
    let key_of = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    let kept = block.iter().filter(|line| !without.contains(&key_of(line).as_str()));
    let said = kept.map(|line| if key_of(line) == "signature" { format!("signature = \"{way}\"") } else { (*line).to_owned() });
    said.collect::<Vec<_>>().join("\n")
}

#[test]
fn every_key_of_the_example_of_a_source_is_one_that_is_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    crate::write_private(&folder.path().join("met.signature"), "5f2d1c7e9a3b4f6085d7c2e1b0a99f3e");
    fs::write(folder.path().join("civil-affairs.csv"), "code,name\n510726104,永安镇\n").expect("written");
    fs::write(folder.path().join("met.pem"), "-----BEGIN CERTIFICATE-----").expect("written");
    let tls = "[server.tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\nclient_ca = \"ca.pem\"\n";
    for (way, without) in
        [("none", &["signature_key_file", "certificates"][..]), ("hmac", &["certificates"]), ("xml", &["signature_key_file"])]
    {
        let text = source(way, without).replace("<64 hexadecimal digits>", &"0a".repeat(32));
        assert!(text.contains("client_certificates = [\"sha256:0a"), "{text}");
        let file = folder.path().join("lastmile.toml");
        fs::write(&file, format!("{tls}{text}")).expect("written");
        let read = Layers::read(Some(&file), std::iter::empty()).and_then(|layers| app::check(&layers));
        let checked = read.unwrap_or_else(|faults| panic!("{way}: {}\n{text}", app::fault_lines(&faults)));
        assert_eq!(checked.sources.len(), 1);
    }
}
