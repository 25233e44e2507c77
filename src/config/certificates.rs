//! Owns which files of certificates the configuration names, so that somebody can watch when they end.
//! Refuses to read them, and leaves out the pinned ones of signing sources: those are good while they are pinned, whatever their dates.
//! Invariant: no table of a far end has a key of a certificate that is not in the list here; a test holds it.

use std::{collections::BTreeSet, path::PathBuf};

use toml::Value;

use super::{checked::Server, layers::Layers};

/// Files of certificates that the configuration names, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificates {
    /// Of the listener: read again while it runs.
    pub listener: Vec<PathBuf>,
    /// Whom far ends are believed by: read when what names them starts.
    pub far_ends: Vec<PathBuf>,
}

/// Keys of certificates in the tables of channels, inlets and relays; a test holds that no table has another.
const FAR_END_CERTIFICATES: [&str; 3] = ["ca", "tls_ca", "links_ca"];

impl Certificates {
    pub(super) fn named(layers: &Layers, server: &Server) -> Self {
        let tls = server.tls.as_ref();
        let listener: BTreeSet<PathBuf> = tls.iter().flat_map(|tls| std::iter::once(&tls.cert).chain(&tls.client_ca)).cloned().collect();
        let rooms = ["channel", "inlet", "relay"].into_iter().filter_map(|room| layers.table.get(room)?.as_table());
        let tables = rooms.flat_map(|room| room.values().filter_map(Value::as_table));
        let files = tables.flat_map(|table| FAR_END_CERTIFICATES.into_iter().filter_map(|key| table.get(key)?.as_str()));
        let far_ends: BTreeSet<PathBuf> = files.filter(|file| !file.is_empty()).map(|file| layers.base_dir.join(file)).collect();
        Self { far_ends: far_ends.difference(&listener).cloned().collect(), listener: listener.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// Keys that end in `ca` and are read as text below this folder.
    fn keys_of(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                keys_of(&path, found);
            } else {
                let text = fs::read_to_string(&path).unwrap_or_default();
                let keys = text.split(".text(\"").skip(1).filter_map(|rest| rest.split('"').next());
                found.extend(keys.filter(|key| key.ends_with("ca") || key.contains("cert")).map(str::to_owned));
            }
        }
    }

    #[test]
    fn every_key_of_a_far_ends_certificate_is_watched() {
        let mut found = BTreeSet::new();
        for room in ["channel", "inlet", "relay"] {
            keys_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(room), &mut found);
        }
        assert_eq!(found, FAR_END_CERTIFICATES.into_iter().map(str::to_owned).collect());
    }
}
