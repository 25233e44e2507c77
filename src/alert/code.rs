//! Owns event codes: their shape, their Chinese names (12379 table; 11B23 and above partly by the weather services' public lists), and patterns over them.
//! Refuses to know who may issue which. Invariant: an unknown code of the right shape is kept as it is and named by its class.

use std::{fmt, str::FromStr};

use super::EventCode;

/// Code used for a document that names its event in words only.
pub(super) const UNSPECIFIED: &str = "10000";

#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not an event code of five characters such as 11B03")]
pub struct BadEventCode(String);

impl EventCode {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for an event of which only words are known.
    pub fn is_unspecified(&self) -> bool {
        self.0 == UNSPECIFIED
    }

    /// The first three characters; empty for what another version may have kept in place of a code.
    fn class(&self) -> &str {
        self.0.get(..3).unwrap_or_default()
    }
}

impl FromStr for EventCode {
    type Err = BadEventCode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if is_code(text) { Ok(Self(text.to_owned())) } else { Err(BadEventCode(text.chars().take(20).collect())) }
    }
}

impl fmt::Display for EventCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `00000`, or `1`, a digit, a letter or digit, two digits.
pub(super) fn is_code(text: &str) -> bool {
    let bytes = text.as_bytes();
    let shaped = bytes.len() == 5
        && bytes[0] == b'1'
        && bytes[1].is_ascii_digit()
        && (bytes[2].is_ascii_digit() || bytes[2].is_ascii_uppercase())
        && bytes[3..].iter().all(u8::is_ascii_digit);
    shaped || text == "00000"
}

/// `11B03`, `11B*`, `*`: one code, or all that begin so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventPattern {
    prefix: String,
    is_open: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("{0:?} is neither an event code such as 11B03 nor a beginning with a star such as 11B*")]
pub struct BadEventPattern(String);

impl EventPattern {
    pub fn matches(&self, event: &EventCode) -> bool {
        if self.is_open { event.0.starts_with(&self.prefix) } else { event.0 == self.prefix }
    }
}

impl FromStr for EventPattern {
    type Err = BadEventPattern;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(prefix) = text.strip_suffix('*') {
            // The beginning of a code, made whole with characters that fit, must be a code.
            let whole: String = prefix.chars().chain("10000".chars().skip(prefix.chars().count())).collect();
            if prefix.len() < 5 && (is_code(&whole) || "00000".starts_with(prefix)) {
                return Ok(Self { prefix: prefix.to_owned(), is_open: true });
            }
        } else if is_code(text) {
            return Ok(Self { prefix: text.to_owned(), is_open: false });
        }
        Err(BadEventPattern(text.chars().take(20).collect()))
    }
}

impl fmt::Display for EventPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.prefix, if self.is_open { "*" } else { "" })
    }
}

/// The event in words: by its code, else by its class.
pub fn event_name(event: &EventCode) -> &'static str {
    let find = |code: &str| NAMES.binary_search_by_key(&code, |(known, _)| known).ok().map(|place| NAMES[place].1);
    find(&event.0).or_else(|| find(&format!("{}00", event.class()))).unwrap_or("突发事件")
}

/// CAP `category` of a code, by its class.
pub fn category(event: &EventCode) -> &'static str {
    match event.class() {
        "11A" | "11B" | "11E" => "Met",
        "11C" | "11D" => "Geo",
        "11F" => "Env",
        "11G" => "Fire",
        class if class.starts_with("12") => "Safety",
        class if class.starts_with("13") => "Health",
        class if class.starts_with("14") => "Security",
        _ => "Other",
    }
}

/// Codes of single events with their names: those of whole classes (`…00`, `…99`) have words that stand in any text.
pub(super) fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
    NAMES.iter().copied().filter(|(code, _)| !code.ends_with("00") && !code.ends_with("99"))
}

/// Sorted by code.
const NAMES: &[(&str, &str)] = &[
    ("00000", "测试"),
    ("10000", "突发事件"),
    ("11000", "自然灾害"),
    ("11A00", "水旱灾害"),
    ("11A01", "洪水"),
    ("11A02", "内涝"),
    ("11A03", "水库重大险情"),
    ("11A04", "堤防重大险情"),
    ("11A05", "凌汛"),
    ("11A10", "农村人畜饮水困难"),
    ("11A51", "山洪灾害"),
    ("11A52", "农业干旱"),
    ("11A53", "城镇缺水"),
    ("11A54", "生态干旱"),
    ("11A99", "水旱灾害"),
    ("11B00", "气象灾害"),
    ("11B01", "台风"),
    ("11B02", "龙卷风"),
    ("11B03", "暴雨"),
    ("11B04", "暴雪"),
    ("11B05", "寒潮"),
    ("11B06", "大风"),
    ("11B07", "沙尘暴"),
    ("11B08", "低温冻害"),
    ("11B09", "高温"),
    ("11B10", "热浪"),
    ("11B11", "干热风"),
    ("11B12", "下击暴流"),
    ("11B13", "雪崩"),
    ("11B14", "雷电"),
    ("11B15", "冰雹"),
    ("11B16", "霜冻"),
    ("11B17", "大雾"),
    ("11B18", "低空风切变"),
    ("11B19", "霾"),
    ("11B20", "雷雨大风"),
    ("11B21", "道路结冰"),
    ("11B22", "干旱"),
    ("11B23", "海上大风"),
    ("11B24", "高温中暑"),
    ("11B25", "森林火险"),
    ("11B26", "草原火险"),
    ("11B27", "冰冻"),
    ("11B28", "空间天气"),
    ("11B29", "重污染"),
    ("11B30", "低温雨雪冰冻"),
    ("11B31", "强对流"),
    ("11B32", "臭氧"),
    ("11B33", "大雪"),
    ("11B34", "寒冷"),
    ("11B35", "连阴雨"),
    ("11B36", "渍涝风险"),
    ("11B37", "地质灾害气象风险"),
    ("11B38", "强降雨"),
    ("11B39", "强降温"),
    ("11B40", "雪灾"),
    ("11B41", "森林(草原)火险"),
    ("11B42", "医疗气象"),
    ("11B43", "雷暴"),
    ("11B44", "停课"),
    ("11B45", "停工"),
    ("11B46", "海上风险"),
    ("11B47", "春季沙尘"),
    ("11B48", "降温"),
    ("11B49", "台风暴雨"),
    ("11B50", "严寒"),
    ("11B51", "沙尘"),
    ("11B52", "海上雷雨大风"),
    ("11B53", "海上大雾"),
    ("11B54", "海上雷电"),
    ("11B55", "海上台风"),
    ("11B56", "低温"),
    ("11B57", "道路冰雪"),
    ("11B58", "雷暴大风"),
    ("11B59", "持续低温"),
    ("11B60", "能见度不良"),
    ("11B61", "浓浮尘"),
    ("11B62", "海区大风"),
    ("11B63", "短历时强降水"),
    ("11B64", "短时强降雨"),
    ("11B65", "海区大雾"),
    ("11B66", "中暑气象条件"),
    ("11B67", "重污染天气"),
    ("11B68", "一氧化碳中毒气象条件"),
    ("11B73", "洪涝气象风险"),
    ("11B75", "城市内涝气象风险"),
    ("11B76", "洪水气象风险"),
    ("11B77", "森林火险气象风险"),
    ("11B78", "气象干旱"),
    ("11B99", "气象灾害"),
    ("11C00", "地震灾害"),
    ("11C01", "人工地震"),
    ("11C02", "天然地震"),
    ("11C99", "地震灾害"),
    ("11D00", "地质灾害"),
    ("11D01", "滑坡"),
    ("11D02", "泥石流"),
    ("11D03", "山体崩塌"),
    ("11D04", "地面塌陷"),
    ("11D05", "地裂缝"),
    ("11D06", "地面沉降"),
    ("11D07", "火山喷发"),
    ("11D99", "地质灾害"),
    ("11E00", "海洋灾害"),
    ("11E01", "海啸"),
    ("11E02", "风暴潮"),
    ("11E03", "海冰"),
    ("11E04", "巨浪"),
    ("11E05", "赤潮"),
    ("11E06", "海浪"),
    ("11E99", "海洋灾害"),
    ("11F00", "生物灾害"),
    ("11G00", "森林草原火灾"),
    ("11Y00", "其他自然灾害"),
    ("12000", "事故灾难"),
    ("12A00", "煤矿事故"),
    ("12B00", "非煤矿山事故"),
    ("12C00", "建筑施工事故"),
    ("12D00", "危险化学品事故"),
    ("13000", "公共卫生事件"),
    ("14000", "社会安全事件"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> EventCode {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn the_table_of_names_is_sorted_and_every_code_in_it_has_the_shape() {
        assert!(NAMES.is_sorted_by(|one, other| one.0 < other.0));
        assert!(NAMES.iter().all(|(known, _)| is_code(known)));
        assert_eq!((event_name(&code("11B03")), event_name(&code("11B14")), event_name(&code("11D44"))), ("暴雨", "雷电", "地质灾害"));
    }

    #[test]
    fn patterns_match_codes_and_beginnings() {
        let matches = |pattern: &str, event: &str| pattern.parse::<EventPattern>().expect("pattern").matches(&code(event));
        assert!(matches("11B*", "11B03") && matches("*", "00000") && matches("11B03", "11B03"));
        assert!(!matches("11B*", "11D01") && !matches("11B03", "11B04"));
        for text in ["11b*", "", "11B0", "11B030", "**", "X*", "11B03*"] {
            assert!(text.parse::<EventPattern>().is_err(), "{text:?} was taken for a pattern");
        }
    }
}
