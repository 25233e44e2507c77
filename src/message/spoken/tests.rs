//! Tests of what is said: by examples as people write them, and by what may never be lost.

use proptest::prelude::*;

use super::{numeral::tests::heard, *};

fn all(rows: &[(&str, &str)]) {
    let wrong: Vec<_> = rows.iter().filter(|(written, said)| spoken(written) != *said).collect();
    let told: Vec<_> = wrong.iter().map(|(written, said)| format!("{written}\n  is said {}\n  not     {said}", spoken(written))).collect();
    assert!(told.is_empty(), "\n{}", told.join("\n"));
}

#[test]
fn what_is_written_is_said_as_a_listener_understands_it() {
    all(&[
        ("3小时雨量100mm以上(≥50mm/h)", "三小时雨量一百毫米以上\u{ff0c}不小于五十毫米每小时\u{ff0c}"),
        ("湿度低于30%", "湿度低于百分之三十"),
        ("[Ⅰ级/特别严重]", "一级\u{ff0c}特别严重\u{ff0c}"),
        ("水位1.5m\u{ff0c}流速3 m/s", "水位一点五米\u{ff0c}流速三米每秒"),
        ("“龙卷风”【演练】《预案》", "龙卷风演练\u{ff0c}预案\u{ff0c}"),
        ("详见 https://a.example/x?y=1 。", "详见。"),
        ("II级响应", "二级响应"),
        ("Ⅱ号滑坡体\u{ff0c}烈度Ⅳ度", "二号滑坡体\u{ff0c}烈度四度"),
        ("Ⅲ-Ⅱ级", "三到二级"),
        ("雨量105毫米\u{ff0c}５０毫米\u{ff0c}①撤离②关阀", "雨量一百零五毫米\u{ff0c}五十毫米\u{ff0c}一、撤离二、关阀"),
        ("雨量＞50毫米\u{ff0c}气温＜0℃\u{ff0c}能见度<200米", "雨量大于五十毫米\u{ff0c}气温小于零摄氏度\u{ff0c}能见度小于二百米"),
        ("12,000立方米、12\u{ff0c}000立方米、1,234,567人", "一万二千立方米、一万二千立方米、一百二十三万四千五百六十七人"),
        ("300m³、15km²、75μg/m³、1008hPa", "三百立方米、十五平方公里、七十五微克每立方米、一千零八百帕"),
        ("库容120万m³\u{ff0c}3万5千人", "库容一百二十万立方米\u{ff0c}三万五千人"),
        ("3#楼\u{ff0c}1#2#闸门\u{ff0c}#1#2闸门", "三号楼\u{ff0c}一号、二号闸门\u{ff0c}一号、二号闸门"),
        ("5*8米巨石\u{ff0c}3×4米", "五乘八米巨石\u{ff0c}三乘四米"),
        ("3/4村民已转移\u{ff0c}5/6号楼\u{ff0c}½杯", "四分之三村民已转移\u{ff0c}五\u{ff0c}六号楼\u{ff0c}二分之一杯"),
        ("31.8°N\u{ff0c}104.4°E", "北纬三十一点八度\u{ff0c}东经一百零四点四度"),
        ("雨强20毫米/小时\u{ff0c}3mm/h", "雨强二十毫米每小时\u{ff0c}三毫米每小时"),
        ("补助¥1,500\u{ff0c}1.5万元", "补助一千五百元\u{ff0c}一点五万元"),
        ("PM2.5\u{ff0c}G5京昆\u{ff0c}K12+300", "PM二点五\u{ff0c}G五京昆\u{ff0c}K一二加三百"),
        ("100年一遇\u{ff0c}2026年\u{ff0c}.5米", "一百年一遇\u{ff0c}二零二六年\u{ff0c}零点五米"),
        ("比例1:500\u{ff0c}10³米", "比例一比五百\u{ff0c}十的三次方米"),
    ]);
}

#[test]
fn below_zero_stays_below_zero() {
    all(&[
        ("最低气温-5℃", "最低气温零下五摄氏度"),
        ("最低气温－5～－10℃", "最低气温零下五到零下十摄氏度"),
        ("–5℃", "零下五摄氏度"),
        ("气温-5度", "气温零下五度"),
        ("-5～3℃", "零下五到零上三摄氏度"),
        ("-5℃-3℃", "零下五摄氏度到零上三摄氏度"),
        ("-3~0℃", "零下三到零摄氏度"),
        ("5~-3℃", "五到零下三摄氏度"),
        ("—5℃", "零下五摄氏度"),
        ("气温降至-5", "气温降至零下五"),
        ("水位-0.5米\u{ff0c}−3米", "水位负零点五米\u{ff0c}负三米"),
        ("升温+5℃", "升温零上五摄氏度"),
    ]);
}

#[test]
fn to_is_said_wherever_it_is_meant() {
    all(&[
        ("50-100毫米\u{ff0c}局地120～150毫米", "五十到一百毫米\u{ff0c}局地一百二十到一百五十毫米"),
        ("23日8时-24日8时", "二十三日八时到二十四日八时"),
        ("17:00-20:00", "十七时到二十时"),
        ("7月23日-25日", "七月二十三日到二十五日"),
        ("80mm-105mm", "八十毫米到一百零五毫米"),
        ("7级-8级\u{ff0c}7－8级\u{ff0c}7—8级\u{ff0c}7 - 8级", "七级到八级\u{ff0c}七到八级\u{ff0c}七到八级\u{ff0c}七到八级"),
        ("60%-70%\u{ff0c}80-90%", "百分之六十到百分之七十\u{ff0c}百分之八十到百分之九十"),
        ("12月1日8时—14时撤离", "十二月一日八时到十四时撤离"),
        ("8时——14时", "八时到十四时"),
        ("5日上午-6日上午", "五日上午到六日上午"),
        ("周一-周五\u{ff0c}七—八级", "周一到周五\u{ff0c}七到八级"),
        ("50一100毫米", "五十到一百毫米"),
        ("2026-2027年", "二零二六到二零二七年"),
        ("23日夜间-次日8时", "二十三日夜间到次日八时"),
        ("约~30分钟", "约三十分钟"),
        ("提示——请撤离", "提示\u{ff0c}请撤离"),
    ]);
}

#[test]
fn dates_and_hours_are_dates_and_hours() {
    all(&[
        ("2026-07-23 10:15:00", "二零二六年七月二十三日十时十五分"),
        ("2026-7-23", "二零二六年七月二十三日"),
        ("2026/7/23", "二零二六年七月二十三日"),
        ("2026.7.23", "二零二六年七月二十三日"),
        ("2026-07-23T10:15:00+08:00", "二零二六年七月二十三日十时十五分"),
        ("2026-07-23至2026-07-25", "二零二六年七月二十三日至二零二六年七月二十五日"),
        ("08:00至20:30\u{ff0c}00:05", "八时至二十时三十分\u{ff0c}零时零五分"),
        ("08时05分", "八时五分"),
    ]);
}

#[test]
fn telephones_are_dialled_and_amounts_are_amounts() {
    all(&[
        ("请拨打119或0816-4821234", "请拨打幺幺九或零八幺六\u{ff0c}四八二幺二三四"),
        ("值班电话13800138000。", "值班电话幺三八零零幺三八零零零。"),
        ("请拨打110、119或120", "请拨打幺幺零、幺幺九或幺二零"),
        ("报警电话\u{ff1a}110\u{ff0c}雨量120毫米", "报警电话\u{ff1a}幺幺零\u{ff0c}雨量一百二十毫米"),
        ("12345热线\u{ff0c}12379平台", "幺二三四五热线\u{ff0c}幺二三七九平台"),
        ("138-0013-8000", "幺三八\u{ff0c}零零幺三\u{ff0c}八零零零"),
        ("400-800-1234", "四零零\u{ff0c}八零零\u{ff0c}幺二三四"),
        ("0816—4821234", "零八幺六\u{ff0c}四八二幺二三四"),
        ("(0816)4821234", "零八幺六\u{ff0c}四八二幺二三四"),
        ("+86 13800138000", "八六\u{ff0c}幺三八零零幺三八零零零"),
        ("1200000立方米", "一百二十万立方米"),
        ("转移120人\u{ff0c}电话费110元", "转移一百二十人\u{ff0c}电话费一百一十元"),
        ("有险情打110", "有险情打幺幺零"),
        ("拨打12345处理\u{ff0c}拨打110时说明地点", "拨打幺二三四五处理\u{ff0c}拨打幺幺零时说明地点"),
        ("村主任 13800138000 或 13900139000", "村主任幺三八零零幺三八零零零或幺三九零零幺三九零零零"),
    ]);
}

proptest! {
    #[test]
    fn nothing_is_left_that_is_only_for_the_eye(text in "\\PC{0,200}") {
        for letter in spoken(&text).chars() {
            prop_assert!(letter.is_alphanumeric() || letter == ' ' || strength(letter) > 0, "{:?} in {}", letter, text);
            prop_assert!(!letter.is_ascii_digit(), "{:?} in {}", letter, text);
        }
    }

    /// Two numbers with any sign between them and any words around are both heard, and each minus.
    #[test]
    fn two_numbers_are_heard_as_two_and_no_minus_is_lost(
        first in 0_u32..100_000, second in 0_u32..100_000, decimals in "(\\.[0-9]{1,2})?",
        mark in prop::sample::select(vec!["-", "－", "–", "—", "~", "～", "、", "\u{ff0c}", " ", "*", "#", ">", "＜", "^", "|", "=", "+", "和", "至", "😀", "\u{200b}，", "——", "·", "(", "…"]),
        unit in prop::sample::select(vec!["", "毫米", "mm", "℃", "%", "级", "m³"]),
        minus in any::<bool>(),
    ) {
        let sign = if minus { "-" } else { "" };
        let text = format!("测得{sign}{first}{unit}{mark}{second}{decimals}{unit}左右");
        let said = spoken(&text);
        let runs = ["百分之", "零下", "零上"].iter().fold(said.replace('幺', "一"), |said, word| said.replace(word, "\u{ff0c}"));
        let runs = runs.split(|letter: char| !numeral::is_numeral(letter)).filter(|run| !run.is_empty());
        let numbers: Vec<u128> = runs.filter_map(heard).map(|(value, _)| value).collect();
        prop_assert_eq!(&numbers, &vec![u128::from(first), u128::from(second)], "{} -> {}", text, said);
        prop_assert_eq!(said.contains("零下") || said.contains('负'), minus, "{} -> {}", text, said);
    }
}
