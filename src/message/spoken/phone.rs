//! Owns telephone numbers in a text: which digits are dialled, and where their groups end.
//! Refuses to know how they are said. Invariant: what counts something is never dialled.

use super::words::{counter, ends, starts, unit};

/// A number to dial: where it ends, and its groups of digits.
pub(super) struct Dialled {
    pub(super) end: usize,
    pub(super) groups: Vec<String>,
}

/// Digits from which on a number that counts nothing is a telephone's, whatever stands before it.
const BARE_DIGITS: usize = 7;
/// Shorter ones are dialled where the words say so.
const SHORTEST: usize = 3;
/// Before a short number these say that it is dialled.
const CALLING: &[&str] =
    &["拨打", "拨", "致电", "电话", "热线", "号码", "呼叫", "手机", "座机", "传真", "短号", "专线", "Tel", "TEL", "tel", "电话号"];
/// These do so too, but may stand before an amount as well.
const NEAR: &[&str] = &["报警", "求助", "急救", "联系", "咨询", "举报", "值班", "值班室", "打", "火警", "应急局", "气象台", "气象局"];
/// Between such a word and its number, and between one number and the next.
const BETWEEN: &[char] = &[
    ' ', ':', '\u{ff1a}', '、', ',', '\u{ff0c}', '/', '或', '和', '及', '与', '(', ')', '\u{ff08}', '\u{ff09}', '是', '为', '者', '转',
    ';', '\u{ff1b}', '“', '"',
];
/// Behind a short number these say that it is dialled.
const CALLED: &[&str] = &["热线", "报警", "急救", "专线", "电话", "平台", "火警", "接警", "指挥中心", "政务", "举报", "求助", "服务"];
const SURELY_COUNTED: &[char] = &['元', '人', '户', '次', '个', '名', '部', '台', '万', '余', '多', '%'];
/// Numbers of emergency that everybody knows.
const EMERGENCY: &[&str] = &["110", "119", "120", "122", "999"];
const BLANKS: &[char] = &['-', '–', '—', '−', '‐', '‑', ' '];

/// The telephone number that begins at `at`, if one does. `dialled_to` is where the last one ended.
pub(super) fn at(letters: &[char], at: usize, dialled_to: Option<usize>) -> Option<Dialled> {
    let before = at.checked_sub(1).map(|last| letters[last]);
    if before.is_some_and(|last| last.is_ascii_alphanumeric() || last == '.') {
        return None;
    }
    abroad(letters, at).or_else(|| fixed(letters, at)).or_else(|| grouped(letters, at)).or_else(|| row(letters, at, dialled_to))
}

/// `+86 138…`, `0086-138…`.
fn abroad(letters: &[char], at: usize) -> Option<Dialled> {
    let skipped = ["+86", "0086"].iter().find(|prefix| starts(&letters[at..], prefix))?.len();
    let mut start = at + skipped;
    while letters.get(start).is_some_and(|letter| BLANKS.contains(letter)) {
        start += 1;
    }
    let number = grouped(letters, start).or_else(|| {
        let digits = digits(letters, start);
        (digits.len() >= BARE_DIGITS).then(|| Dialled { end: start + digits.len(), groups: vec![digits] })
    })?;
    Some(Dialled { end: number.end, groups: [vec!["86".to_owned()], number.groups].concat() })
}

/// `0816-4821234`, `(0816) 4821234`, and what is dialled behind it.
fn fixed(letters: &[char], at: usize) -> Option<Dialled> {
    let open = usize::from(matches!(letters[at], '(' | '\u{ff08}'));
    let area = digits(letters, at + open);
    if !((3..=4).contains(&area.len()) && area.starts_with('0')) {
        return None;
    }
    let mut start = at + open + area.len();
    let gap =
        letters[start..].iter().take_while(|letter| BLANKS.contains(letter) || open > 0 && matches!(letter, ')' | '\u{ff09}')).count();
    start += gap;
    let number = digits(letters, start);
    if gap == 0 || !(7..=8).contains(&number.len()) {
        return None;
    }
    let mut end = start + number.len();
    let mut groups = vec![area, number];
    let inner = letters.get(end).filter(|letter| matches!(letter, '-' | '–')).map(|_| digits(letters, end + 1));
    if let Some(inner) = inner.filter(|inner| (1..=6).contains(&inner.len())) {
        end += 1 + inner.len();
        groups.push(inner);
    }
    Some(Dialled { end, groups })
}

/// `138-0013-8000`, `400 800 1234`.
fn grouped(letters: &[char], at: usize) -> Option<Dialled> {
    let first = digits(letters, at);
    let is_mobile = matches!(first.as_bytes(), [b'1', b'3'..=b'9', _]);
    let shape: &[usize] = match first.as_str() {
        "400" | "800" => &[3, 4],
        _ if is_mobile => &[4, 4],
        _ => return None,
    };
    let mut end = at + first.len();
    let mut groups = vec![first];
    for length in shape {
        if !letters.get(end).is_some_and(|letter| BLANKS.contains(letter)) {
            return None;
        }
        let next = digits(letters, end + 1);
        if next.len() != *length {
            return None;
        }
        end += 1 + next.len();
        groups.push(next);
    }
    Some(Dialled { end, groups })
}

/// Digits in one row.
fn row(letters: &[char], at: usize, dialled_to: Option<usize>) -> Option<Dialled> {
    let number = digits(letters, at);
    let end = at + number.len();
    let behind = &letters[end..];
    let is_part = matches!(behind, ['.' | ':' | '\u{ff1a}', next, ..] if next.is_ascii_digit());
    let goes_on =
        matches!(behind, [dash, next, ..] if BLANKS.contains(dash) && *dash != ' ' && next.is_ascii_digit()) || matches!(behind, ['~', ..]);
    if number.len() < SHORTEST || is_part || goes_on {
        return None;
    }
    let is_thousands = matches!(behind, [',', a, b, c, ..] if [a, b, c].iter().all(|letter| letter.is_ascii_digit()))
        && !EMERGENCY.contains(&number.as_str());
    let counts = counts(behind);
    let called = !counts && CALLED.iter().any(|word| starts(behind, word));
    let calling = calls(&letters[..at], dialled_to);
    let is_dialled = match calling {
        _ if is_thousands => false,
        // Behind 拨打 a word that may count mostly begins what comes next: 拨打12345处理, 拨打110时.
        Some(true) => !behind.first().is_some_and(|next| SURELY_COUNTED.contains(next)) && unit(behind).is_none(),
        Some(false) => !counts,
        None => called || !counts && (number.len() >= BARE_DIGITS || is_service(&number)),
    };
    is_dialled.then(|| Dialled { end, groups: vec![number] })
}

/// Numbers of public services, as 12379.
fn is_service(number: &str) -> bool {
    number.len() == 5 && ["121", "123", "955"].iter().any(|head| number.starts_with(head))
        || number.len() <= 6 && number.len() >= 5 && number.starts_with("96")
}

/// Whether words before say that it is dialled: for certain, perhaps, or not at all.
fn calls(before: &[char], dialled_to: Option<usize>) -> Option<bool> {
    let kept = before.iter().rposition(|letter| !BETWEEN.contains(letter)).map_or(0, |last| last + 1);
    if dialled_to.is_some_and(|end| kept <= end) {
        return Some(false);
    }
    let before = &before[..kept];
    if ends(before, CALLING) { Some(true) } else { ends(before, NEAR).then_some(false) }
}

/// Whether what stands behind says that the digits count something.
fn counts(behind: &[char]) -> bool {
    counter(behind) > 0 || unit(behind).is_some() || matches!(behind, ['%' | '‰' | '°' | '#' | '*' | '×', ..])
}

fn digits(letters: &[char], at: usize) -> String {
    letters.get(at..).unwrap_or_default().iter().take_while(|letter| letter.is_ascii_digit()).collect()
}
