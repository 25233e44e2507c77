//! Owns a small county of planted people, and a gateway of it whose short messages go into a file.
//! Refuses to know what a test looks for.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use lastmile::time::{Clock as _, SystemClock};
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{
    Gateway, new_key,
    process::{free_port, until},
    run, site,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_lastmile");
const AREAS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/beichuan/areas.csv");
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Names and numbers that stand nowhere else, so that finding one of them is finding a person.
pub(crate) const PLANTED: [(&str, &str, &str); 3] =
    [("p1", "欧阳砚秋", "13955501201"), ("p2", "司徒望舒", "13955501202"), ("p3", "端木清和", "13955501203")];
pub(crate) const VILLAGE: &str = "510726100201";

pub(crate) struct County {
    pub(crate) home: TempDir,
    pub(crate) data: PathBuf,
    pub(crate) config: PathBuf,
    pub(crate) port: u16,
}

impl County {
    /// Imported by a program whose umask keeps nothing from anybody, as `before` has made the data directory.
    pub(crate) fn imported() -> Self {
        Self::with("")
    }

    /// The same, with further tables of the configuration.
    pub(crate) fn with(tables: &str) -> Self {
        let home = TempDir::new().unwrap();
        let (data, port) = (home.path().join("data"), free_port());
        let channels = format!("[channel.out]\nkind = \"sms\"\nprovider = \"file\"\npath = {:?}\n{tables}", home.path().join("out.jsonl"));
        let config = site::configure(home.path(), &data, port, "", &site::everyone_by("\"sms\""), &channels);
        let county = Self { home, data, config, port };
        let people = county.people();
        careless(&["registry", "import", AREAS, people.to_str().unwrap(), "--data", county.data.to_str().unwrap()]);
        county
    }

    fn people(&self) -> PathBuf {
        let row = |(id, name, phone): &(&str, &str, &str)| {
            format!("{id},{VILLAGE},{name},household,{phone},{id}@planted.example,104.45,31.83,4,透析病人{id}\n")
        };
        let rows: String = PLANTED.iter().map(row).collect();
        let path = self.home.path().join("subscribers.csv");
        fs::write(&path, format!("id,area,name,role,phone,email,lon,lat,people,needs\n{rows}")).unwrap();
        path
    }

    pub(crate) fn key(&self, name: &str, role: &str) -> String {
        new_key(&self.config, name, role, (role == "bureau").then_some("met"))
    }

    pub(crate) async fn serve(&self) -> Gateway {
        Gateway::start(&self.config, self.port).await
    }

    /// An alert for everybody, told to its end.
    pub(crate) async fn told(&self, gateway: &Gateway, bureau: &str, duty: &str) -> String {
        let number = usize::try_from(SystemClock.now().as_ms() % 1_000_000).unwrap();
        let alert = site::alert(number, VILLAGE).to_string();
        let (status, answer) = gateway.post(bureau, "/v1/alerts", "application/json", alert).await;
        assert_eq!(status, 202, "{answer}");
        let path = format!("/v1/alerts/{}", answer["id"].as_str().unwrap());
        until("everybody is told", DEADLINE, async || {
            let coverage: Value = gateway.get(duty, &format!("{path}/coverage")).await;
            coverage["progress"]["deliveries"] == PLANTED.len()
                && coverage["progress"]["queued"] == 0
                && coverage["progress"]["in_flight"] == 0
        })
        .await;
        path
    }
}

/// Under an umask of nought.
pub(crate) fn careless(arguments: &[&str]) {
    let done = Command::new("sh").args(["-c", "umask 000; exec \"$@\"", "sh", PROGRAM]).args(arguments).output().unwrap();
    assert!(done.status.success(), "{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
}

/// Everything at and below a path.
pub(crate) fn all_below(path: &Path) -> Vec<PathBuf> {
    let mut found = vec![path.to_owned()];
    if path.is_dir() {
        for item in fs::read_dir(path).unwrap() {
            found.extend(all_below(&item.unwrap().path()));
        }
    }
    found
}

pub(crate) fn verify(data: &Path, code: i32) -> String {
    run(&["store", "verify", "--json", "--data", data.to_str().unwrap()], code)
}
