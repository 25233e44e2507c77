//! Owns the letters as they are read: wide, small, circled and composed signs in one plain form.
//! Refuses to know what is said for them. Invariant: no digit is lost, and two numbers side by side stay two.

use icu_normalizer::ComposingNormalizerBorrowed;

/// Stops that keep their own form: a wide comma never joins the thousands of a number, a narrow one may.
const KEPT: &[char] = &['\u{ff0c}', '\u{ff1a}', '\u{ff1b}', '\u{ff1f}', '\u{ff01}', '\u{ff08}', '\u{ff09}'];
/// Letters that belong to a number in a circle or in brackets before them.
const COUNTED: &[char] = &['号', '级', '区', '栋', '组', '楼', '类', '期', '、', '.', '\u{ff0c}', '。'];
/// No pen writes them: they join or turn what stands around.
pub(in crate::message) fn is_invisible(letter: char) -> bool {
    matches!(letter, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

pub(super) fn letters(text: &str) -> Vec<char> {
    let nfkc = ComposingNormalizerBorrowed::new_nfkc();
    let mut letters: Vec<char> = Vec::with_capacity(text.len());
    let mut buffer = [0; 4];
    let mut rest = text.chars().filter(|letter| !is_invisible(*letter)).peekable();
    while let Some(letter) = rest.next() {
        match letter {
            // Powers and numerals of Rome are read as such, not as the digits and letters they resemble.
            '²' | '³' | '\u{2160}'..='\u{216b}' | '\u{2170}'..='\u{217b}' => letters.push(letter),
            '№' => letters.push('#'),
            '…' => letters.push('。'),
            '¼'..='¾' | '\u{2150}'..='\u{215e}' => {
                if letters.last().is_some_and(char::is_ascii_digit) {
                    letters.push('又');
                }
                letters.extend(nfkc.normalize(letter.encode_utf8(&mut buffer)).chars());
            }
            '\u{2460}'..='\u{249b}' | '\u{24f5}'..='\u{24fe}' | '\u{2776}'..='\u{2793}' => {
                letters.extend(encircled(letter).to_string().chars());
                if !rest.peek().is_some_and(|next| COUNTED.contains(next)) {
                    letters.push('、');
                }
            }
            letter if KEPT.contains(&letter) => letters.push(letter),
            letter => letters.extend(nfkc.normalize(letter.encode_utf8(&mut buffer)).chars()),
        }
    }
    letters
}

/// 1 for `①`, `⑴`, `⒈`, `❶`.
fn encircled(letter: char) -> u32 {
    let code = u32::from(letter);
    match code {
        0x2460..=0x2473 => code - 0x245f,
        0x2474..=0x2487 => code - 0x2473,
        0x2488..=0x249b => code - 0x2487,
        0x24f5..=0x24fe => code - 0x24f4,
        0x2776..=0x2793 => (code - 0x2776) % 10 + 1,
        _ => 0,
    }
}

/// The number of one numeral of Rome.
pub(super) fn roman(letter: char) -> Option<u32> {
    match u32::from(letter) {
        code @ 0x2160..=0x216b => Some(code - 0x215f),
        code @ 0x2170..=0x217b => Some(code - 0x216f),
        _ => None,
    }
}
