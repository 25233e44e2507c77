//! Owns making a new document out of known ones: by bytes, and by tokens (tags, texts, JSON signs and words).
//! Refuses to know what documents mean. Invariant: the same numbers make the same document.

use std::{fs, path::Path};

/// Larger documents would spend the run on copying.
const SEED_BYTES_MAX: usize = 200_000;
/// What a document may grow to.
const INPUT_BYTES_MAX: usize = 3 << 20;
/// Words that parsers, times, numbers and texts break on.
const WORDS: &[&str] = &[
    "",
    "0",
    "-0",
    "-1",
    "1e999",
    "NaN",
    "inf",
    "18446744073709551616",
    "\u{0}",
    "\u{b}",
    "\u{feff}",
    "\u{202e}",
    "\r\n",
    "  ",
    "\t",
    "]]>",
    "&#0;",
    "&#x10FFFF;",
    "&amp;",
    "<![CDATA[",
    "<!--",
    "-->",
    "<?x?>",
    "<a/>",
    "</a>",
    " xmlns=\"\"",
    " xmlns:cap=\"urn:oasis:names:tc:emergency:cap:1.2\"",
    "null",
    "true",
    "[]",
    "{}",
    "[[[[",
    "\"\"",
    "\"\\ud800\"",
    "1970-01-01T00:00:00+00:00",
    "9999-12-31T23:59:59-14:00",
    "-009999-01-01T00:00:00Z",
    "2026-02-30 25:61:61",
    "2026-07-23T10:15:00.999+08:00",
    "00000",
    "11B03",
    "1ZZ99",
    "红色",
    "白色",
    "Red",
    "Unknown",
    "Cancel",
    "Update",
    "Ack",
    "Private",
    "Inner",
    "510726",
    "990000000000",
    "0,0 0,1 1,1 0,0",
    "90,180 -90,-180 90,180 90,180",
    "31.8,104.4 0",
    "31.8,104.4 1e300",
    "，",
    "_",
    "a,b,c",
    "x,y,2026-07-23T10:15:00+08:00",
];

/// Every field of the JSON form at once.
pub(crate) const FULL: &str = r#"{"identifier":"x1","sender":"s1","senderName":"n","sent":"2026-07-23T10:15:00+08:00","status":"Test","msgType":"Update",
"references":[{"sender":"s1","identifier":"x0","sent":"2026-07-23T09:15:00+08:00"}],"event":"11D01","eventName":"滑坡","level":"orange","urgency":"Expected",
"certainty":"Observed","categories":["Geo","Safety"],"responseTypes":["Evacuate"],"effective":"2026-07-23T10:16:00+08:00","onset":"2026-07-23T11:00:00+08:00",
"expires":"2026-07-23T16:15:00+08:00","headline":"h","description":"d\ne","instruction":"i","language":"en-US","note":"n","web":"https://example.org","contact":"c",
"translations":[{"language":"zh-CN","event":"滑坡","headline":"标题","description":"说明","instruction":"转移"},{"language":"fr","event":"e"}],"groups":["G01","G02"],
"areas":[{"name":"a","codes":["510726"],"geometry":{"type":"MultiPolygon","coordinates":[[[[104,31],[105,31],[105,32],[104,32],[104,31]],[[104.2,31.2],[104.4,31.2],
[104.4,31.4],[104.2,31.2]]],[[[106,31],[107,31],[107,32],[106,31]]]]},"circles":[{"center":[104.4,31.8],"radius_km":2.5},{"center":[104.5,31.9],"radius_km":0}]},
{"name":"b","circle":{"center":[104.4,31.8],"radius_km":5}}],"texts":{"sms":"s","speaker":"p","email":"m","wechat":"w"},"scope":"Public"}"#;

/// Numbers by chance, the same for the same seed (SplitMix64).
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`; zero when there is nothing below.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % (end.max(1) as u64)).unwrap_or(0)
    }

    fn of<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        list.get(self.below(list.len()))
    }
}

/// The documents to start from, as they are and in tokens.
pub(crate) struct Seeds {
    documents: Vec<Vec<u8>>,
}

impl Seeds {
    /// Fixtures and mappings of the project, and every file of one more folder.
    pub(crate) fn read(corpus: Option<&Path>) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut documents = vec![FULL.as_bytes().to_vec()];
        for folder in [root.join("fixtures/alerts"), root.join("config/mappings")].iter().map(AsRef::as_ref).chain(corpus) {
            collect(folder, &mut documents);
        }
        Self { documents }
    }

    pub(crate) fn len(&self) -> usize {
        self.documents.len()
    }
}

fn collect(folder: &Path, documents: &mut Vec<Vec<u8>>) {
    let mut paths: Vec<_> = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, documents);
        } else if let Ok(bytes) = fs::read(&path)
            && bytes.len() <= SEED_BYTES_MAX
        {
            documents.push(bytes);
        }
    }
}

pub(crate) fn mutated(seeds: &Seeds, chance: &mut Chance) -> Vec<u8> {
    // Often the document with every field: a change in it is the likeliest to be read and to have to survive.
    let start = if chance.below(4) == 0 { seeds.documents.first() } else { chance.of(&seeds.documents) };
    let mut document = start.cloned().unwrap_or_default();
    for _ in 0..=chance.below(4).saturating_sub(1) {
        let other = chance.of(&seeds.documents).cloned().unwrap_or_default();
        document = if chance.below(4) == 0 { by_bytes(document, &other, chance) } else { by_tokens(&document, &other, chance) };
        document.truncate(INPUT_BYTES_MAX);
    }
    document
}

fn by_bytes(mut document: Vec<u8>, other: &[u8], chance: &mut Chance) -> Vec<u8> {
    let (from, to) = (chance.below(document.len()), chance.below(document.len()));
    let (from, to) = (from.min(to), from.max(to).min(from.min(to) + 64));
    match chance.below(6) {
        0 => document.truncate(to),
        1 => drop(document.drain(from..to)),
        2 => {
            if let Some(byte) = document.get_mut(from) {
                *byte ^= 1 << chance.below(8);
            }
        }
        3 => document.insert(from, u8::try_from(chance.below(256)).unwrap_or(0)),
        4 => {
            let start = chance.below(other.len());
            let piece = other[start..].iter().take(chance.below(200)).copied();
            drop(document.splice(from..to, piece));
        }
        _ => document = String::from_utf8_lossy(&document).encode_utf16().flat_map(u16::to_be_bytes).collect(),
    }
    document
}

fn by_tokens(document: &[u8], other: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut tokens = tokens(document);
    let other = self::tokens(other);
    let place = chance.below(tokens.len());
    let until = (place + 1 + chance.below(12)).min(tokens.len());
    match chance.below(7) {
        0 => drop(tokens.drain(place.min(until)..until)),
        1 => {
            let piece = tokens[place.min(until)..until].to_vec();
            // Seldom many times: bounds are there to be met.
            let times = if chance.below(50) == 0 { 3_000 } else { 1 };
            let room = INPUT_BYTES_MAX / (piece.iter().map(|token| token.len()).sum::<usize>() + 1);
            drop(tokens.splice(place..place, piece.repeat(times.min(room))));
        }
        2 => {
            let with = chance.below(tokens.len());
            if !tokens.is_empty() {
                tokens.swap(place, with);
            }
        }
        3 | 4 => {
            let word = chance.of(WORDS).copied().unwrap_or_default().as_bytes();
            if let Some(token) = tokens.get_mut(place) {
                *token = word;
            }
        }
        5 => tokens.insert(place, chance.of(WORDS).copied().unwrap_or_default().as_bytes()),
        _ => {
            let start = chance.below(other.len());
            let piece: Vec<&[u8]> = other[start..].iter().take(1 + chance.below(20)).copied().collect();
            drop(tokens.splice(place..place, piece));
        }
    }
    tokens.concat()
}

/// Runs of letters and digits, and each sign by itself.
fn tokens(document: &[u8]) -> Vec<&[u8]> {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte >= 0x80 || matches!(byte, b'.' | b'_' | b'-' | b':');
    document.chunk_by(|one, other| is_word(one) && is_word(other)).collect()
}
