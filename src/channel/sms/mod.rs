//! Owns the way to telephones by short message: one file per kind of gateway.
//! Refuses to know alerts' meaning, who is told, and retries.
//! Invariant: a text goes out as it was rendered; nothing is cut, added or translated here.

mod file;
mod http;
mod kannel;

pub use file::DRIVER as FILE;
pub use http::DRIVER as HTTP;
pub use kannel::DRIVER as KANNEL;

use std::time::Duration;

use super::Reach;
use crate::{keys::Keys, message::Form, time::Timestamp};

const REACHES: [Reach; 1] = [Reach::People("phone")];
/// Operators give up on a handset that is off after this or later; a warning has long been told another way.
const REPORT_WITHIN: Duration = Duration::from_secs(30 * 60);
/// UCS-2 in one part, and in each of several after six bytes of header.
const ONE_PART: u16 = 70;
const PART: u16 = 67;
/// 268 letters: what must be done still fits, and no operator refuses it.
const PARTS_MAX: u8 = 4;
/// Operators register signatures of up to a dozen letters; a longer one eats the warning.
const SIGNATURE_CHARS_MAX: usize = 20;

/// The key `signature`, such as 【北川预警】; the renderer puts it in front of the text and counts it.
/// `replies`: what people write back reaches us.
pub(super) fn form(keys: &mut Keys<'_>, replies: bool) -> Form {
    let signature = keys.text("signature").unwrap_or_default();
    if signature.chars().count() > SIGNATURE_CHARS_MAX || signature.contains(char::is_control) {
        keys.fault("signature", "bad-signature", format!("must be one line of at most {SIGNATURE_CHARS_MAX} letters"));
    }
    Form::Short { one_part: ONE_PART, part: PART, parts_max: PARTS_MAX, signature, replies }
}

/// Three days: every centre holds a message for as long, some refuse longer, and Kannel refuses what ends after the year 2038.
const MINUTES_LEFT_MAX: u64 = 3 * 24 * 60;

/// How long a gateway may still hold a message: whole minutes, as gateways count, and never none, which would mean for ever.
fn minutes_left(expires: Timestamp, now: Timestamp) -> u64 {
    (expires.since(now).as_secs() / 60).clamp(1, MINUTES_LEFT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_holds_a_message_no_longer_than_its_warning_lasts() {
        let now = Timestamp::from_ms(1_784_772_960_000);
        for (seconds, minutes) in [(0, 1), (59, 1), (119, 1), (120, 2), (21_540, 359), (40 * 365 * 86_400, 4_320)] {
            assert_eq!(minutes_left(now.plus(Duration::from_secs(seconds)), now), minutes, "{seconds} s");
        }
        assert_eq!(minutes_left(now.minus(Duration::from_secs(60)), now), 1);
    }
}
