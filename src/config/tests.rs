//! Tests of the configuration: a folder of faults with their exact messages, the layers, the secrets.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use secrecy::ExposeSecret as _;
use toml::Table;

use super::{Checked, ConfigFault, Judges, Layers};
use crate::{fault::Fault, keys::Keys};

const KINDS: &[&str] = &["test", "sms", "email", "speaker", "wechat"];

/// What a driver makes of a table: enough to see values and faults come and go.
#[derive(Debug, PartialEq)]
struct Account {
    name: String,
    port: u64,
    from: Option<String>,
    password: Option<String>,
}

fn account(name: &str, table: &Table) -> Result<Account, Vec<Fault>> {
    let mut keys = Keys::read(format!("channel.{name}"), table).leave(&["kind"]);
    let port = keys.number("port", 1..=65_535, 25);
    let from = keys.text("from");
    let password = keys.secret("password").map(|password| password.expose_secret().to_owned());
    keys.finish(Account { name: name.to_owned(), port, from, password })
}

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/testdata").join(name)
}

/// Judges channels by a function; has neither inlets nor relays.
struct By<T>(fn(&str, &Table) -> Result<T, Vec<Fault>>);

impl<T> Judges for By<T> {
    type Channel = T;
    type Inlet = String;
    type Relay = ();

    fn channel(&self, name: &str, table: &Table) -> Result<T, Vec<Fault>> {
        (self.0)(name, table)
    }

    fn inlet(&self, name: &str, _: &Table) -> Result<String, Vec<Fault>> {
        Ok(name.to_owned())
    }

    fn relay(&self, _: &str, _: &Table) -> Result<(), Vec<Fault>> {
        Ok(())
    }
}

fn load(path: Option<&Path>, env: &[(&str, &str)]) -> Result<Checked<By<Account>>, Vec<ConfigFault>> {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let layers = Layers::read(path, env)?;
    Checked::of(&layers, KINDS, &By(account))
}

/// The messages as a person sees them who stands in the folder of the file.
fn told(path: Option<&Path>, env: &[(&str, &str)]) -> String {
    let faults = load(path, env).err().unwrap_or_default();
    let folder = format!("{}/", testdata("").display().to_string().trim_end_matches('/'));
    faults.iter().map(|fault| fault.to_string().replace(&folder, "")).collect::<Vec<_>>().join("\n")
}

fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("lastmile.toml");
    std::fs::write(&path, text).expect("written");
    (folder, path)
}

#[test]
fn every_fault_of_every_faulty_file_is_told_with_its_line() {
    // A checkout gives files the machine's usual mode, which for secrets would be a fault of its own.
    std::fs::set_permissions(testdata("empty-secret.txt"), PermissionsExt::from_mode(0o600)).expect("our own file");
    secret();
    let mut files: Vec<PathBuf> = std::fs::read_dir(testdata("")).expect("the folder").map(|entry| entry.expect("a file").path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
    files.sort();
    assert!(files.len() >= 8, "the folder of faults is not where it was");
    for path in files {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        insta::assert_snapshot!(name, told(Some(&path), &[]));
    }
}

#[test]
fn the_defaults_alone_are_sound() {
    let checked = load(None, &[]).unwrap_or_else(|faults| panic!("{faults:?}"));
    assert_eq!((checked.server.listen.to_string().as_str(), checked.channels.len()), ("127.0.0.1:8080", 0));
    assert_eq!(checked.server.utc_offset_s, 8 * 3_600);
}

#[test]
fn a_variable_stands_above_the_file_and_the_file_above_the_defaults() {
    let (_folder, path) = written("[server]\nlisten = \"127.0.0.1:1\"\nmax_skew = \"1m\"\n[channel.mas-1]\nkind = \"test\"\nport = 1\n");
    let env = [
        ("LASTMILE__SERVER__LISTEN", "127.0.0.1:2"),
        ("LASTMILE__COUNTY__CODE", "110105"),
        ("LASTMILE__CHANNEL__MAS_1__PORT", "2775"),
        ("LASTMILE__CHANNEL__MAS_1__PASSWORD", "12345"),
        ("LASTMILE__CHANNEL__MAS_1__FROM", "10690123"),
        ("LASTMILE__SERVER__FEED_PUBLIC", "true"),
        ("LASTMILE_URL", "not ours"),
    ];
    let checked = load(Some(&path), &env).unwrap_or_else(|faults| panic!("{faults:?}"));
    assert_eq!(checked.server.listen.port(), 2);
    assert_eq!(checked.server.max_skew.as_secs(), 60);
    assert_eq!(checked.county.to_string(), "110105");
    assert!(checked.server.feed_public);
    let expected = Account { name: "mas-1".into(), port: 2_775, from: Some("10690123".into()), password: Some("12345".into()) };
    assert_eq!(checked.channels, [expected]);
}

#[test]
fn one_key_of_one_source_can_be_set_by_a_variable() {
    let (_folder, path) = written("[[source]]\nname = \"met\"\nsenders = [\"51072641600000\"]\nareas = [\"510726\"]\n");
    let checked = load(Some(&path), &[("LASTMILE__SOURCE__0__APPROVAL", "red")]).unwrap_or_else(|faults| panic!("{faults:?}"));
    assert_eq!(checked.sources[0].approval, "red");
}

#[test]
fn a_fault_from_a_variable_names_the_variable() {
    let env = [
        ("LASTMILE__SERVER__LISTEN", "nowhere"),
        ("LASTMILE__CHANNEL__MAS__PORT", "many"),
        ("LASTMILE__SERVER__LISTEN__PORT", "1"),
        ("LASTMILE__LOG__FORMT", "json"),
    ];
    insta::assert_snapshot!(told(None, &env[..2]), @r#"
    LASTMILE__SERVER__LISTEN: server.listen: "nowhere" is not an address such as 127.0.0.1:8080 [bad-address]
    LASTMILE__CHANNEL__MAS__PORT: channel.mas.port: must be a whole number from 1 to 65535 [out-of-range]
    "#);
    insta::assert_snapshot!(told(None, &env[2..3]), @"LASTMILE__SERVER__LISTEN__PORT: server.listen: does not lead to a key: what stands there is no table [not-a-table]");
    insta::assert_snapshot!(told(None, &env[3..]), @"LASTMILE__LOG__FORMT: log.formt: is not a key here; did you mean format? [unknown-key]");
}

/// The secret of the test data, as a county keeps it: a checkout gives it the machine's usual mode.
fn secret() -> PathBuf {
    let file = testdata("secret.txt");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).expect("our own file");
    file
}

#[test]
fn a_secret_that_others_can_read_is_refused_unless_the_county_says_so() {
    let folder = tempfile::tempdir().expect("a directory");
    let file = folder.path().join("mas.password");
    std::fs::write(&file, "s3cret").expect("written");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).expect("our own file");
    let text = format!("[channel.mas]\nkind = \"test\"\npassword_file = \"{}\"\n", file.display());
    let password = |text: &str| {
        let (_folder, path) = written(text);
        load(Some(&path), &[]).map(|checked| checked.channels[0].password.clone())
    };
    let told = password(&text).err().map(|faults| faults.iter().map(ToString::to_string).collect::<String>()).unwrap_or_default();
    assert!(told.contains("channel.mas.password_file") && told.contains("readable-by-others") && !told.contains("s3cret"), "{told}");
    let named = format!("[server]\ndangerous_readable_secrets = true\n\n{text}");
    assert_eq!(password(&named).ok().flatten().as_deref(), Some("s3cret"));
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).expect("our own file");
    assert_eq!(password(&text).ok().flatten().as_deref(), Some("s3cret"), "a group may be the gateway's own");
}

#[test]
fn an_address_that_others_reach_is_plain_only_by_name() {
    let told = |text: &str| {
        let (_folder, path) = written(text);
        load(Some(&path), &[]).err().map(|faults| faults.iter().map(ToString::to_string).collect::<String>()).unwrap_or_default()
    };
    for outside in ["0.0.0.0:8080", "[::]:8080", "192.168.1.2:80"] {
        assert!(told(&format!("[server]\nlisten = \"{outside}\"\n")).contains("plain-http"), "{outside}");
        assert_eq!(told(&format!("[server]\nlisten = \"{outside}\"\ndangerous_plain_http = true\n")), "");
    }
    assert_eq!(told("[server]\nlisten = \"[::1]:8080\"\n"), "");
}

#[test]
fn a_built_in_broker_that_others_reach_is_plain_and_unsigned_only_by_name() {
    let told = |listen: &str, broker: &str, channel: &str| {
        let text = format!("[builtin_broker]\nlisten = \"{listen}\"\n{broker}\n\n[channel.loud]\nbroker = \"builtin\"\n{channel}\n");
        let (_folder, path) = written(&text);
        let layers = Layers::read(Some(&path), std::iter::empty()).unwrap_or_else(|faults| panic!("{faults:?}"));
        let faults = Checked::of(&layers, KINDS, &By(|_, _| Ok(()))).err().unwrap_or_default();
        faults.iter().map(|fault| format!("{} {}", fault.fault.path, fault.fault.rule)).collect::<Vec<_>>()
    };
    let (plain, unsigned) = ("builtin_broker.listen plain-mqtt", "channel.loud.signing_key unsigned");
    for outside in ["0.0.0.0:1883", "[::]:1883", "192.168.1.2:0"] {
        assert_eq!(told(outside, "", ""), [plain, unsigned], "{outside}");
        assert_eq!(told(outside, "dangerous_plain_mqtt = true", ""), [unsigned]);
        assert_eq!(told(outside, "", "signing_key = \"k\""), [plain]);
        assert_eq!(told(outside, "dangerous_plain_mqtt = true", "dangerous_unsigned = true"), Vec::<String>::new());
    }
    for here in ["127.0.0.1:1883", "[::1]:0", "[::ffff:127.0.0.1]:0"] {
        assert_eq!(told(here, "", ""), Vec::<String>::new(), "{here}");
    }
    assert_eq!(told("0.0.0.0:1883", "dangerous_plain_mqtt = false", "dangerous_unsigned = false"), [plain, unsigned]);
}

#[test]
fn a_secret_comes_from_its_file_trimmed_and_is_never_shown() {
    let text = format!(
        "[channel.mas]\nkind = \"test\"\npassword_file = \"{}\"\nfrom = \"10690\"\nurl = \"https://u:pw@far.example/a?key=k3y\"\n",
        secret().display()
    );
    let (_folder, path) = written(&text);
    let layers = Layers::read(Some(&path), std::iter::empty()).unwrap_or_else(|faults| panic!("{faults:?}"));
    let shown = layers.show();
    assert!(!shown.contains("s3cret") && !shown.contains("pw") && !shown.contains("k3y"), "{shown}");
    assert!(shown.contains("password = \"***\"") && shown.contains("from = \"10690\""), "{shown}");
    let read = Checked::of(&layers, KINDS, &By(|_, table| Ok(table["password"].as_str().map(str::to_owned))))
        .unwrap_or_else(|faults| panic!("{faults:?}"));
    assert_eq!(read.channels, [Some("s3cret".to_owned())]);
}

#[test]
fn headers_of_a_way_in_stand_in_a_file_and_are_never_shown() {
    let text = format!("[inlet.city]\nkind = \"feed\"\nsource = \"met\"\nheaders_file = \"{}\"\n", secret().display());
    let (_folder, path) = written(&text);
    let layers = Layers::read(Some(&path), std::iter::empty()).unwrap_or_else(|faults| panic!("{faults:?}"));
    assert_eq!(layers.table["inlet"]["city"]["headers"].as_str(), Some("s3cret"));
    let shown = layers.show();
    assert!(shown.contains("headers = \"***\"") && !shown.contains("s3cret"), "{shown}");
}

#[test]
fn a_secret_in_a_variable_takes_the_place_of_the_files_other_way_of_giving_it() {
    let (_folder, path) = written("[channel.mas]\nkind = \"test\"\npassword_file = \"nowhere\"\n");
    let password = |env: &[(&str, &str)], path: &Path| load(Some(path), env).map(|checked| checked.channels[0].password.clone());
    assert_eq!(password(&[("LASTMILE__CHANNEL__MAS__PASSWORD", "p")], &path).ok().flatten().as_deref(), Some("p"));
    let (_folder, path) = written("[channel.mas]\nkind = \"test\"\npassword = \"old\"\n");
    let file = secret().display().to_string();
    assert_eq!(password(&[("LASTMILE__CHANNEL__MAS__PASSWORD_FILE", &file)], &path).ok().flatten().as_deref(), Some("s3cret"));
}

#[test]
fn what_is_shown_is_a_configuration_that_means_the_same() {
    let layers = Layers::read(None, std::iter::empty()).unwrap_or_else(|faults| panic!("{faults:?}"));
    let (_folder, path) = written(&layers.show());
    let again = Layers::read(Some(&path), std::iter::empty()).unwrap_or_else(|faults| panic!("{faults:?}"));
    assert_eq!(again.table, layers.table);
}

#[test]
fn an_inlet_speaks_for_a_source_that_there_is() {
    let text = "[[source]]\nname = \"met\"\nsenders = [\"a\"]\nareas = [\"510726\"]\n\n[inlet.drop]\nkind = \"folder\"\nsource = \"met\"\n\n[inlet.feed]\nkind = \"feed\"\nsource = \"mett\"\n";
    let (_folder, path) = written(text);
    let faults = load(Some(&path), &[]).err().unwrap_or_default();
    let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("inlet.feed.source") && told[0].contains("mett"), "{told:?}");
    let signed = text
        .replace("mett", "met")
        .replace("[inlet.drop]", "signature = \"hmac\"\nsignature_key = \"0123456789abcdef0123456789abcdef\"\n\n[inlet.drop]");
    let (_folder, path) = written(&signed);
    let faults = load(Some(&path), &[]).err().unwrap_or_default();
    assert!(faults.len() == 2 && faults.iter().all(|fault| fault.to_string().contains("[cannot-prove]")), "{faults:?}");
    let (_folder, path) = written(&text.replace("mett", "met"));
    assert_eq!(load(Some(&path), &[]).map(|checked| checked.inlets).ok(), Some(vec!["drop".to_owned(), "feed".to_owned()]));
}
