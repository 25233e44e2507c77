//! Owns telling a browser from which somebody has signed in before: a signed mark that it keeps for a year.
//! Refuses to let anybody in by it: the mark gives its holder a counter of tries of his own, and nothing else.
//! Invariant: a mark holds for one name, and nobody without the key makes one.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use rand::RngExt as _;
use sha2::{Digest as _, Sha256};

use crate::time::Timestamp;

pub const MARKED_FOR: Duration = Duration::from_secs(365 * 24 * 3_600);
const ID_BYTES: usize = 16;
const MAC_BYTES: usize = 32;
const MARK_BYTES: usize = ID_BYTES + 8 + MAC_BYTES;

/// One browser, as its mark names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Browser([u8; ID_BYTES]);

#[cfg(test)]
impl Browser {
    pub(super) const TEST: Self = Self([7; ID_BYTES]);
}

pub(super) struct Browsers {
    key: [u8; 32],
}

impl Browsers {
    pub(super) const fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// A new mark for the browser from which this name has just signed in.
    pub(super) fn mark(&self, name: &str, now: Timestamp) -> String {
        let id: [u8; ID_BYTES] = rand::rng().random();
        let until = now.plus(MARKED_FOR).as_ms().to_be_bytes();
        let mac = self.mac(&id, &until, name).finalize().into_bytes();
        URL_SAFE_NO_PAD.encode([id.as_slice(), &until, &mac].concat())
    }

    pub(super) fn read(&self, mark: &str, name: &str, now: Timestamp) -> Option<Browser> {
        let bytes: [u8; MARK_BYTES] = URL_SAFE_NO_PAD.decode(mark).ok()?.try_into().ok()?;
        let (id, rest) = bytes.split_first_chunk::<ID_BYTES>()?;
        let (until, mac) = rest.split_first_chunk::<8>()?;
        self.mac(id, until, name).verify_slice(mac).ok()?;
        (now.as_ms() < i64::from_be_bytes(*until)).then_some(Browser(*id))
    }

    fn mac(&self, id: &[u8], until: &[u8], name: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes a key of any length");
        mac.update(id);
        mac.update(until);
        mac.update(name.as_bytes());
        mac
    }
}

/// Under what a browser keeps the mark of one name: a duty room's browser is several people's.
pub fn mark_name(name: &str) -> String {
    let digest: String = Sha256::digest(name.as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("lastmile_browser_{digest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_holds_for_one_name_and_a_year_and_cannot_be_made_up() {
        let (browsers, now) = (Browsers::new([1; 32]), Timestamp::from_ms(1_784_000_000_000));
        let mark = browsers.mark("li", now);
        let browser = browsers.read(&mark, "li", now).expect("known");
        assert_ne!(Some(browser), browsers.read(&browsers.mark("li", now), "li", now), "each browser is counted alone");
        assert!(browsers.read(&mark, "zhang", now).is_none() && browsers.read(&mark, "li", now.plus(MARKED_FOR)).is_none());
        assert!(Browsers::new([2; 32]).read(&mark, "li", now).is_none());
        for wrong in ["", "x", &mark[1..], &mark.replace(|letter: char| letter.is_ascii_digit(), "A")] {
            assert!(wrong == mark || browsers.read(wrong, "li", now).is_none(), "{wrong}");
        }
    }
}
