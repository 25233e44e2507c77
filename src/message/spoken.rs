//! Owns how written text is said: numbers with units, dates, times, ranges, telephone numbers, numerals; no sign that is only for the eye.
//! Refuses to know alerts. Invariant: what comes out holds letters, digits, the point of a decimal and the stops of sentences, nothing else.

/// A short stop between two parts of a sentence.
pub(super) const PAUSE: char = '\u{ff0c}';
/// Digits in a row from which on they are a telephone number, which is said digit by digit.
const TELEPHONE_DIGITS: usize = 7;
/// Before a short number, these say that it is to be dialled.
const DIALLED: &[&str] = &["拨打", "电话", "热线", "致电"];

/// Units behind a number; longer ones first.
const UNITS: &[(&str, &str)] = &[
    ("mm/h", "毫米每小时"),
    ("km/h", "公里每小时"),
    ("m³/s", "立方米每秒"),
    ("m3/s", "立方米每秒"),
    ("m/s", "米每秒"),
    ("min", "分钟"),
    ("mm", "毫米"),
    ("cm", "厘米"),
    ("km", "公里"),
    ("kg", "公斤"),
    ("m", "米"),
    ("h", "小时"),
];

/// Signs and what is said for them, wherever they stand; longer ones first.
const SIGNS: &[(&str, &str)] = &[
    ("℃", "摄氏度"),
    ("°C", "摄氏度"),
    ("㎜", "毫米"),
    ("㎞", "公里"),
    ("III级", "三级"),
    ("II级", "二级"),
    ("IV级", "四级"),
    ("I级", "一级"),
    ("Ⅰ级", "一级"),
    ("Ⅱ级", "二级"),
    ("Ⅲ级", "三级"),
    ("Ⅳ级", "四级"),
    ("Ⅰ", "一级"),
    ("Ⅱ", "二级"),
    ("Ⅲ", "三级"),
    ("Ⅳ", "四级"),
    ("≥", "不小于"),
    ("≤", "不大于"),
    (">", "大于"),
    ("<", "小于"),
    ("～", "到"),
    ("~", "到"),
    ("+", "加"),
];

pub(super) fn spoken(text: &str) -> String {
    let mut said = String::with_capacity(text.len() + text.len() / 4);
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let taken = address(rest)
            .or_else(|| if letter.is_ascii_digit() { Some(number(rest, &mut said)) } else { None })
            .or_else(|| below_zero(rest, &mut said))
            .or_else(|| sign(rest, &mut said));
        match taken {
            Some(bytes) => rest = &rest[bytes..],
            None => {
                put(letter, &mut said);
                rest = &rest[letter.len_utf8()..];
            }
        }
    }
    tidy(&said)
}

/// An address of the web cannot be said; it is passed over.
fn address(rest: &str) -> Option<usize> {
    (rest.starts_with("http://") || rest.starts_with("https://"))
        .then(|| rest.find(|letter: char| !letter.is_ascii_graphic()).unwrap_or(rest.len()))
}

/// Says the number that `rest` begins with, and what belongs to it; gives the bytes that it took.
fn number(rest: &str, said: &mut String) -> usize {
    if let Some((bytes, words)) = date(rest).or_else(|| time(rest)) {
        said.push_str(&words);
        return bytes;
    }
    let digits = digits(rest);
    let whole = digits + decimals(&rest[digits..]);
    let is_dialled = digits >= TELEPHONE_DIGITS || (3..=6).contains(&digits) && DIALLED.iter().any(|word| said.ends_with(word));
    if let Some(bytes) = dialled_with_area_code(rest, digits) {
        dial(&rest[..bytes], said);
        return bytes;
    }
    if is_dialled && whole == digits {
        dial(&rest[..digits], said);
        return digits;
    }
    let behind = &rest[whole..];
    if behind.starts_with(['%', '\u{ff05}']) {
        said.push_str("百分之");
        said.push_str(&rest[..whole]);
        return whole + behind.chars().next().map_or(0, char::len_utf8);
    }
    said.push_str(&rest[..whole]);
    whole + unit(behind, said) + range(rest, whole, said)
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// `.5` behind a number.
fn decimals(text: &str) -> usize {
    let count = text.strip_prefix('.').map_or(0, digits);
    if count > 0 { count + 1 } else { 0 }
}

/// `2026-07-23` as 2026年7月23日.
fn date(text: &str) -> Option<(usize, String)> {
    let date = text.get(..10).filter(|date| date.is_ascii() && !text[10..].starts_with(|next: char| next.is_ascii_digit()))?;
    let separator = date.chars().nth(4).filter(|sign| matches!(sign, '-' | '/' | '.'))?;
    let mut parts = date.split(separator).map(str::parse::<u32>);
    let (Some(Ok(year)), Some(Ok(month)), Some(Ok(day)), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return None;
    };
    ((1..=12).contains(&month) && (1..=31).contains(&day)).then(|| (10, format!("{year}年{month}月{day}日")))
}

/// `10:15` and `10:15:00` as 10时15分.
fn time(text: &str) -> Option<(usize, String)> {
    let hours = digits(text);
    let behind = text[hours..].strip_prefix([':', '\u{ff1a}'])?;
    let colon = text.len() - hours - behind.len();
    let minutes = digits(behind);
    let (hour, minute): (u32, u32) = (text[..hours].parse().ok()?, behind[..minutes].parse().ok()?);
    if hours > 2 || minutes != 2 || hour > 24 || minute > 59 {
        return None;
    }
    let seconds = behind[minutes..].strip_prefix(':').filter(|rest| digits(rest) == 2).map_or(0, |_| 3);
    let words = if minute == 0 { format!("{hour}时") } else { format!("{hour}时{minute}分") };
    Some((hours + colon + minutes + seconds, words))
}

/// `0816-4821234`: the bytes of the whole number.
fn dialled_with_area_code(rest: &str, digits_before: usize) -> Option<usize> {
    let behind = rest[digits_before..].strip_prefix('-').map(digits)?;
    ((3..=4).contains(&digits_before) && rest.starts_with('0') && behind >= TELEPHONE_DIGITS).then_some(digits_before + 1 + behind)
}

fn dial(number: &str, said: &mut String) {
    said.extend(number.chars().map(|digit| match digit {
        '0' => '零',
        // What is said for a one over the telephone; 一 is mistaken for 七.
        '1' => '幺',
        '2' => '二',
        '3' => '三',
        '4' => '四',
        '5' => '五',
        '6' => '六',
        '7' => '七',
        '8' => '八',
        '9' => '九',
        _ => PAUSE,
    }));
}

fn unit(behind: &str, said: &mut String) -> usize {
    let near = behind.trim_start_matches(' ');
    let ends = |unit: &str| !near[unit.len()..].starts_with(|next: char| next.is_ascii_alphabetic());
    match UNITS.iter().find(|(unit, _)| near.starts_with(unit) && ends(unit)) {
        Some((unit, words)) => {
            said.push_str(words);
            behind.len() - near.len() + unit.len()
        }
        None => 0,
    }
}

/// The dash of `50-100`; a unit between the numbers is left as it is.
fn range(rest: &str, whole: usize, said: &mut String) -> usize {
    let behind = &rest[whole..];
    let dash = behind.chars().next().filter(|dash| matches!(dash, '-' | '–' | '—' | '－'));
    match dash {
        Some(dash) if behind[dash.len_utf8()..].starts_with(|next: char| next.is_ascii_digit()) => {
            said.push('到');
            dash.len_utf8()
        }
        _ => 0,
    }
}

/// `-5℃` as 零下5摄氏度.
fn below_zero(rest: &str, said: &mut String) -> Option<usize> {
    let dash = rest.chars().next().filter(|dash| matches!(dash, '-' | '−' | '－'))?;
    let number = &rest[dash.len_utf8()..];
    let degrees = number.trim_start_matches(|letter: char| letter.is_ascii_digit() || matches!(letter, '.' | '~' | '～' | '-'));
    (number.starts_with(|next: char| next.is_ascii_digit()) && (degrees.starts_with('℃') || degrees.starts_with("°C"))).then(|| {
        said.push_str("零下");
        dash.len_utf8()
    })
}

fn sign(rest: &str, said: &mut String) -> Option<usize> {
    let (written, words) = SIGNS.iter().find(|(written, _)| rest.starts_with(written))?;
    said.push_str(words);
    Some(written.len())
}

/// One letter: kept, made a stop, or left out.
fn put(letter: char, said: &mut String) {
    match letter {
        '。' | '\u{ff0c}' | '、' | '\u{ff1b}' | '\u{ff1a}' | '\u{ff1f}' | '\u{ff01}' => said.push(letter),
        ',' | '(' | ')' | '\u{ff08}' | '\u{ff09}' | '[' | ']' | '/' | '|' | '·' | '—' => said.push(PAUSE),
        ';' => said.push('\u{ff1b}'),
        ':' => said.push('\u{ff1a}'),
        '.' | '!' | '?' | '\n' => said.push('。'),
        '】' | '〕' | '》' => said.push(PAUSE),
        // Words of other scripts keep their distance.
        ' ' if said.ends_with(|last: char| last.is_ascii_alphanumeric()) => said.push(' '),
        letter if letter.is_alphanumeric() => said.push(letter),
        _ => {}
    }
}

/// Stops that stand side by side are one, the strongest; none stands at the beginning.
fn tidy(text: &str) -> String {
    let mut tidy = String::with_capacity(text.len());
    for letter in text.chars() {
        let last = tidy.chars().next_back();
        match (last.map(strength), strength(letter)) {
            (_, 0) => tidy.push(letter),
            (None, _) => {}
            (Some(0), _) => {
                if tidy.ends_with(' ') {
                    tidy.pop();
                }
                tidy.push(letter);
            }
            (Some(before), now) if now > before => {
                tidy.pop();
                tidy.push(letter);
            }
            (Some(_), _) => {}
        }
    }
    tidy
}

/// How long a stop is; 0 for what is said.
pub(super) const fn strength(letter: char) -> u8 {
    match letter {
        '、' => 1,
        '\u{ff0c}' => 2,
        '\u{ff1a}' => 3,
        '\u{ff1b}' => 4,
        '。' | '\u{ff1f}' | '\u{ff01}' => 5,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_is_said_as_a_listener_understands_it() {
        for (written, said) in [
            ("3小时雨量100mm以上(≥50mm/h)", "3小时雨量100毫米以上\u{ff0c}不小于50毫米每小时\u{ff0c}"),
            ("2026-07-23 10:15:00", "2026年7月23日10时15分"),
            ("08:00至20:30", "8时至20时30分"),
            ("50-100毫米\u{ff0c}局地120～150毫米", "50到100毫米\u{ff0c}局地120到150毫米"),
            ("最低气温-5℃", "最低气温零下5摄氏度"),
            ("湿度低于30%", "湿度低于百分之30"),
            ("[Ⅰ级/特别严重]", "一级\u{ff0c}特别严重\u{ff0c}"),
            ("请拨打119或0816-4821234", "请拨打幺幺九或零八幺六\u{ff0c}四八二幺二三四"),
            ("值班电话13800138000。", "值班电话幺三八零零幺三八零零零。"),
            ("水位1.5m\u{ff0c}流速3 m/s", "水位1.5米\u{ff0c}流速3米每秒"),
            ("“龙卷风”【演练】《预案》", "龙卷风演练\u{ff0c}预案\u{ff0c}"),
            ("详见 https://a.example/x?y=1 。", "详见。"),
            ("II级响应", "二级响应"),
        ] {
            assert_eq!(spoken(written), said, "{written}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_left_that_is_only_for_the_eye(text in "\\PC{0,200}") {
            for letter in spoken(&text).chars() {
                prop_assert!(letter.is_alphanumeric() || letter == ' ' || letter == '.' || strength(letter) > 0, "{:?} in {}", letter, text);
            }
        }
    }
}
