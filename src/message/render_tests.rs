//! Tests of what readers are told: within the limits for any input, and in words that can be read here.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{
    Form,
    render::{Ask, Occasion, Reader, Rendered, Shelter, render, units},
};
use crate::{
    alert::{Alert, Area, Level, MsgType, Status},
    time::Timestamp,
};

fn rainstorm() -> Alert {
    let at = |text: &str| text.parse::<Timestamp>().expect("time");
    Alert {
        identifier: "51072641600000_20260723101500".into(),
        sender: "51072641600000".into(),
        sender_name: "北川羌族自治县气象台".into(),
        sent: at("2026-07-23T10:15:00+08:00"),
        status: Status::Actual,
        msg_type: MsgType::Alert,
        references: Vec::new(),
        event: "11B03".parse().expect("event"),
        event_name: "暴雨".into(),
        level: Level::Red,
        urgency: "Immediate".into(),
        certainty: "Likely".into(),
        categories: vec!["Met".into()],
        response_types: Vec::new(),
        effective: at("2026-07-23T10:16:00+08:00"),
        onset: None,
        expires: at("2026-07-23T16:15:00+08:00"),
        headline: "北川羌族自治县气象台发布暴雨红色预警[Ⅰ级/特别严重]".into(),
        description: "预计未来3小时擂鼓镇、曲山镇降雨量将达100mm以上（≥50mm/h)，山洪、滑坡风险很高。".into(),
        instruction: "山沟口、河道两岸和陡坡下的人员立即转移到高处；停止户外作业；不得返回取财物。".into(),
        language: "zh-CN".into(),
        translations: Vec::new(),
        note: String::new(),
        web: String::new(),
        contact: String::new(),
        areas: vec![Area { name: "擂鼓镇".into(), codes: Vec::new(), polygons: Vec::new(), circles: Vec::new() }],
        groups: Vec::new(),
        part_of: String::new(),
        carried: crate::alert::Carried::default(),
        texts: BTreeMap::new(),
    }
}

const SHELTER: Shelter<'_> =
    Shelter { hazard_point: "坪上滑坡", alarm_signal: "敲锣", route: "沿村道向东到小学", place: "擂鼓小学操场" };
const URL: &str = "https://yj.example/a/AAAAAAAAAAAAAAAAAAAA";

fn reader() -> Reader<'static> {
    Reader { name: "", role: "household", area_name: "坪上村", language: "zh-CN", shelter: None, answer: None }
}

fn ask() -> Option<Ask<'static>> {
    Some(Ask { url: Some(URL), due: "2026-07-23T10:21:00+08:00".parse().expect("time") })
}

fn short() -> Form {
    Form::Short { one_part: 70, part: 67, parts_max: 4, signature: "【北川预警】".into(), replies: false }
}

fn said(alert: &Alert, reader: &Reader<'_>, occasion: &Occasion, form: &Form) -> Rendered {
    render(alert, reader, occasion, form, None)
}

#[test]
fn a_household_reads_what_when_where_and_what_to_do() {
    let household = said(&rainstorm(), &reader(), &Occasion::Warning, &short()).text;
    insta::assert_snapshot!("short_household", household);
    let sheltered = said(&rainstorm(), &Reader { shelter: Some(SHELTER), ..reader() }, &Occasion::Warning, &short()).text;
    insta::assert_snapshot!("short_shelter", sheltered);
    let blue = Alert { level: Level::Blue, ..rainstorm() };
    let text = said(&blue, &reader(), &Occasion::Warning, &short()).text;
    assert!(units(&text) <= 70, "a blue warning takes one part: {text}");
}

#[test]
fn who_must_answer_reads_how() {
    let leader = Reader { name: "王明", role: "village_leader", answer: ask(), ..reader() };
    insta::assert_snapshot!("short_leader", said(&rainstorm(), &leader, &Occasion::Warning, &short()).text);
    let on_behalf = Occasion::OnBehalf { silent_person: "李强".into(), their_area: "石岩村".into() };
    insta::assert_snapshot!("short_on_behalf", said(&rainstorm(), &leader, &on_behalf, &short()).text);
    insta::assert_snapshot!("letter_leader", {
        let letter = said(&rainstorm(), &Reader { shelter: Some(SHELTER), ..leader }, &Occasion::Warning, &Form::Letter);
        format!("{}\n---\n{}", letter.subject, letter.text)
    });
}

#[test]
fn changes_and_ends_are_said_as_such() {
    let lower = Alert { level: Level::Orange, msg_type: MsgType::Update, ..rainstorm() };
    insta::assert_snapshot!("short_change", said(&lower, &reader(), &Occasion::Change { before: Some(Level::Red) }, &short()).text);
    insta::assert_snapshot!("short_gone", said(&lower, &reader(), &Occasion::Gone { ended: Vec::new() }, &short()).text);
    let over = Alert { msg_type: MsgType::Cancel, description: "降雨已明显减弱。".into(), ..rainstorm() };
    insta::assert_snapshot!("short_all_clear", said(&over, &reader(), &Occasion::AllClear { ended: Vec::new() }, &short()).text);
    insta::assert_snapshot!(
        "speech_all_clear",
        said(&over, &reader(), &Occasion::AllClear { ended: Vec::new() }, &Form::Speech { units_max: 600 }).text
    );
}

#[test]
fn loudspeakers_say_no_signs_and_groups_get_no_markup_of_strangers() {
    let speech = said(&rainstorm(), &reader(), &Occasion::Warning, &Form::Speech { units_max: 600 }).text;
    assert!(!speech.contains(['【', '[', '(', '\u{ff08}', '≥', '/', '*']), "{speech}");
    insta::assert_snapshot!("speech_warning", speech);
    let hostile = Alert { headline: "**<@all>** [点击](http://x)".into(), ..rainstorm() };
    let post = said(&hostile, &reader(), &Occasion::Warning, &Form::Post { bytes_max: 4_096, markdown: true }).text;
    assert!(!post.contains("<@all>") && !post.contains("]("), "{post}");
    insta::assert_snapshot!(
        "post_warning",
        said(&rainstorm(), &reader(), &Occasion::Warning, &Form::Post { bytes_max: 4_096, markdown: true }).text
    );
}

/// One telling in every form, as a person would compare them.
fn in_every_form(alert: &Alert, reader: &Reader<'_>, occasion: &Occasion) -> String {
    let forms = [short(), Form::Speech { units_max: 600 }, Form::Letter, Form::Post { bytes_max: 2_048, markdown: false }];
    let texts = forms.iter().map(|form| said(alert, reader, occasion, form));
    texts
        .map(|text| format!("{}{}{}", text.subject, if text.subject.is_empty() { "" } else { "\n\n" }, text.text))
        .collect::<Vec<_>>()
        .join("\n=====\n")
}

fn landslide() -> Alert {
    Alert {
        event: "11D01".parse().expect("event"),
        event_name: "滑坡".into(),
        sender_name: "北川羌族自治县自然资源局".into(),
        headline: "北川羌族自治县自然资源局发布滑坡橙色预警".into(),
        level: Level::Orange,
        description: "坪上滑坡后缘裂缝24h扩大35mm\u{ff0c}雨势未减\u{ff0c}值班电话0816-4821234。".into(),
        instruction: "1.有关部门做好抢险准备\u{ff1b}2.听到敲锣立即沿路线撤离\u{ff0c}不要收拾财物\u{ff1b}3.雨停后24小时内不得返回。".into(),
        web: "https://www.beichuan.example/yj/1".into(),
        ..rainstorm()
    }
}

#[test]
fn a_landslide_is_told_in_every_form_with_signal_route_and_shelter() {
    let household = Reader { name: "李秀英", shelter: Some(SHELTER), ..reader() };
    insta::assert_snapshot!("every_form_landslide", in_every_form(&landslide(), &household, &Occasion::Warning));
}

#[test]
fn a_drill_says_first_and_everywhere_that_it_is_one() {
    let drill = Alert { status: Status::Exercise, ..rainstorm() };
    let texts = in_every_form(&drill, &reader(), &Occasion::Warning);
    insta::assert_snapshot!("every_form_drill", texts);
    let short = said(&drill, &reader(), &Occasion::Warning, &short()).text;
    assert!(short.starts_with("【演练】") && short.ends_with("【北川预警】"), "{short}");
}

#[test]
fn an_all_clear_and_a_change_of_level_are_told_in_every_form() {
    let over = Alert { msg_type: MsgType::Cancel, description: "降雨已明显减弱。".into(), ..rainstorm() };
    insta::assert_snapshot!("every_form_all_clear", in_every_form(&over, &reader(), &Occasion::AllClear { ended: Vec::new() }));
    let lower = Alert { level: Level::Orange, ..rainstorm() };
    insta::assert_snapshot!("every_form_change", in_every_form(&lower, &reader(), &Occasion::Change { before: Some(Level::Red) }));
}

#[test]
fn a_guide_that_begins_with_what_offices_do_begins_for_people_with_what_they_can_do() {
    let guide = "1.政府及相关部门按照职责做好防暴雨应急和抢险工作\u{ff1b}2.停止集会、停课、停业\u{ff1b}3.远离山沟、河道和陡坡。";
    let blue = Alert { level: Level::Blue, instruction: guide.into(), ..rainstorm() };
    let household = said(&blue, &reader(), &Occasion::Warning, &short()).text;
    assert!(household.contains("停止集会") && !household.contains("政府"), "{household}");
    let officer = said(&blue, &Reader { role: "town_duty", ..reader() }, &Occasion::Warning, &short()).text;
    assert!(officer.contains("政府及相关部门"), "{officer}");
}

/// A warning of nothing but its event and level.
fn gale() -> Alert {
    Alert {
        event: "11B06".parse().expect("event"),
        event_name: String::new(),
        level: Level::Yellow,
        headline: "北川县气象台发布大风黄色预警".into(),
        description: String::new(),
        instruction: String::new(),
        ..rainstorm()
    }
}

fn short_of(alert: &Alert, reader: &Reader<'_>, own: Option<&str>) -> String {
    render(alert, reader, &Occasion::Warning, &short(), own).text
}

#[test]
fn a_short_message_has_no_stop_twice_and_no_address_that_touches_words() {
    let asked = Reader { answer: ask(), ..reader() };
    let own = short_of(&gale(), &asked, Some("【北川预警】北川县发布大风黄色预警，请远离临时建筑。"));
    assert_eq!(own, format!("【北川预警】北川县发布大风黄色预警，请远离临时建筑。收到回1，已转移回2，求助回3 {URL}"));
    assert_eq!(
        short_of(&gale(), &asked, None),
        format!("【北川预警】大风黄色预警：坪上村，至23日16时15分。收到回1，已转移回2，求助回3 {URL}")
    );
    assert_eq!(short_of(&gale(), &reader(), None), "【北川预警】大风黄色预警：坪上村，至23日16时15分");
    let linked = short_of(&gale(), &reader(), Some("请登录http://10.1.2.3:8080处理！"));
    assert_eq!(linked, "【北川预警】请登录 http://10.1.2.3:8080 处理！");
    let drill = Alert { status: Status::Exercise, ..gale() };
    assert!(short_of(&drill, &asked, None).ends_with(&format!("{URL} 【北川预警】")));
    let loud = Alert { instruction: "立即撤离！".into(), ..gale() };
    assert!(
        short_of(&loud, &Reader { answer: Some(Ask { url: None, ..ask().expect("asked") }), ..reader() }, None)
            .contains("立即撤离！收到回1")
    );
}

#[test]
fn what_to_do_stands_in_seventy_letters_wherever_the_warning_says_it() {
    let long = "北川县气象台2026年7月23日10时15分发布大风黄色预警信号：预计未来6小时内擂鼓镇、陈家坝镇、桂溪镇、都贯乡的山口和河谷地带将出现10级以上阵风。请立即停止高空作业，远离临时建筑。";
    let text = short_of(&Alert { description: long.into(), ..gale() }, &reader(), None);
    assert_eq!(text, "【北川预警】大风黄色预警：坪上村，至23日16时15分。请立即停止高空作业，远离临时建筑");
    // A first sentence too long for the room gives its whole clauses, or a second part where it has none that fit.
    let clauses = "请广播站、学校、工地和旅游景区的管理单位立即停止一切户外活动，组织人员有序撤离到避险场所，并清点人数上报乡镇值班室。";
    let text = short_of(&Alert { instruction: clauses.into(), ..gale() }, &reader(), None);
    assert!(text.ends_with("立即停止一切户外活动") && units(&text) <= 70, "{text}");
    let endless = "请居住在山沟口河道两岸陡坡下地质灾害隐患点和低洼易涝区域的全体居民在今天二十时以前转移到乡镇安置点。";
    let text = short_of(&Alert { instruction: endless.into(), ..gale() }, &reader(), None);
    assert!(text.ends_with("转移到乡镇安置点") && units(&text) <= 134, "{text}");
}

#[test]
fn households_are_told_how_to_call_for_help_where_a_reply_arrives() {
    let form = Form::Short { one_part: 70, part: 67, parts_max: 4, signature: "【北川预警】".into(), replies: true };
    let text = said(&gale(), &reader(), &Occasion::Warning, &form).text;
    assert_eq!(text, "【北川预警】大风黄色预警：坪上村，至23日16时15分。求助回3");
    let over = said(&gale(), &reader(), &Occasion::AllClear { ended: Vec::new() }, &form).text;
    assert!(!over.contains("求助"), "{over}");
    assert!(units(&said(&Alert { level: Level::Yellow, ..rainstorm() }, &reader(), &Occasion::Warning, &form).text) <= 70);
}

#[test]
fn an_event_is_said_in_the_language_of_the_reader_and_never_lost() {
    let english = Alert { event_name: "gale".into(), language: "en-US".into(), ..gale() };
    assert!(short_of(&english, &reader(), None).contains("大风黄色预警"));
    let unknown = Alert { event: "10000".parse().expect("event"), headline: "北川县气象台发布大雾黄色预警".into(), ..gale() };
    assert!(short_of(&unknown, &reader(), None).starts_with("【北川预警】大雾黄色预警：坪上村"));
}

/// Signs of markup in every field that comes from outside, and letters nobody sees.
#[test]
fn nothing_from_outside_becomes_markup_or_a_signature_of_another() {
    const MARKUP: [char; 9] = ['`', '<', '>', '[', ']', '#', '_', '|', '\\'];
    let evil = "<@all>[x](http://e.example)#*`\u{202e}\u{200b}\u{2066}【工商银行】__";
    let mut hostile = Alert {
        headline: evil.into(),
        description: evil.into(),
        instruction: evil.into(),
        event: "10000".parse().expect("event"),
        event_name: format!("大风{evil}"),
        sender_name: evil.into(),
        web: "https://e.example/a_b~c".into(),
        ..rainstorm()
    };
    hostile.areas[0].name = evil.into();
    let reader = Reader {
        name: evil,
        area_name: evil,
        shelter: Some(Shelter { hazard_point: evil, alarm_signal: evil, route: evil, place: evil }),
        answer: ask(),
        ..reader()
    };
    let occasions = || [Occasion::Warning, Occasion::OnBehalf { silent_person: evil.into(), their_area: evil.into() }];
    for occasion in occasions() {
        let post = said(&hostile, &reader, &occasion, &Form::Post { bytes_max: 4_096, markdown: true }).text;
        assert!(!post.contains(MARKUP), "{post}");
        assert_eq!(post.replace("**", "").matches('*').count(), 0, "{post}");
        for form in [short(), Form::Letter, Form::Speech { units_max: 600 }, Form::Post { bytes_max: 4_096, markdown: false }] {
            let told = said(&hostile, &reader, &occasion, &form);
            let text = format!("{}{}", told.subject, told.text);
            assert!(!text.contains(['\u{202e}', '\u{200b}', '\u{2066}']), "{text}");
            assert!(!text.replace("【北川预警】", "").contains(['【', '】']), "{text}");
        }
    }
}

proptest! {
    #[test]
    fn every_text_keeps_its_limit_its_drill_mark_and_its_link(
        instruction in "\\PC{0,400}", area in "\\PC{0,20}", headline in "\\PC{0,300}", drill in any::<bool>(), asked in any::<bool>(), level in 0_usize..4,
        place in "\\PC{0,30}", route in "\\PC{0,60}",
    ) {
        let status = if drill { Status::Exercise } else { Status::Actual };
        let alert = Alert { instruction, headline, status, level: Level::ALL[level], ..rainstorm() };
        let shelter = Some(Shelter { hazard_point: "点", alarm_signal: "锣", route: &route, place: &place });
        let reader = Reader { area_name: &area, answer: if asked { ask() } else { None }, shelter, ..reader() };
        let text = said(&alert, &reader, &Occasion::Warning, &short()).text;
        prop_assert!(units(&text) <= 67 * 4, "{} units", units(&text));
        prop_assert!(text.contains("暴雨"), "{}", text);
        prop_assert!(!drill || text.contains("演练"));
        prop_assert!(!asked || text.contains(URL));
        let speech = said(&alert, &reader, &Occasion::Warning, &Form::Speech { units_max: 300 }).text;
        prop_assert!(units(&speech) <= 300);
        let post = said(&alert, &reader, &Occasion::Warning, &Form::Post { bytes_max: 2_048, markdown: false }).text;
        prop_assert!(post.len() <= 2_048);
        prop_assert!(!drill || (speech.contains("演练") && post.contains("演练")));
    }
}
