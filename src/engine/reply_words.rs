//! Owns what a person's free text means: an answer, a cry for help, the wish to be told no more, or something that a person must read.
//! Refuses to know who wrote it and to what. Pure.
//! Invariant: a text is an answer only if nothing in it says anything else; a text that asks for help is never anything less.

use crate::delivery::event::Choice;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    Answer(Choice),
    OptOut,
    /// To be read by somebody.
    Unclear,
}

/// A short message in ten parts; what is longer is read as far as this.
const LETTERS_MAX: usize = 700;

/// Asking for somebody to come.
const CALLS: &[&str] = &[
    "救命",
    "求助",
    "求救",
    "呼救",
    "救我",
    "救救",
    "救人",
    "来救",
    "快救",
    "求援",
    "快来人",
    "来人啊",
    "来人呀",
    "派人来",
    "请派人",
    "需要帮助",
    "需要帮忙",
    "需要救援",
    "需要支援",
    "需要援助",
    "需要救助",
    "需要人手",
    "要帮助",
    "要救援",
    "要支援",
    "请求帮助",
    "请求救援",
    "请求支援",
    "请求援助",
    "申请救援",
    "申请支援",
    "等待救援",
    "等救援",
    "求帮助",
    "请帮助",
    "请帮忙",
    "来帮忙",
    "来帮我",
    "帮帮",
    "帮助我",
];
/// What nobody gets out of alone.
const PLIGHTS: &[&str] = &[
    "被困",
    "受困",
    "困住",
    "困在",
    "受伤",
    "伤员",
    "伤者",
    "重伤",
    "被埋",
    "埋住",
    "掩埋",
    "被压",
    "压住",
    "失联",
    "失踪",
    "联系不上",
    "溺水",
    "落水",
    "冲走",
    "被淹",
    "淹了",
    "淹到",
    "进水",
    "进屋",
    "倒塌",
    "塌了",
    "垮了",
    "着火",
    "起火",
    "触电",
    "昏迷",
    "流血",
    "出不来",
    "出不去",
    "走不了",
    "走不动",
    "走不掉",
    "走不脱",
    "跑不了",
    "跑不动",
    "跑不掉",
    "动不了",
    "下不来",
    "下不去",
    "上不去",
    "回不来",
    "回不去",
    "过不去",
    "撤不出",
    "撤不了",
    "转移不了",
    "转移不出",
    "转不出",
    "没法走",
    "没法转移",
    "无法走",
    "无法转移",
    "无法撤离",
    "没法撤离",
    "不能走",
];
/// In another language, or in letters, as words of their own.
const CALLS_IN_LETTERS: &[&str] = &["help", "sos", "mayday", "qiuzhu", "jiuming"];
/// Before a call: it is not one.
const NOT_NEEDED: &[&str] =
    &["不", "不用", "不必", "无需", "无须", "不要", "不需", "没有", "没人", "无人", "没", "暂不", "no", "not", "without", "dont"];
/// Before a plight: nobody is in it.
const NONE_IN_IT: &[&str] = &["没有", "没", "无", "未", "并未", "未见", "不会", "不再"];
/// Who might be, between the two.
const SOMEBODY: &[&str] = &["人员", "群众", "村民", "老人", "小孩", "房屋", "家里", "任何", "发现", "出现", "有", "人", "被", "需要"];

const RECEIVED: &[&str] = &[
    "收到",
    "收悉",
    "知道",
    "知悉",
    "知晓",
    "明白",
    "了解",
    "收到信息",
    "收到短信",
    "收到预警",
    "收到通知",
    "收到消息",
    "信息收到",
    "短信收到",
    "预警收到",
    "通知收到",
    "好",
    "好的",
    "行",
    "ok",
    "okay",
    "received",
    "roger",
    "shoudao",
];
const MOVED: &[&str] = &["转移", "安全转移", "撤离", "安全撤离", "撤出", "搬离", "转移到安全地点", "转移到安全地方", "moved", "evacuated"];
/// Said around an answer, and changing nothing of it.
const BEFORE: &[&str] = &[
    "我们",
    "我家",
    "我村",
    "我组",
    "我",
    "本人",
    "本村",
    "本组",
    "俺",
    "咱们",
    "咱",
    "全村",
    "全组",
    "全家",
    "一家人",
    "一家",
    "家人",
    "大家",
    "村民",
    "群众",
    "人员",
    "老人",
    "各组",
    "各户",
    "所有人",
    "全部",
    "全员",
    "全都",
    "都",
    "均",
    "也",
    "刚",
    "刚才",
    "您好",
    "你好",
    "领导",
    "好的",
    "嗯",
    "是的",
    "回复",
];
const DONE_BEFORE: &[&str] = &["已经", "已全部", "已", "全部", "全都", "都", "均"];
const AFTER: &[&str] = &["了", "啦", "哈", "呢", "喽", "咯", "啊", "呀", "哦", "噢", "的", "谢谢", "感谢", "辛苦", "您", "你们", "领导"];
const DONE_AFTER: &[&str] = &["了", "啦", "完毕", "完成", "完", "到位", "结束", "成功"];
/// Alone, said to be polite.
const POLITE: &[&str] = &["谢谢", "感谢", "辛苦", "您好", "你好", "领导", "thanks", "thankyou", "thank", "you"];
const OPT_OUTS: &[&str] = &["td", "t", "退订", "回t", "回td", "退订短信", "unsubscribe"];
/// Put before a text by telephones that answer a message as if it were a letter.
const PREFIXES: &[&str] = &["re:", "回复:", "答复:", "回覆:", "fw:", "fwd:", "转发:"];

/// `own` are words that the writer signs with: a name, a village.
pub(crate) fn meaning_of(text: &str, own: &[&str]) -> Meaning {
    let plain = plain(text);
    let clauses: Vec<&str> = plain.split(is_break).filter(|clause| !clause.is_empty()).collect();
    if asks_for_help(&clauses) {
        return Meaning::Answer(Choice::Help);
    }
    if OPT_OUTS.contains(&clauses.concat().trim_end_matches("谢谢").trim_end_matches('了')) {
        return Meaning::OptOut;
    }
    if is_question(&plain) {
        return Meaning::Unclear;
    }
    answer(&clauses, own).map_or(Meaning::Unclear, Meaning::Answer)
}

/// Small letters of half width, without what is not seen, and without what a telephone put before it or quoted behind it.
fn plain(text: &str) -> String {
    let letters = text.chars().take(LETTERS_MAX).filter_map(|letter| match letter {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(letter) - 0xfee0),
        '\u{3000}' | '\u{a0}' => Some(' '),
        '①' | '⑴' | '❶' => Some('1'),
        '②' | '⑵' | '❷' => Some('2'),
        '③' | '⑶' | '❸' => Some('3'),
        '轉' => Some('转'),
        '離' => Some('离'),
        '幫' => Some('帮'),
        '來' => Some('来'),
        '無' => Some('无'),
        '沒' => Some('没'),
        '傷' => Some('伤'),
        '們' => Some('们'),
        '謝' => Some('谢'),
        // Joiners, marks of direction and of how an emoji is drawn.
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fe0f}' | '\u{20e3}' => None,
        letter => Some(letter),
    });
    let mut plain: String = letters.flat_map(char::to_lowercase).collect();
    for quoted in ["//【", "\n>", "\n---", "\n原文"] {
        plain.truncate(plain.find(quoted).unwrap_or(plain.len()));
    }
    let mut rest = plain.trim_start();
    while let Some(after) = PREFIXES.iter().find_map(|prefix| rest.strip_prefix(prefix)) {
        rest = after.trim_start();
    }
    rest.to_owned()
}

/// Blanks, punctuation, brackets, pictures.
fn is_break(letter: char) -> bool {
    !letter.is_alphanumeric()
}

fn is_question(plain: &str) -> bool {
    let end = plain.trim_end_matches(is_break);
    plain.contains('?') || ["吗", "么", "没", "没有", "不", "呢", "谁"].iter().any(|word| end.ends_with(word))
}

fn asks_for_help(clauses: &[&str]) -> bool {
    if clauses.iter().enumerate().any(|(place, clause)| is_help_in_letters(place, clauses) || is_help(clause)) {
        return true;
    }
    // A hand that shakes leaves blanks.
    let joined = clauses.concat();
    clauses.len() > 1 && clauses.iter().all(|clause| clause.chars().count() == 1) && is_help(&joined)
        || clauses.first() == Some(&"3") && clauses.get(1).is_some_and(|next| !is_counted(next))
}

/// "3 点能到", "3 个人": a number of something.
fn is_counted(next: &str) -> bool {
    const OF: &[&str] = &[
        "人", "个", "名", "位", "户", "家", "组", "队", "号", "点", "楼", "层", "村", "社", "分", "小时", "时", "天", "米", "车", "岁",
        "辆", "头", "收到", "已", "月", "日", "栋", "座", "处", "公里", "里", "条", "次", "米",
    ];
    next.starts_with(|letter: char| letter.is_ascii_digit()) || OF.iter().any(|word| next.starts_with(word))
}

fn is_help_in_letters(place: usize, clauses: &[&str]) -> bool {
    let before = place.checked_sub(1).and_then(|place| clauses.get(place));
    let before_that = place.checked_sub(2).and_then(|place| clauses.get(place));
    let is_denied = [before, before_that].into_iter().flatten().any(|word| matches!(*word, "no" | "not" | "without" | "dont" | "t"));
    CALLS_IN_LETTERS.contains(&clauses[place]) && !is_denied
}

fn is_help(clause: &str) -> bool {
    let calls = CALLS.iter().flat_map(|word| clause.match_indices(word)).any(|(at, _)| {
        let before = clause[..at].trim_end_matches("需要").trim_end_matches('需');
        let is_thanks = ["谢谢", "感谢", "多谢"].iter().any(|word| before.contains(word));
        let is_denied = NOT_NEEDED.iter().any(|word| before.ends_with(word));
        !is_thanks && !is_denied
    });
    calls
        || PLIGHTS
            .iter()
            .flat_map(|word| clause.match_indices(word))
            .any(|(at, _)| !NONE_IN_IT.iter().any(|word| without(&clause[..at]).ends_with(word)))
}

/// What stands before those of whom something is said.
fn without(before: &str) -> &str {
    let mut rest = before;
    while let Some(shorter) = SOMEBODY.iter().find_map(|word| rest.strip_suffix(word)).filter(|shorter| !shorter.is_empty()) {
        // "没有" ends in one of these words itself.
        if NONE_IN_IT.iter().any(|word| rest.ends_with(word)) {
            break;
        }
        rest = shorter;
    }
    rest
}

/// The answer that every clause gives, or takes nothing from.
fn answer(clauses: &[&str], own: &[&str]) -> Option<Choice> {
    let (mut said, mut digits): (Vec<Choice>, usize) = (Vec::new(), 0);
    for clause in clauses {
        let clause = own.iter().filter(|word| !word.is_empty()).fold((*clause).to_owned(), |clause, word| clause.replace(word, ""));
        if clause.is_empty() || POLITE.contains(&clause.as_str()) {
            continue;
        }
        let digit = clause.chars().next().and_then(of_digit);
        let rest = if digit.is_some() { &clause[1..] } else { &clause };
        let word = if rest.is_empty() { digit } else { of_word(rest) };
        // "1收到": both say the same, or neither counts.
        if word.is_none() || digit.is_some_and(|digit| Some(digit) != word) {
            return None;
        }
        digits += usize::from(digit.is_some());
        said.extend(word);
    }
    let further = said.iter().copied().max_by_key(|choice| *choice as u8)?;
    // Two numbers are a slip, or no answer; who names the third may need it.
    (digits < 2 || further == Choice::Help || said.iter().all(|choice| *choice == further)).then_some(further)
}

const fn of_digit(letter: char) -> Option<Choice> {
    match letter {
        '1' => Some(Choice::Received),
        '2' => Some(Choice::Moved),
        '3' => Some(Choice::Help),
        _ => None,
    }
}

fn of_word(word: &str) -> Option<Choice> {
    if is_one_of(word, RECEIVED, false) {
        return Some(Choice::Received);
    }
    // "转移" alone may be a question, a plan or an order.
    is_one_of(word, MOVED, true).then_some(Choice::Moved)
}

/// Whether the word is one of these, once what changes nothing is taken off; `done` asks for a word that says that it is over.
fn is_one_of(word: &str, words: &[&str], done: bool) -> bool {
    let mut rest = word;
    let mut is_done = !done || word.is_ascii();
    loop {
        let whole = rest;
        // Twice the same, as people write it.
        let half = rest.len() / 2;
        if is_done
            && (words.contains(&rest) || rest.is_char_boundary(half) && rest[..half] == rest[half..] && words.contains(&&rest[..half]))
        {
            return true;
        }
        if let Some(after) = DONE_BEFORE.iter().find_map(|word| rest.strip_prefix(word)) {
            (rest, is_done) = (after, true);
        } else if let Some(before) = DONE_AFTER.iter().find_map(|word| rest.strip_suffix(word)) {
            (rest, is_done) = (before, true);
        } else if let Some(after) = BEFORE.iter().find_map(|word| rest.strip_prefix(word)) {
            rest = after;
        } else if let Some(before) = AFTER.iter().find_map(|word| rest.strip_suffix(word)) {
            rest = before;
        }
        if rest == whole || rest.is_empty() {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all_mean(meaning: Meaning, texts: &[&str]) {
        for text in texts {
            assert_eq!(meaning_of(text, &["王军", "龙桥村"]), meaning, "{text:?}");
        }
    }

    #[test]
    fn a_word_counts_when_it_is_the_answer() {
        all_mean(
            Meaning::Answer(Choice::Received),
            &[
                "1",
                " 1 ",
                "１",
                "1。",
                "【1】",
                "1!",
                "①",
                "1️⃣",
                "Re: 1",
                "回复：1",
                "RE: re: 收到",
                "收到",
                "收到。",
                "【收到】",
                "已收到",
                "收到了",
                "收到！！",
                "收到,谢谢",
                "收到 谢谢！",
                "好的，收到",
                "收到收到",
                "1 收到",
                "1收到",
                "1、收到",
                "我已收到",
                "全部收到",
                "大家都收到了",
                "知道了",
                "明白",
                "OK",
                "Ok.",
                "好的",
                "收到，王军",
                "龙桥村王军收到",
                "收到👌",
                "信息收到",
                "RECEIVED",
                "收\u{200b}到",
                "收到//【北川预警】3求助",
            ],
        );
        all_mean(
            Meaning::Answer(Choice::Moved),
            &[
                "2",
                "２",
                "2.",
                "已转移",
                "已經轉移".replace('經', "经").as_str(),
                "全部转移完毕",
                "我们已经全部转移了",
                "转移完成",
                "2 已转移",
                "2已转移",
                "收到，已转移",
                "已安全转移。谢谢",
                "村民都撤离了",
                "moved",
            ],
        );
    }

    #[test]
    fn whoever_asks_for_help_gets_it() {
        all_mean(
            Meaning::Answer(Choice::Help),
            &[
                "3",
                "３",
                "3。",
                "【3】",
                "3求助",
                "3 求助",
                "求助",
                "求助！",
                "救命",
                "救命，河水进屋了，老人走不动",
                "救 命",
                "救我们",
                "2个老人没转移，需要帮助",
                "2楼进水了，出不来",
                "1人被困，快来救",
                "收到，但是路断了，求助",
                "收到。我家进水了",
                "3 我在山上，三个人，走不了",
                "3，我家在河边",
                "需要幫助",
                "help",
                "HELP!",
                "please help us",
                "SOS",
                "退订，救命",
                "路断了出不去",
                "请求支援",
                "有人被埋",
                "老人受伤了",
                "没人来救我们",
                "快来人",
                "联系不上王军",
                "已转移3人，还有2人被困",
                "1 2 3",
            ],
        );
    }

    #[test]
    fn whatever_else_is_said_is_read_by_a_person() {
        all_mean(
            Meaning::Unclear,
            &[
                "",
                "你是谁",
                "20分钟后到",
                "110",
                "12",
                "1 2",
                "3点能到",
                "3 点能到",
                "3个人",
                "3 个人已转移",
                "3组全部收到",
                "3组 收到",
                "13800000011 是我",
                "1人已到",
                "没收到",
                "未收到",
                "收到吗",
                "收到?",
                "收到没",
                "收到，但是路断了",
                "转移",
                "准备转移",
                "正在转移",
                "没转移",
                "未转移",
                "2人没转移",
                "1 2人",
                "收到请回复",
                "不转移",
                "什么意思",
                "雨好大",
                "不是",
            ],
        );
    }

    #[test]
    fn whoever_says_that_nobody_needs_help_has_not_asked_for_it() {
        all_mean(
            Meaning::Unclear,
            &[
                "不需要帮助",
                "不用救援，不需要帮忙",
                "没有人被困",
                "无人受伤",
                "没有人员被困",
                "没有需要帮助的",
                "谢谢你们来帮忙",
                "无人员伤亡，没有被困群众",
                "no help",
                "don't need help",
                "房屋未进水",
                "没有房屋倒塌",
            ],
        );
        all_mean(Meaning::Answer(Choice::Help), &["没有吃的，被困了", "没有电，老人走不动", "不行了，救命"]);
    }

    #[test]
    fn only_a_whole_text_opts_out() {
        all_mean(Meaning::OptOut, &["TD", "td", "T", "退订", "退订。", "【退订】", "ＴＤ", "退订，谢谢", "退订了"]);
        all_mean(Meaning::Unclear, &["退订是什么", "我不退订", "TD是啥"]);
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in any::<String>()) {
            let _meaning: Meaning = meaning_of(&text, &["王军"]);
        }

        #[test]
        fn a_cry_for_help_is_heard_through_whatever_stands_around_it(before in "[^不没无未谢]{0,12}", after in any::<String>()) {
            prop_assume!(!["//【", "\n>", "\n---", "\n原文"].iter().any(|mark| before.contains(mark)));
            let text = format!("{before}，救命，{after}");
            prop_assert_eq!(meaning_of(&text, &[]), Meaning::Answer(Choice::Help));
        }
    }
}
