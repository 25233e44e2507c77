//! Owns the words that made-up people, slopes and routes are put together from.
//! Invariant: nothing here names a real person; numbers and addresses are ones that reach nobody.

use rand::{Rng, RngExt, seq::IndexedRandom};

use super::{address::MailAddress, phone::PhoneNumber};

const SURNAMES: [&str; 40] = [
    "王", "李", "张", "刘", "陈", "杨", "赵", "黄", "周", "吴", "徐", "孙", "胡", "朱", "高", "林", "何", "郭", "马", "罗", "梁", "宋",
    "郑", "谢", "韩", "唐", "冯", "于", "董", "萧", "程", "曹", "袁", "邓", "许", "傅", "沈", "曾", "彭", "吕",
];
const GIVEN: [&str; 48] = [
    "伟", "芳", "娜", "敏", "静", "丽", "强", "磊", "军", "洋", "勇", "艳", "杰", "娟", "涛", "明", "超", "秀", "霞", "平", "刚", "桂",
    "英", "华", "玉", "兰", "春", "梅", "建", "国", "文", "红", "志", "林", "云", "海", "山", "川", "安", "宁", "福", "生", "成", "德",
    "永", "光", "清", "泽",
];
const NEEDS: [&str; 6] = ["独居老人", "行动不便", "视力障碍", "听力障碍", "孕妇", "留守儿童"];
pub(super) const INSTITUTIONS: [&str; 5] = ["小学", "卫生室", "敬老院", "砂石厂", "农家乐"];
/// Type of hazard: its number in the register's list, and its name.
pub(super) const HAZARDS: [(&str, &str); 4] = [("01", "滑坡"), ("02", "崩塌"), ("03", "泥石流"), ("00", "不稳定斜坡")];
pub(super) const SCALES: [&str; 4] = ["小型", "小型", "中型", "大型"];
pub(super) const SIGNS: [&str; 4] =
    ["坡体裂缝加宽、房屋墙体开裂", "坡面落石增多、树木歪斜", "沟水突然断流或变浑、沟内有轰鸣声", "坡脚渗水变浑、地面鼓胀"];
pub(super) const ALARMS: [&str; 3] = ["连续敲锣", "手摇报警器长鸣", "广播和口哨"];
pub(super) const SHELTERS: [&str; 4] = ["村委会广场", "村小学操场", "文化院坝", "安置点板房"];

pub(super) fn person(rng: &mut impl Rng) -> Box<str> {
    let mut name = String::with_capacity(9);
    name.push_str(pick(&SURNAMES, rng));
    name.push_str(pick(&GIVEN, rng));
    if rng.random_bool(0.7) {
        name.push_str(pick(&GIVEN, rng));
    }
    name.into()
}

pub(super) fn need(rng: &mut impl Rng) -> Box<str> {
    pick(&NEEDS, rng).into()
}

pub(super) fn pick<T: Copy>(choices: &[T], rng: &mut impl Rng) -> T {
    *choices.choose(rng).expect("tables of words are not empty")
}

/// The 154 segment has the form of a mobile number, and no operator is known to have been given it.
pub(super) fn phone(serial: u32) -> PhoneNumber {
    format!("154{serial:08}").parse().expect("eleven digits behind 154 are a mobile number")
}

/// `.example` is reserved by RFC 2606 and reaches nobody.
pub(super) fn mail(id: &str) -> MailAddress {
    format!("{id}@mail.example").parse().expect("ids of made-up people are words")
}
