//! Owns the county of a run: a few villages of the fixture's two first townships with made-up people, its policy and its sources.
//! It is made once for all seeds and copied, because a run changes it (people opt out).

use std::{fs, path::Path, sync::OnceLock};

use lastmile::{
    area::AreaCode,
    datum::Datum,
    engine::{Approval, Source},
    matching::meant::CodeBook,
    policy::Policy,
    registry::{Kind, Mode, Placed, Registry, fixture, generate},
};
use tempfile::TempDir;

pub(crate) const COUNTY: &str = "510726";
/// What an alert may be for, with the name that the registry has for it.
pub(crate) const PLACES: [(&str, &str); 4] =
    [("510726", "北川羌族自治县"), ("510726100", "曲山镇"), ("510726101", "擂鼓镇"), ("510726101201", "擂鼓村村民委员会")];
const AREAS: [&str; 8] = ["51", "5107", "510726", "510726100", "510726100201", "510726101", "510726101201", "510726101202"];
const HOUSEHOLDS: u32 = 18;

/// Source, its sender, and when it needs a second person.
pub(crate) const SOURCES: [(&str, &str, Approval); 3] =
    [("met", "51072641600000", Approval::None), ("civil", "51072641600001", Approval::Red), ("flood", "51072641600002", Approval::Always)];

const POLICY: &str = r#"
[[rule]]
events = ["*"]
levels = ["red"]
channels = ["sms", "speaker", "wechat"]
then = ["email"]
then_after = "40s"
answer = { roles = ["village_leader", "monitor"], within = "25s", then = ["backup", "town_duty", "county_duty"] }
[[rule]]
events = ["*"]
levels = ["orange"]
channels = ["sms", "email"]
retry_until = "70s"
answer = { roles = ["village_leader"], within = "40s", then = ["backup"] }
[[rule]]
events = ["*"]
channels = ["sms"]
[approval]
within = "20s"
limit = "90s"
"#;

pub(crate) fn area(code: &str) -> AreaCode {
    code.parse().expect("a code")
}

/// A registry with the county in it, below `dir`.
pub(crate) fn settle(dir: &Path) {
    static MADE: OnceLock<TempDir> = OnceLock::new();
    let made = MADE.get_or_init(make);
    fs::create_dir_all(dir).expect("a folder");
    for entry in fs::read_dir(made.path()).expect("the county's files") {
        let entry = entry.expect("a file");
        fs::copy(entry.path(), dir.join(entry.file_name())).expect("copied");
    }
}

fn make() -> TempDir {
    let home = tempfile::tempdir().expect("a temporary directory");
    let areas: Vec<_> = fixture::beichuan_areas().into_iter().filter(|record| AREAS.contains(&record.code.to_string().as_str())).collect();
    let mut import = generate(&areas, HOUSEHOLDS, 11);
    import.areas = areas.into_iter().map(|record| Placed { file: 0, line: 0, record }).collect();
    import.kinds = Kind::ALL.to_vec();
    let registry = Registry::open(home.path()).expect("a registry").registry;
    registry.import_records(&import, Mode::Upsert).expect("a county");
    home
}

pub(crate) fn policy() -> Policy {
    Policy::parse(POLICY, &["sms", "email", "speaker", "wechat"]).expect("a policy")
}

pub(crate) fn sources() -> Vec<Source> {
    let source = |&(name, sender, approval): &(&str, &str, Approval)| Source {
        name: name.into(),
        senders: vec![sender.into()],
        events: vec!["*".parse().expect("a pattern")],
        levels: lastmile::alert::Level::ALL.to_vec(),
        areas: vec![area(COUNTY)],
        approval,
        datum: Datum::Wgs84,
        codes: CodeBook::default(),
    };
    SOURCES.iter().map(source).collect()
}
