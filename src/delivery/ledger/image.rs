//! Owns the bytes of a whole ledger, from which a start goes on: how they are made of a copy, and taken in.
//! Refuses to know files and when. Invariant: an image that is refused has changed nothing; what it does not hold is replayed.

use serde::{Deserialize, Serialize};

use super::{ApplyError, Ledger, read_alert};
use crate::delivery::{
    book::{Book, LastWords},
    early::Early,
    help::Entry,
    waiting::Waiting,
};

/// First bytes of an image, with the number of its form: one of another form is refused, and the journal replayed instead.
/// Months of the journal can be given back since form 3: whatever comes after it must read it.
const IMAGE_FORM: &[u8; 8] = b"LMBOOKS3";

/// All that a ledger knows at one moment.
pub struct Copied {
    books: Vec<Book>,
    strays: u64,
    waiting: Vec<Waiting>,
    early: Vec<Early>,
    help: Vec<Entry>,
}

/// What an image says before its books, which follow one by one.
#[derive(Serialize, Deserialize)]
struct ImageHead {
    books: u32,
    strays: u64,
    /// As JSON, since they hold documents.
    waiting: Vec<String>,
}

/// What an image says after its books; one that was made before there was any ends with them.
#[derive(Default, Serialize, Deserialize)]
struct ImageTail {
    /// As JSON, since their news may hold free values.
    early: Vec<String>,
}

/// What an image says after that; one that was made before there was any ends earlier.
#[derive(Default, Serialize, Deserialize)]
struct ImageAnswers {
    /// As JSON: read by field, so that it can grow.
    help: Vec<String>,
    /// Of the books, in their order.
    last_words: Vec<LastWords>,
}

impl Ledger {
    /// The whole state as it is now, for a start that replays little. Copying takes a tenth of what packing does, and the writer of the
    /// journal waits for it.
    pub fn copy(&self) -> Copied {
        let shelves = self.read();
        let books = shelves.by_no.iter().flatten().map(|shelf| shelf.read().clone()).collect();
        let early = self.early().list().cloned().collect();
        let help = self.help().newest_first().cloned().collect();
        Copied { books, strays: shelves.strays, waiting: shelves.waiting.list(), early, help }
    }

    pub fn restore(&self, image: &[u8]) -> Result<(), ApplyError> {
        let rest = image.strip_prefix(IMAGE_FORM).ok_or(ApplyError::OtherForm)?;
        let (head, mut rest) = postcard::take_from_bytes::<ImageHead>(rest)?;
        let waiting = head.waiting.iter().map(|text| serde_json::from_str(text)).collect::<Result<Vec<Waiting>, _>>()?;
        // All are read before the first is put: an image that is refused has changed nothing.
        let mut books = Vec::new();
        for _ in 0..head.books {
            let (book, behind) = postcard::take_from_bytes::<Book>(rest)?;
            let alert = read_alert(&book.accepted)?;
            books.push((book, alert));
            rest = behind;
        }
        let (tail, rest) = if rest.is_empty() { (ImageTail::default(), rest) } else { postcard::take_from_bytes::<ImageTail>(rest)? };
        let answers = if rest.is_empty() { ImageAnswers::default() } else { postcard::from_bytes::<ImageAnswers>(rest)? };
        let help = answers.help.iter().map(|text| serde_json::from_str(text)).collect::<Result<Vec<Entry>, _>>()?;
        for ((book, _), words) in books.iter_mut().zip(answers.last_words) {
            book.last_words = words;
        }
        let early = tail.early.iter().map(|text| serde_json::from_str(text)).collect::<Result<Vec<Early>, _>>()?;
        for (book, alert) in books {
            self.put(book, alert);
        }
        let mut shelves = self.write();
        shelves.strays = head.strays;
        early.into_iter().for_each(|one| self.early().push(one));
        help.into_iter().for_each(|entry| self.help().put(entry));
        for one in waiting {
            // It was within the bound when the image was made.
            shelves.waiting.push(one);
        }
        Ok(())
    }
}

impl Copied {
    pub fn image(self) -> Result<Vec<u8>, ApplyError> {
        let waiting = self.waiting.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
        let head = ImageHead { books: u32::try_from(self.books.len()).unwrap_or(u32::MAX), strays: self.strays, waiting };
        let mut image = postcard::to_extend(&head, IMAGE_FORM.to_vec())?;
        // Each book goes when it is packed: copy and image together are never both whole.
        let mut last_words = Vec::with_capacity(self.books.len());
        for mut book in self.books {
            last_words.push(std::mem::take(&mut book.last_words));
            image = postcard::to_extend(&book, image)?;
        }
        let tail = ImageTail { early: self.early.iter().map(serde_json::to_string).collect::<Result<_, _>>()? };
        let image = postcard::to_extend(&tail, image)?;
        let help = self.help.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
        Ok(postcard::to_extend(&ImageAnswers { help, last_words }, image)?)
    }
}
