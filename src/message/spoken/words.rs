//! Owns the tables: units, words that count, and what is said for a sign.
//! Refuses to know grammar. Invariant: longer ones stand before those they begin with.

/// Units behind a number.
pub(super) const UNITS: &[(&str, &str)] = &[
    ("μg/m3", "微克每立方米"),
    ("μg/m³", "微克每立方米"),
    ("ug/m3", "微克每立方米"),
    ("mg/m3", "毫克每立方米"),
    ("mg/m³", "毫克每立方米"),
    ("mm/min", "毫米每分钟"),
    ("mm/d", "毫米每天"),
    ("mm/h", "毫米每小时"),
    ("MM/H", "毫米每小时"),
    ("cm/h", "厘米每小时"),
    ("km/h", "公里每小时"),
    ("KM/H", "公里每小时"),
    ("m3/s", "立方米每秒"),
    ("m³/s", "立方米每秒"),
    ("m3/h", "立方米每小时"),
    ("m³/h", "立方米每小时"),
    ("km2", "平方公里"),
    ("km²", "平方公里"),
    ("m/s", "米每秒"),
    ("M/S", "米每秒"),
    ("m/h", "米每小时"),
    ("mg/L", "毫克每升"),
    ("hm2", "公顷"),
    ("hm²", "公顷"),
    ("cm2", "平方厘米"),
    ("cm²", "平方厘米"),
    ("mm2", "平方毫米"),
    ("mm²", "平方毫米"),
    ("m2", "平方米"),
    ("m²", "平方米"),
    ("m3", "立方米"),
    ("m³", "立方米"),
    ("MHz", "兆赫"),
    ("kHz", "千赫"),
    ("kWh", "千瓦时"),
    ("min", "分钟"),
    ("hPa", "百帕"),
    ("kPa", "千帕"),
    ("MPa", "兆帕"),
    ("dBz", "分贝"),
    ("dBZ", "分贝"),
    ("dB", "分贝"),
    ("Hz", "赫兹"),
    ("Pa", "帕"),
    ("mm", "毫米"),
    ("MM", "毫米"),
    ("cm", "厘米"),
    ("CM", "厘米"),
    ("km", "公里"),
    ("KM", "公里"),
    ("kg", "公斤"),
    ("KG", "公斤"),
    ("mg", "毫克"),
    ("mL", "毫升"),
    ("ml", "毫升"),
    ("kV", "千伏"),
    ("kv", "千伏"),
    ("kW", "千瓦"),
    ("kw", "千瓦"),
    ("MW", "兆瓦"),
    ("°C", "摄氏度"),
    ("°F", "华氏度"),
    ("m", "米"),
    ("M", "米"),
    ("h", "小时"),
    ("s", "秒"),
    ("d", "天"),
    ("g", "克"),
    ("t", "吨"),
    ("L", "升"),
    ("l", "升"),
    ("V", "伏"),
    ("W", "瓦"),
];

/// Words behind a number that say what is counted.
const COUNTED: &[&str] = &[
    "平方公里",
    "平方千米",
    "平方米",
    "立方米",
    "立方",
    "摄氏度",
    "公里",
    "千米",
    "毫米",
    "厘米",
    "公斤",
    "千克",
    "公顷",
    "小时",
    "分钟",
    "分贝",
    "时",
    "点",
    "日",
    "号",
    "月",
    "年",
    "分",
    "秒",
    "级",
    "度",
    "米",
    "人",
    "户",
    "天",
    "周",
    "层",
    "楼",
    "栋",
    "幢",
    "座",
    "元",
    "吨",
    "亩",
    "名",
    "次",
    "岁",
    "克",
    "个",
    "处",
    "条",
    "辆",
    "间",
    "头",
    "只",
    "家",
    "所",
    "村",
    "镇",
    "乡",
    "里",
    "倍",
    "台",
    "套",
    "份",
    "项",
    "起",
    "位",
    "方",
    "斤",
    "百帕",
    "帕",
    "丈",
    "尺",
    "寸",
    "颗",
    "根",
    "块",
    "张",
    "口",
    "期",
    "届",
    "类",
    "种",
    "段",
    "班",
    "门",
    "孔",
    "组",
];

/// Letters that make a number greater or vaguer: `120万`, `3000余`.
const MULTIPLIED: &[char] = &['万', '亿', '千', '百', '十', '余', '多', '几', '来'];

/// How many letters behind a number belong to it: multipliers, then what is counted, `多` between.
pub(super) fn counter(behind: &[char]) -> usize {
    let multiplied = behind.iter().take_while(|letter| MULTIPLIED.contains(letter)).count();
    let rest = &behind[multiplied..];
    let counted = COUNTED.iter().find(|word| starts(rest, word)).map_or(0, |word| word.chars().count());
    let vague = usize::from(counted > 0 && rest.get(counted).is_some_and(|letter| matches!(letter, '多' | '余' | '许')));
    multiplied + counted + vague
}

/// A unit that these letters begin with, blanks before it allowed: how long, and how it is said.
pub(super) fn unit(behind: &[char]) -> Option<(usize, &'static str)> {
    let blanks = behind.iter().take_while(|letter| **letter == ' ').count();
    let near = &behind[blanks..];
    let ends = |length: usize| !near.get(length).is_some_and(|next| next.is_ascii_alphabetic());
    let found = UNITS.iter().find(|(written, _)| starts(near, written) && ends(written.chars().count()));
    found.map(|(written, said)| (blanks + written.chars().count(), *said))
}

/// Signs and what is said for them, wherever they stand; longer ones first.
const SIGNS: &[(&str, &str)] = &[
    (">=", "不小于"),
    ("<=", "不大于"),
    ("°C", "摄氏度"),
    ("°F", "华氏度"),
    ("km2", "平方公里"),
    ("km²", "平方公里"),
    ("m²", "平方米"),
    ("m³", "立方米"),
    ("≥", "不小于"),
    ("≧", "不小于"),
    ("⩾", "不小于"),
    ("≤", "不大于"),
    ("≦", "不大于"),
    ("⩽", "不大于"),
    ("≮", "不小于"),
    ("≯", "不大于"),
    (">", "大于"),
    ("<", "小于"),
    ("≠", "不等于"),
    ("≈", "约等于"),
    ("±", "正负"),
    ("×", "乘"),
    ("÷", "除以"),
    ("+", "加"),
    ("&", "和"),
    ("%", "百分号"),
    ("‰", "千分号"),
    ("→", "到"),
    ("⇒", "到"),
    ("²", "平方"),
    ("³", "立方"),
    ("°", "度"),
    ("′", "分"),
    ("″", "秒"),
];

pub(super) fn sign(rest: &[char]) -> Option<(usize, &'static str)> {
    SIGNS.iter().find(|(written, _)| starts(rest, written)).map(|(written, said)| (written.chars().count(), *said))
}

pub(super) fn starts(letters: &[char], word: &str) -> bool {
    let mut letters = letters.iter();
    word.chars().all(|letter| letters.next() == Some(&letter))
}

/// Whether the letters before `at` end in one of these words.
pub(super) fn ends(before: &[char], words: &[&str]) -> bool {
    words.iter().any(|word| {
        let length = word.chars().count();
        before.len() >= length && starts(&before[before.len() - length..], word)
    })
}
