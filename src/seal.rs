//! Owns the key that seals what is personal on disk: where it lies, how it is made, changed and used.
//! Refuses to know what is sealed. Invariant: the key never lies in the data directory; what was sealed with a key that is not at hand is
//! refused by the name of that key, and never taken for damage.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use hmac::{Hmac, Mac as _};
use rand::RngExt as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Begins a line of a key file.
const WORD: &str = "lastmile-seal-key-1";
/// Beside the data directory, under its name with this ending.
const ENDING: &str = ".seal-key";
/// In the data directory: where the key lies instead, or that nothing is to be sealed.
const POINTER: &str = "seal.json";
const ID_BYTES: usize = 8;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
pub const MAC_BYTES: usize = 32;
/// What sealing adds.
pub const OVERHEAD_BYTES: usize = ID_BYTES + NONCE_BYTES + TAG_BYTES;
/// Keys of many years; a larger file is none of ours.
const FILE_BYTES_MAX: u64 = 64 << 10;

#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("the key file {} is not there: bring it back from where its copy is kept, or name it with --seal-key", .0.display())]
    NoFile(PathBuf),
    #[error("the key file {} can be read by others; `chmod 600` it", .0.display())]
    Open(PathBuf),
    #[error("the key file {}: line {line} is no key", file.display())]
    BadFile { file: PathBuf, line: usize },
    #[error("it was sealed with key {id}, which {} does not hold", file.display())]
    OtherKey { id: String, file: PathBuf },
    #[error("it was sealed, and there is no key: bring back {}, or name it with --seal-key", .0.display())]
    NoKey(PathBuf),
    #[error("what was sealed is not what was written")]
    Spoilt,
    #[error("{}: {error}", file.display())]
    Io { file: PathBuf, error: io::Error },
}

/// What the data directory says of its key.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Pointer {
    #[serde(default)]
    key_file: Option<PathBuf>,
    #[serde(default)]
    unsealed: bool,
}

/// The keys of one data directory.
pub struct Seal {
    file: PathBuf,
    /// The last one seals; all of them open.
    keys: Vec<([u8; ID_BYTES], XChaCha20Poly1305)>,
    /// Of each key, in the same order, what words are keyed with: it says nothing of the key itself.
    roots: Vec<[u8; MAC_BYTES]>,
    is_off: bool,
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seal").field("file", &self.file).field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

/// Where the key of a data directory lies unless it says otherwise.
pub fn beside(data: &Path) -> PathBuf {
    let whole = fs::canonicalize(data).unwrap_or_else(|_| data.to_owned());
    let mut name = whole.into_os_string();
    name.push(ENDING);
    name.into()
}

/// The keys of a data directory; none where none was ever made.
pub fn of(data: &Path) -> Result<Option<Seal>, SealError> {
    let pointer = pointer(data)?;
    let (file, is_needed) = match pointer.key_file {
        Some(file) => (file, !pointer.unsealed),
        None => (beside(data), false),
    };
    if !file.exists() {
        return if is_needed { Err(SealError::NoFile(file)) } else { Ok(None) };
    }
    let mut seal = Seal::read(&file)?;
    seal.is_off = pointer.unsealed;
    Ok(Some(seal))
}

/// Before a data directory is used: says where its key lies, and makes one where there is none. The file of a key that was made now.
pub fn settle(data: &Path, key_file: Option<&Path>, unsealed: Option<bool>) -> Result<Option<PathBuf>, SealError> {
    let mut said = pointer(data)?;
    let before = serde_json::to_string(&said).unwrap_or_default();
    if let Some(file) = key_file {
        said.key_file = Some(std::path::absolute(file).map_err(|error| SealError::Io { file: file.to_owned(), error })?);
    }
    said.unsealed = unsealed.unwrap_or(said.unsealed);
    let now = serde_json::to_string(&said).unwrap_or_default();
    let file = said.key_file.clone().unwrap_or_else(|| beside(data));
    let is_missing = !said.unsealed && !file.exists();
    // A key that is named and gone is never replaced: what was sealed with it would be lost to all who look later.
    if is_missing && is_sealed(data) {
        return Err(SealError::NoFile(file));
    }
    if is_missing {
        add_key(&file)?;
    }
    if now != before {
        write_private(&data.join(POINTER), now.as_bytes())?;
    }
    Ok(is_missing.then_some(file))
}

/// Whether any file of the registry there is sealed: its first bytes say so.
fn is_sealed(data: &Path) -> bool {
    let listing = fs::read_dir(data.join("registry")).into_iter().flatten().flatten();
    listing.filter_map(|item| fs::read(item.path()).ok()).any(|bytes| {
        bytes.get(..8).is_some_and(|magic| (magic.starts_with(b"lm-reg") || magic.starts_with(b"lm-rlog")) && magic[7] == SEALED_VERSION)
    })
}

/// The version of registry files that are sealed.
pub const SEALED_VERSION: u8 = 2;

/// Adds a key to a file, which is made if need be; what is written from now on is sealed with it. Its id.
pub fn add_key(file: &Path) -> Result<String, SealError> {
    let secret: [u8; 32] = rand::rng().random();
    let id = hex(&id_of(&secret));
    let mut text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            "# Seals names, numbers and backups of a lastmile data directory. Without it they cannot be read: keep a copy apart from the backups.\n"
                .to_owned()
        }
        Err(error) => return Err(SealError::Io { file: file.to_owned(), error }),
    };
    text.push_str(&format!("{WORD} {id} {}\n", URL_SAFE_NO_PAD.encode(secret)));
    write_private(file, text.as_bytes())?;
    Ok(id)
}

impl Seal {
    pub fn read(file: &Path) -> Result<Self, SealError> {
        let io = |error| SealError::Io { file: file.to_owned(), error };
        let about = fs::metadata(file).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => SealError::NoFile(file.to_owned()),
            _ => io(error),
        })?;
        if about.permissions().mode() & 0o077 != 0 {
            return Err(SealError::Open(file.to_owned()));
        }
        if about.len() > FILE_BYTES_MAX {
            return Err(SealError::BadFile { file: file.to_owned(), line: 1 });
        }
        let text = fs::read_to_string(file).map_err(io)?;
        let (mut keys, mut roots) = (Vec::new(), Vec::new());
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            let bad = || SealError::BadFile { file: file.to_owned(), line: number + 1 };
            let mut words = line.split_ascii_whitespace();
            let (word, id, secret) = (words.next(), words.next().ok_or_else(bad)?, words.next().ok_or_else(bad)?);
            let secret: [u8; 32] = URL_SAFE_NO_PAD.decode(secret).ok().and_then(|bytes| bytes.try_into().ok()).ok_or_else(bad)?;
            // A key that is mistyped is found here, and not by what it cannot open.
            if word != Some(WORD) || hex(&id_of(&secret)) != id {
                return Err(bad());
            }
            keys.push((id_of(&secret), XChaCha20Poly1305::new(&secret.into())));
            roots.push(mac(&secret, &[b"keyed words"]));
        }
        if keys.is_empty() {
            Err(SealError::BadFile { file: file.to_owned(), line: 1 })
        } else {
            Ok(Self { file: file.to_owned(), keys, roots, is_off: false })
        }
    }

    /// Whether what is written now is to be sealed.
    pub const fn is_on(&self) -> bool {
        !self.is_off
    }

    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Id of the key, nonce, what is sealed, tag. `about` must be the same when it is opened.
    pub fn seal(&self, about: &[u8], bytes: &[u8]) -> Vec<u8> {
        let (id, cipher) = self.keys.last().expect("a file without keys is refused");
        let nonce: [u8; NONCE_BYTES] = rand::rng().random();
        let sealed = cipher.encrypt(&XNonce::from(nonce), Payload { msg: bytes, aad: about }).expect("nothing here comes near 256 GiB");
        [id.as_slice(), &nonce, &sealed].concat()
    }

    pub fn open(&self, about: &[u8], bytes: &[u8]) -> Result<Vec<u8>, SealError> {
        let (id, rest) = bytes.split_first_chunk::<ID_BYTES>().ok_or(SealError::Spoilt)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(SealError::Spoilt)?;
        let key = self.keys.iter().find(|(known, _)| known == id);
        let (_, cipher) = key.ok_or_else(|| SealError::OtherKey { id: hex(id), file: self.file.clone() })?;
        cipher.decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: about }).map_err(|_| SealError::Spoilt)
    }

    /// A key for one purpose alone, of each key at hand with its id; the one that seals now comes last.
    pub fn derived(&self, purpose: &str) -> Vec<(String, [u8; MAC_BYTES])> {
        self.keys.iter().zip(&self.roots).map(|((id, _), root)| (hex(id), mac(root, &[purpose.as_bytes()]))).collect()
    }

    /// Whether this was sealed with the key that seals now.
    pub fn is_current(&self, bytes: &[u8]) -> bool {
        self.keys.last().is_some_and(|(id, _)| bytes.starts_with(id))
    }
}

fn pointer(data: &Path) -> Result<Pointer, SealError> {
    let file = data.join(POINTER);
    match fs::read(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Pointer::default()),
        Err(error) => Err(SealError::Io { file, error }),
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| SealError::Io { file, error: error.into() }),
    }
}

fn write_private(file: &Path, bytes: &[u8]) -> Result<(), SealError> {
    let written = || -> io::Result<()> {
        let draft = file.with_extension("draft");
        let mut out = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&draft)?;
        out.write_all(bytes)?;
        out.sync_all()?;
        fs::rename(&draft, file)?;
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    };
    written().map_err(|error| SealError::Io { file: file.to_owned(), error })
}

/// HMAC-SHA-256 of the parts, each with its length: what one says passes for nothing else.
pub fn mac(key: &[u8; MAC_BYTES], parts: &[&[u8]]) -> [u8; MAC_BYTES] {
    let mut made = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        made.update(&(part.len() as u64).to_le_bytes());
        made.update(part);
    }
    made.finalize().into_bytes().into()
}

fn id_of(secret: &[u8; 32]) -> [u8; ID_BYTES] {
    let digest = Sha256::digest(secret);
    std::array::from_fn(|place| digest[place])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_its_own_key_alone_and_as_what_it_was_sealed() {
        let folder = tempfile::tempdir().expect("a directory");
        let (file, other) = (folder.path().join("a"), folder.path().join("b"));
        let id = add_key(&file).expect("made");
        add_key(&other).expect("made");
        let seal = Seal::read(&file).expect("read");
        let sealed = seal.seal(b"here", "李建国 13800138000".as_bytes());
        assert_eq!(sealed.len(), "李建国 13800138000".len() + OVERHEAD_BYTES);
        assert_eq!(seal.open(b"here", &sealed).expect("opened"), "李建国 13800138000".as_bytes());
        assert!(matches!(seal.open(b"there", &sealed), Err(SealError::Spoilt)));
        let refused = Seal::read(&other).expect("read").open(b"here", &sealed).expect_err("another key").to_string();
        assert!(refused.contains(&id) && refused.contains("does not hold"), "{refused}");
        for at in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1;
            assert!(seal.open(b"here", &flipped).is_err(), "byte {at}");
        }
        // After a change of keys the old one still opens.
        add_key(&file).expect("changed");
        let changed = Seal::read(&file).expect("read");
        assert!(changed.open(b"here", &sealed).is_ok() && !changed.is_current(&sealed) && changed.is_current(&changed.seal(b"", b"")));
    }

    #[test]
    fn a_key_file_that_others_read_or_that_is_mistyped_is_refused_and_a_lost_one_is_never_made_anew() {
        let folder = tempfile::tempdir().expect("a directory");
        let data = folder.path().join("data");
        fs::create_dir_all(data.join("registry")).expect("made");
        let file = settle(&data, None, None).expect("settled").expect("made now");
        assert_eq!((file.clone(), settle(&data, None, None).expect("settled")), (beside(&data), None));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("set");
        assert!(matches!(of(&data), Err(SealError::Open(_))));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("set");
        let text = fs::read_to_string(&file).expect("read");
        fs::write(&file, text.replace(WORD, "lastmile-seal-key-9")).expect("written");
        assert!(matches!(of(&data), Err(SealError::BadFile { line: 2, .. })));
        fs::write(data.join("registry/registry-000000000001.bin"), b"lm-reg\x00\x02").expect("written");
        fs::remove_file(&file).expect("lost");
        assert!(matches!(settle(&data, None, None), Err(SealError::NoFile(_))));
    }
}
