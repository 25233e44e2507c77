//! Owns how the layers become one table, and where each key came from.
//! Refuses to know what keys mean. Invariant: a later layer wins key by key; a fault names the line or the variable that is to be changed.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

use crate::{
    fault::Fault,
    keys::lines::{self, Lines, Located},
};

/// Every key with its unit, default and effect; also the lowest layer.
pub const DEFAULTS: &str = include_str!("../../config/lastmile.toml");
const ENV_PREFIX: &str = "LASTMILE__";
/// `password_file` names the file that holds `password`.
const FILE_ENDING: &str = "_file";
/// Key of `[server]` that takes secrets from files which others can read, as container platforms mount them.
const ANY_MODE: &str = "dangerous_readable_secrets";
/// A county's configuration is a few pages.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Secrets are keys and passwords.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// The configuration before it is checked.
pub struct Layers {
    pub table: Table,
    /// Name of the file, for faults.
    file: String,
    /// Directory that relative paths of the file start from.
    pub base_dir: PathBuf,
    lines: Lines,
    variables: BTreeMap<String, String>,
    /// What is wrong with the files of secrets; told with everything else.
    secret_faults: Vec<Fault>,
}

/// One fault, and where to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFault {
    pub place: String,
    pub fault: Fault,
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.fault.path.is_empty() {
            return write!(f, "{}: {} [{}]", self.place, self.fault.message, self.fault.rule);
        }
        write!(f, "{}: {}", self.place, self.fault)
    }
}

impl Layers {
    /// Defaults, then the file when there is one, then the environment.
    pub fn read(path: Option<&Path>, env: impl Iterator<Item = (String, String)>) -> Result<Self, Vec<ConfigFault>> {
        let mut table: Table = DEFAULTS.parse().expect("the defaults that are built in are tested");
        let mut layers = Self {
            table: Table::new(),
            file: "defaults".into(),
            base_dir: PathBuf::from("."),
            lines: Lines::default(),
            variables: BTreeMap::new(),
            secret_faults: Vec::new(),
        };
        if let Some(path) = path {
            let name = path.display().to_string();
            let text = read_bounded(path, FILE_BYTES_MAX).map_err(|error| whole(&name, "unreadable", &error))?;
            let (file, lines) = lines::read(&text).map_err(|faults| located(&name, faults))?;
            layers.lines = lines;
            layers.file = name;
            // An empty parent means the file lies where we stand.
            layers.base_dir = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
            merge(&mut table, file);
        }
        let mut not_set = Vec::new();
        for (name, value) in env {
            if let Some(keys) = name.strip_prefix(ENV_PREFIX) {
                let words: Vec<&str> = keys.split("__").collect();
                let mut path = String::new();
                if set(&mut table, &words, &value, &mut path) {
                    layers.variables.insert(path, name);
                } else {
                    let fault = Fault::new(path, "not-a-table", "does not lead to a key: what stands there is no table");
                    not_set.push(ConfigFault { place: name, fault });
                }
            }
        }
        layers.table = table;
        layers.secret_faults = layers.take_secret_files();
        if not_set.is_empty() { Ok(layers) } else { Err(not_set) }
    }

    /// Says of each fault which line or variable it is about.
    pub fn placed(&self, faults: Vec<Fault>) -> Vec<ConfigFault> {
        let place = |fault: &Fault| match (self.variable_of(&fault.path), self.lines.line_of(&fault.path)) {
            (Some(variable), _) => variable.clone(),
            (None, Some(line)) => format!("{}:{line}", self.file),
            (None, None) => self.file.clone(),
        };
        let mut placed: Vec<ConfigFault> = faults.into_iter().map(|fault| ConfigFault { place: place(&fault), fault }).collect();
        placed.sort_by(|one, other| (one.place.len(), &one.place).cmp(&(other.place.len(), &other.place)));
        placed
    }

    /// All faults with their places; a secret whose file is at fault is not also missing.
    pub(super) fn all_placed(&self, mut faults: Vec<Fault>) -> Vec<ConfigFault> {
        let about_file = |path: &str| self.secret_faults.iter().any(|fault| fault.path.strip_suffix(FILE_ENDING) == Some(path));
        faults.retain(|fault| !about_file(&fault.path) && !self.secret_faults.iter().any(|own| own.path == fault.path));
        faults.extend(self.secret_faults.iter().cloned());
        self.placed(faults)
    }

    pub(super) fn has_secret_faults(&self) -> bool {
        !self.secret_faults.is_empty()
    }

    /// The variable that set this key or the nearest one around it, unless the file has a key that is nearer.
    fn variable_of(&self, path: &str) -> Option<&String> {
        let mut path = path;
        loop {
            if let Some(variable) = self.variables.get(path) {
                return Some(variable);
            }
            if self.lines.has(path) {
                return None;
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }

    /// `password_file = "…"` in the table of a source, channel, inlet, relay or the broker becomes `password`.
    fn take_secret_files(&mut self) -> Vec<Fault> {
        let Self { table, base_dir, lines, variables, .. } = self;
        let mut faults = Vec::new();
        let any_mode = table.get("server").and_then(|server| server.get(ANY_MODE)).and_then(Value::as_bool) == Some(true);
        let mut taking = Secrets { base_dir, variables, lines, any_mode, faults: &mut faults };
        for (place, source) in table.get_mut("source").and_then(Value::as_array_mut).into_iter().flatten().enumerate() {
            if let Value::Table(source) = source {
                taking.take(&format!("source[{place}]"), source);
            }
        }
        for section in ["channel", "inlet", "relay", "builtin_broker"] {
            let Some(Value::Table(below)) = table.get_mut(section) else { continue };
            if section == "builtin_broker" {
                taking.take(section, below);
                continue;
            }
            for (name, below) in below.iter_mut() {
                if let Value::Table(below) = below {
                    taking.take(&format!("{section}.{name}"), below);
                }
            }
        }
        faults
    }
}

/// Reads secrets from their files, table by table.
struct Secrets<'a> {
    base_dir: &'a Path,
    variables: &'a mut BTreeMap<String, String>,
    lines: &'a mut Lines,
    /// Whether files that others can read are taken.
    any_mode: bool,
    faults: &'a mut Vec<Fault>,
}

impl Secrets<'_> {
    /// Puts the content of the file of each `x_file` into `x`, and remembers for faults about `x` where its file is named.
    fn take(&mut self, path: &str, table: &mut Table) {
        let Self { base_dir, variables, lines, any_mode, faults } = self;
        let named: Vec<String> = table.keys().filter(|key| key.ends_with(FILE_ENDING) && !table[*key].is_table()).cloned().collect();
        for key in named {
            let secret = key.strip_suffix(FILE_ENDING).unwrap_or(&key).to_owned();
            let (place, secret_place) = (format!("{path}.{key}"), format!("{path}.{secret}"));
            if table.contains_key(&secret) {
                // A variable stands above the file: it replaces the other way of giving the same secret.
                match (variables.contains_key(&place), variables.contains_key(&secret_place)) {
                    (false, true) => {
                        table.remove(&key);
                        continue;
                    }
                    (true, false) => {}
                    _ => {
                        faults.push(Fault::new(place, "given-twice", format!("{secret} is given as well; give one of the two")));
                        continue;
                    }
                }
            }
            let Some(file) = table[&key].as_str() else {
                faults.push(Fault::new(place, "wrong-type", "must be the name of a file"));
                continue;
            };
            if !*any_mode && let Err(fault) = is_private(&base_dir.join(file), file) {
                faults.push(Fault { path: place, ..fault });
                continue;
            }
            match read_bounded(&base_dir.join(file), SECRET_BYTES_MAX).map(|text| text.trim().to_owned()) {
                Ok(text) if text.is_empty() => faults.push(Fault::new(place, "empty-secret", format!("{file} is empty"))),
                Ok(text) => {
                    table.insert(secret, Value::String(text));
                    table.remove(&key);
                    match variables.get(&place).cloned() {
                        Some(variable) => drop(variables.insert(secret_place, variable)),
                        None => lines.same_line(&place, secret_place),
                    }
                }
                Err(error) => faults.push(Fault::new(place, "unreadable", format!("{file}: {error}"))),
            }
        }
    }
}

/// A secret that every account of the machine can read is none. What cannot be looked at is told by whoever reads it.
pub(super) fn is_private(path: &Path, named: &str) -> Result<(), Fault> {
    let Ok(meta) = fs::metadata(path) else { return Ok(()) };
    let mode = meta.permissions().mode() & 0o777;
    if mode & 0o007 == 0 {
        return Ok(());
    }
    let message = format!(
        "{named} can be read by every account of the machine (mode {mode:03o}): chmod 600 {named}, or set dangerous_readable_secrets = true in [server]"
    );
    Err(Fault::new("", "readable-by-others", message))
}

pub(super) fn located(file: &str, faults: Vec<Located>) -> Vec<ConfigFault> {
    let place = |line: Option<usize>| line.map_or_else(|| file.to_owned(), |line| format!("{file}:{line}"));
    faults.into_iter().map(|Located { line, fault }| ConfigFault { place: place(line), fault }).collect()
}

fn whole(place: &str, rule: &'static str, error: &impl fmt::Display) -> Vec<ConfigFault> {
    vec![ConfigFault { place: place.to_owned(), fault: Fault::new("", rule, error.to_string()) }]
}

pub(super) fn read_bounded(path: &Path, most: u64) -> std::io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(most + 1).read_to_string(&mut text)?;
    if text.len() as u64 > most {
        return Err(std::io::Error::other(format!("larger than {most} bytes")));
    }
    Ok(text)
}

fn merge(below: &mut Table, above: Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above),
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
}

/// Sets one key from the environment, and writes its path; what stands there tells whether the text is meant as a text.
/// `false` when the words lead through something that is no table.
fn set(table: &mut Table, words: &[&str], text: &str, path: &mut String) -> bool {
    let Some((word, rest)) = words.split_first() else { return false };
    // Variables know neither dashes nor small letters: `MAS_1` is also `mas-1`.
    let same = |key: &&String| key.replace('-', "_").eq_ignore_ascii_case(word);
    let key = table.keys().find(same).cloned().unwrap_or_else(|| word.to_lowercase());
    *path = lines::join(path, &key);
    if rest.is_empty() {
        let is_text = matches!(table.get(&key), Some(Value::String(_))) || is_text(&key);
        let typed = format!("value = {text}").parse::<Table>().ok().and_then(|mut parsed| parsed.remove("value"));
        let value = typed.filter(|_| !is_text).unwrap_or_else(|| Value::String(text.to_owned()));
        table.insert(key, value);
        return true;
    }
    match table.entry(key).or_insert_with(|| Value::Table(Table::new())) {
        Value::Table(below) => set(below, rest, text, path),
        Value::Array(list) => {
            let (word, rest) = (rest[0], &rest[1..]);
            path.push_str(&format!("[{word}]"));
            match word.parse::<usize>().ok().and_then(|place| list.get_mut(place)) {
                Some(Value::Table(below)) if !rest.is_empty() => set(below, rest, text, path),
                _ => false,
            }
        }
        _ => false,
    }
}

/// Keys that are text although their value may look like a number: secrets, names of accounts and senders.
fn is_text(key: &str) -> bool {
    is_secret(key) || ["username", "from", "code", "name"].contains(&key)
}

/// Keys whose values are never shown and never anything but text.
pub(super) fn is_secret(key: &str) -> bool {
    ["password", "secret", "token", "signing_key", "key"].iter().any(|word| key == *word || key.ends_with(&format!("_{word}")))
}
