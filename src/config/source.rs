//! Owns the reading of `[[source]]`: who may issue what, and what it proves.
//! Refuses to know how signatures are checked. Invariant: a key that would promise what is not done is a fault.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use secrecy::{ExposeSecret as _, SecretString};
use toml::{Table, Value};

use super::layers::read_bounded;
use crate::{
    alert::{EventPattern, Level},
    area::AreaCode,
    datum::Datum,
    fault::Fault,
    keys::Keys,
    matching::meant::CodeBook,
};

/// All divisions of a province are a few megabytes.
const CODES_BYTES_MAX: u64 = 16 << 20;
/// As long as the digest of HMAC-SHA256 (RFC 2104, section 3).
const SIGNATURE_KEY_BYTES_MIN: usize = 32;
/// A certificate is two kilobytes; a file of all that a bureau ever had is far below this.
const PEM_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug)]
pub struct SourceSettings {
    pub name: String,
    pub senders: Vec<String>,
    pub events: Vec<EventPattern>,
    pub levels: Vec<Level>,
    pub areas: Vec<AreaCode>,
    /// `none`, `red` or `always`.
    pub approval: &'static str,
    pub datum: Datum,
    /// How its codes are understood.
    pub codes: CodeBook,
    pub signature: SignatureSettings,
    /// SHA-256 of the certificates of which one must come with the connection; empty asks for none.
    pub client_certificates: Vec<[u8; 32]>,
}

impl SourceSettings {
    /// Whether it is believed by what comes with a request or its connection, and not by the document itself.
    pub(super) fn proves_by_request(&self) -> bool {
        matches!(self.signature, SignatureSettings::Hmac(_)) || !self.client_certificates.is_empty()
    }
}

/// How every alert of the source is signed.
#[derive(Debug)]
pub enum SignatureSettings {
    None,
    Hmac(SecretString),
    /// PEM files of the certificates whose keys sign.
    Xml(Vec<PathBuf>),
}

pub(super) fn read(
    place: usize,
    table: &Table,
    county: Option<AreaCode>,
    history: &str,
    base_dir: &Path,
) -> Result<SourceSettings, Vec<Fault>> {
    let mut keys = Keys::read(format!("source[{place}]"), table);
    let name = keys.required("name");
    let senders = keys.texts("senders");
    if senders.is_empty() {
        keys.fault("senders", "missing", "must name at least one sender that the source speaks for");
    }
    let mut events: Vec<EventPattern> = keys.parsed("events");
    if !keys.has("events") {
        events.extend("*".parse().ok());
    }
    for key in ["events", "levels"] {
        if table.get(key).is_some_and(|list| list.as_array().is_some_and(Vec::is_empty)) {
            keys.fault(key, "missing", "must not be empty; leave it out to mean all");
        }
    }
    let words = keys.texts("levels");
    let mut levels = if keys.has("levels") { Vec::new() } else { Level::ALL.to_vec() };
    for (place, word) in words.iter().enumerate() {
        match Level::ALL.into_iter().find(|level| level.name() == word) {
            Some(level) => levels.push(level),
            None => keys.fault(&format!("levels[{place}]"), "unknown-level", format!("{word:?} is not red, orange, yellow or blue")),
        }
    }
    let areas: Vec<AreaCode> = keys.parsed("areas");
    if areas.is_empty() {
        keys.fault("areas", "missing", "must name the areas that the source may issue for");
    }
    // Areas of another county are a slip of the pen that would only show when a warning is refused.
    let foreign = |area: &AreaCode| county.is_some_and(|county| !county.contains(*area) && !area.contains(county));
    for area in areas.iter().filter(|area| foreign(area)) {
        keys.fault("areas", "outside-county", format!("{area} neither lies in the county nor holds it"));
    }
    let approval = keys.word("approval", &["none", "red", "always"], "none");
    let datum = match keys.word("datum", &["wgs84", "cgcs2000", "gcj02"], "wgs84") {
        "gcj02" => Datum::Gcj02,
        _ => Datum::Wgs84,
    };
    let codes = codes(&mut keys, history, base_dir);
    let signature = signature(&mut keys, base_dir);
    let client_certificates = keys.parsed("client_certificates").into_iter().map(|Fingerprint(bytes)| bytes).collect();
    keys.finish(SourceSettings { name, senders, events, levels, areas, approval, datum, codes, signature, client_certificates })
}

/// What its codes stand for: those given up, and those of a table of its own.
fn codes(keys: &mut Keys<'_>, history: &str, base_dir: &Path) -> CodeBook {
    let table = keys.text("code_table").and_then(|file| read_file(keys, "code_table", &file, base_dir));
    // A history at fault has been told of already.
    let history = CodeBook::read(history, None).map_or("", |_| history);
    CodeBook::read(history, table.as_deref()).unwrap_or_else(|faults| {
        faults.iter().for_each(|fault| keys.fault("code_table", fault.rule, fault.to_string()));
        CodeBook::default()
    })
}

/// A file of text beside the configuration.
pub(super) fn read_file(keys: &mut Keys<'_>, key: &'static str, file: &str, base_dir: &Path) -> Option<String> {
    let path = base_dir.join(file);
    let read = std::fs::metadata(&path).and_then(|found| {
        if found.len() <= CODES_BYTES_MAX { std::fs::read_to_string(&path) } else { Err(std::io::Error::other("too large")) }
    });
    read.map_err(|error| keys.fault(key, "unreadable", format!("{}: {error}", path.display()))).ok()
}

/// How the source signs; keys of a way that is not taken are faults, as they would promise what is not done.
fn signature(keys: &mut Keys<'_>, base_dir: &Path) -> SignatureSettings {
    let way = keys.word("signature", &["none", "hmac", "xml"], "none");
    let key = keys.secret("signature_key");
    let certificates: Vec<PathBuf> = keys.texts("certificates").iter().map(|file| base_dir.join(file)).collect();
    if way != "hmac" && key.is_some() {
        keys.fault("signature_key", "not-used", "is used with signature = \"hmac\" alone");
    }
    if way != "xml" && !certificates.is_empty() {
        keys.fault("certificates", "not-used", "are used with signature = \"xml\" alone");
    }
    match (way, key) {
        ("hmac", Some(key)) => {
            let length = key.expose_secret().len();
            if length < SIGNATURE_KEY_BYTES_MIN {
                let message = format!("has {length} bytes; at least {SIGNATURE_KEY_BYTES_MIN} are needed, as openssl rand -hex 32 makes");
                keys.fault("signature_key", "too-short", message);
            }
            SignatureSettings::Hmac(key)
        }
        ("hmac", None) => {
            keys.fault("signature_key", "missing", "must be given, or signature_key_file, for signature = \"hmac\"");
            SignatureSettings::None
        }
        ("xml", _) => {
            if certificates.is_empty() {
                keys.fault("certificates", "missing", "must name the PEM files of those who sign, for signature = \"xml\"");
            }
            for (place, file) in certificates.iter().enumerate() {
                // A key in the place of a certificate is the usual slip; the rest is judged at start.
                match read_bounded(file, PEM_BYTES_MAX) {
                    Ok(text) if text.contains("-----BEGIN CERTIFICATE-----") => {}
                    Ok(_) => {
                        keys.fault(&format!("certificates[{place}]"), "no-certificate", format!("{} holds no certificate", file.display()))
                    }
                    Err(error) => keys.fault(&format!("certificates[{place}]"), "unreadable", format!("{}: {error}", file.display())),
                }
            }
            SignatureSettings::Xml(certificates)
        }
        _ => SignatureSettings::None,
    }
}

/// `sha256:` and 64 hexadecimal digits, with or without the colons that openssl prints between them.
struct Fingerprint([u8; 32]);

impl FromStr for Fingerprint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not sha256: and the 64 hexadecimal digits of a certificate's fingerprint");
        let digits = text.strip_prefix("sha256:").ok_or_else(wrong)?.replace(':', "");
        if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
            *byte = digits.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()).ok_or_else(wrong)?;
        }
        Ok(Self(bytes))
    }
}

/// Sources that want client certificates where nobody is asked for one would never be heard.
pub(super) fn unasked(sources: &[SourceSettings], tables: usize, asks: bool) -> Vec<Fault> {
    // Places are those of the file only when every source could be read.
    if asks || sources.len() != tables {
        return Vec::new();
    }
    let wanting = sources.iter().enumerate().filter(|(_, source)| !source.client_certificates.is_empty());
    let message = "needs [server] tls with client_ca, whose certificates are asked for";
    wanting.map(|(place, _)| Fault::new(format!("source[{place}].client_certificates"), "no-client-ca", message)).collect()
}

/// Two sources of one name: keys are made for a name.
pub(super) fn double_names(tables: &[&Table]) -> Vec<Fault> {
    let name = |place: usize| tables[place].get("name").and_then(Value::as_str);
    let twice = |place: &usize| name(*place).is_some_and(|own| (0..*place).any(|earlier| name(earlier) == Some(own)));
    let places = (0..tables.len()).filter(twice);
    places.map(|place| Fault::new(format!("source[{place}].name"), "given-twice", "another source has this name")).collect()
}
