//! Owns how the layers become one table, and where each key came from.
//! Refuses to know what keys mean. Invariant: a later layer wins key by key; a fault names the line or the variable that is to be changed.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

use crate::fault::Fault;

/// Every key with its unit, default and effect; also the lowest layer.
pub const DEFAULTS: &str = include_str!("../../config/lastmile.toml");
const ENV_PREFIX: &str = "LASTMILE__";
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
    lines: BTreeMap<String, usize>,
    variables: BTreeMap<String, String>,
}

/// One fault, and where to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFault {
    pub place: String,
    pub fault: Fault,
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
            lines: BTreeMap::new(),
            variables: BTreeMap::new(),
        };
        if let Some(path) = path {
            let name = path.display().to_string();
            let text = read_bounded(path, FILE_BYTES_MAX).map_err(|error| whole(&name, "unreadable", &error))?;
            let file: Table = text.parse().map_err(|error: toml::de::Error| {
                let line = error.span().map_or(1, |span| line_of(&text, span.start));
                let fault = Fault::new("", "not-toml", error.message());
                vec![ConfigFault { place: format!("{name}:{line}"), fault }]
            })?;
            layers.lines = lines_of(&text);
            layers.file = name;
            // An empty parent means the file lies where we stand.
            layers.base_dir = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
            merge(&mut table, file);
        }
        for (name, value) in env {
            if let Some(keys) = name.strip_prefix(ENV_PREFIX) {
                let keys: Vec<String> = keys.split("__").map(str::to_lowercase).collect();
                layers.variables.insert(keys.join("."), name.clone());
                set(&mut table, &keys, &value);
            }
        }
        layers.table = table;
        let faults = layers.take_secret_files();
        if faults.is_empty() { Ok(layers) } else { Err(layers.placed(faults)) }
    }

    /// Says of each fault which line or variable it is about.
    pub fn placed(&self, faults: Vec<Fault>) -> Vec<ConfigFault> {
        let place = |fault: &Fault| {
            let mut path = fault.path.as_str();
            loop {
                if let Some(variable) = self.variables.get(path) {
                    return variable.clone();
                }
                if let Some(line) = self.lines.get(path) {
                    return format!("{}:{line}", self.file);
                }
                match path.rfind(['.', '[']) {
                    Some(cut) => path = &path[..cut],
                    None => return self.file.clone(),
                }
            }
        };
        let mut placed: Vec<ConfigFault> = faults.into_iter().map(|fault| ConfigFault { place: place(&fault), fault }).collect();
        placed.sort_by(|one, other| (one.place.len(), &one.place).cmp(&(other.place.len(), &other.place)));
        placed
    }

    /// `password_file = "…"` in a channel or broker table becomes `password`.
    fn take_secret_files(&mut self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let base = self.base_dir.clone();
        let mut take = |path: &str, table: &mut Table| {
            let named: Vec<String> = table.keys().filter(|key| key.ends_with("_file") && !table[*key].is_table()).cloned().collect();
            for key in named {
                let secret = key.trim_end_matches("_file").to_owned();
                let place = format!("{path}.{key}");
                if table.contains_key(&secret) {
                    faults.push(Fault::new(place, "given-twice", format!("{secret} is given as well; give one of the two")));
                    continue;
                }
                let Some(file) = table[&key].as_str() else {
                    faults.push(Fault::new(place, "wrong-type", "must be the name of a file"));
                    continue;
                };
                match read_bounded(&base.join(file), SECRET_BYTES_MAX) {
                    Ok(text) => {
                        table.insert(secret, Value::String(text.trim_end_matches(['\r', '\n']).to_owned()));
                        table.remove(&key);
                    }
                    Err(error) => faults.push(Fault::new(place, "unreadable", format!("{file}: {error}"))),
                }
            }
        };
        if let Some(Value::Table(channels)) = self.table.get_mut("channel") {
            for (name, table) in channels.iter_mut() {
                if let Value::Table(table) = table {
                    take(&format!("channel.{name}"), table);
                }
            }
        }
        if let Some(Value::Table(broker)) = self.table.get_mut("builtin_broker") {
            take("builtin_broker", broker);
        }
        faults
    }
}

fn whole(place: &str, rule: &'static str, error: &impl fmt::Display) -> Vec<ConfigFault> {
    vec![ConfigFault { place: place.to_owned(), fault: Fault::new("", rule, error.to_string()) }]
}

fn read_bounded(path: &Path, most: u64) -> std::io::Result<String> {
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

/// Sets one key from the environment; what stands there tells whether the text is meant as a text.
fn set(table: &mut Table, keys: &[String], text: &str) {
    let Some((key, rest)) = keys.split_first() else { return };
    if rest.is_empty() {
        let is_text = matches!(table.get(key), Some(Value::String(_))) || is_secret(key);
        let typed = format!("value = {text}").parse::<Table>().ok().and_then(|mut parsed| parsed.remove("value"));
        let value = typed.filter(|_| !is_text).unwrap_or_else(|| Value::String(text.to_owned()));
        table.insert(key.clone(), value);
        return;
    }
    let below = table.entry(key.clone()).or_insert_with(|| Value::Table(Table::new()));
    if !below.is_table() {
        *below = Value::Table(Table::new());
    }
    if let Value::Table(below) = below {
        set(below, rest, text);
    }
}

/// Keys whose values are never shown and never anything but text.
pub(super) fn is_secret(key: &str) -> bool {
    ["password", "secret", "token", "signing_key", "key"].iter().any(|word| key == *word || key.ends_with(&format!("_{word}")))
}

fn line_of(text: &str, byte: usize) -> usize {
    text[..byte.min(text.len())].matches('\n').count() + 1
}

/// Key path to line, for every key of the file.
fn lines_of(text: &str) -> BTreeMap<String, usize> {
    let mut lines = BTreeMap::new();
    if let Ok(document) = toml_edit::Document::parse(text) {
        walk(text, "", document.as_table(), &mut lines);
    }
    lines
}

fn walk(text: &str, prefix: &str, table: &dyn toml_edit::TableLike, lines: &mut BTreeMap<String, usize>) {
    for (key, item) in table.iter() {
        let path = if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") };
        let span = table.key(key).and_then(toml_edit::Key::span).or_else(|| item.span());
        if let Some(span) = span {
            lines.insert(path.clone(), line_of(text, span.start));
        }
        if let Some(below) = item.as_table_like() {
            walk(text, &path, below, lines);
        }
        if let Some(list) = item.as_array_of_tables() {
            for (place, below) in list.iter().enumerate() {
                let path = format!("{path}[{place}]");
                if let Some(span) = below.span() {
                    lines.insert(path.clone(), line_of(text, span.start));
                }
                walk(text, &path, below, lines);
            }
        }
    }
}
