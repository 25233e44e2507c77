//! Owns the proof by a real engine: the numbers that espeak-ng says are the numbers that were written.
//! Its voice is chosen by what it says (its names lie: `cmn` of Debian 12 reads pinyin as English), its words are read as phonemes.

use std::process::Command;

use lastmile::{
    alert::{self, Limits, Vocabulary},
    message::{
        Form,
        render::{Occasion, Reader, render},
    },
};

use crate::machine::require;

const ENGINE: &str = "/usr/bin/espeak-ng";
/// What every Mandarin voice must say for 一二三: syllables without stress and tone.
const KNOWN: (&str, [&str; 3]) = ("一二三", ["ji", "@r", "san"]);

/// Syllables that the engine says, without stress and tone: 五 in 五百 has another tone than alone.
fn syllables(voice: &str, text: &str) -> Vec<String> {
    let done = Command::new(ENGINE).args(["-q", "-x", "-v", voice, text]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let words = said.split(|letter: char| letter.is_whitespace() || letter == '|').filter(|word| !word.is_empty());
    words.map(|word| word.chars().filter(|letter| !letter.is_ascii_digit() && !matches!(letter, '\'' | ',' | '_')).collect()).collect()
}

fn voice() -> &'static str {
    let speaks = |voice: &&&str| syllables(voice, KNOWN.0) == KNOWN.1;
    ["cmn-latn-pinyin", "cmn", "zh"].iter().find(speaks).expect("a voice of espeak-ng that says 一二三 in Mandarin")
}

/// What a loudspeaker is sent when an alert wants `text` to be said.
fn sent(text: &str) -> String {
    let alert = serde_json::json!({
        "identifier": "speech-1", "sender": "met@county.example", "sent": "2026-11-20T09:00:00+08:00", "status": "Actual", "msgType": "Alert",
        "event": "11B06", "level": "blue", "expires": "2036-01-01T00:00:00+08:00", "headline": "大风蓝色预警", "language": "zh-CN",
        "areas": [{ "name": "曲山镇", "codes": ["510726100"] }],
    });
    let alert = alert::read(alert.to_string().as_bytes(), None, &Limits::default(), &Vocabulary::default()).outcome.unwrap();
    let reader = Reader { name: "", role: "", area_name: "曲山镇", language: "zh-CN", shelter: None, answer: None };
    render(&alert, &reader, &Occasion::Warning, &Form::Speech { units_max: 600 }, Some(text)).text
}

/// Whether the engine says these characters one after another.
fn says(voice: &str, text: &str, meant: &str) -> bool {
    let meant: Vec<String> = meant.chars().flat_map(|letter| syllables(voice, &letter.to_string())).collect();
    syllables(voice, text).windows(meant.len()).any(|window| window == meant)
}

#[test]
fn the_numbers_that_an_engine_says_are_the_numbers_that_were_written() {
    require(ENGINE, "espeak-ng");
    let voice = voice();
    for (written, meant) in [
        ("雨量105毫米", "一百零五"),
        ("省道205中断", "二百零五"),
        ("转移1002人", "一千零二"),
        ("转移10,000人", "一万"),
        ("雨量５０毫米", "五十"),
        ("气温－5～－10℃", "零下五到零下十"),
        ("气温-5～3℃", "零下五到零上三"),
        ("湿度60%-70%", "百分之六十到百分之七十"),
        ("23日8时-24日8时", "八时到二十四日"),
        ("请拨打110、119或12379", "幺二三七九"),
        ("电话138-0013-8000", "八零零零"),
        ("库容1200000立方米", "一百二十万"),
        ("水位12.05米", "十二点零五"),
        ("Ⅱ级响应", "二级"),
        ("流速≥3m/s", "不小于三米每秒"),
    ] {
        let text = sent(written);
        assert!(says(voice, &text, meant), "{written} is sent as {text} and said as {:?}, not {meant}", syllables(voice, &text));
        assert!(!syllables(voice, &text).iter().any(|syllable| syllable.contains("(en)")), "{text} is read in English");
    }
}
