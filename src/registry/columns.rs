//! Owns the columns of the registry's files: their names, their Chinese headings, and how a file's kind is told by them.
//! Refuses to know what a cell means: each record reads its own; but what it says of somebody is said here, for `mask`.

use super::mask::Class;

/// The kinds of record, in the order in which an import takes them in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Areas,
    HazardPoints,
    Subscribers,
    Speakers,
    Endpoints,
}

/// How a column stands in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Text,
    Number,
}

#[derive(Debug)]
pub struct Column {
    /// The export's heading, and the field's name in JSON.
    pub name: &'static str,
    /// Further headings that imports take.
    pub headings: &'static [&'static str],
    pub form: Form,
    /// A file without this column cannot be of the kind.
    pub required: bool,
    /// What of it is shown to whom.
    pub class: Class,
}

impl Column {
    fn is_called(&self, bare_heading: &str) -> bool {
        self.name == bare_heading || self.headings.iter().any(|heading| heading.eq_ignore_ascii_case(bare_heading))
    }

    /// As people and files call it: `phone (手机)`.
    pub(super) fn called(&self) -> String {
        match self.headings.first() {
            Some(heading) => format!("{} ({heading})", self.name),
            None => self.name.to_owned(),
        }
    }

    /// How near a heading is to the proper name: 0 for that itself.
    pub(super) fn rank(&self, heading: &str) -> usize {
        let heading = bare(heading);
        if self.name == heading {
            0
        } else {
            self.headings.iter().position(|known| known.eq_ignore_ascii_case(&heading)).map_or(usize::MAX, |at| at.min(RANKED))
        }
    }

    const fn of(mut self, class: Class) -> Self {
        self.class = class;
        self
    }

    /// The name of an institution is nobody's own.
    pub(crate) fn class_for(&self, institution: bool) -> Class {
        match self.class {
            Class::Name if institution => Class::Plain,
            class => class,
        }
    }
}

/// Headings of a column from which on none is properer than another.
const RANKED: usize = 10;

const fn needed(name: &'static str, headings: &'static [&'static str]) -> Column {
    Column { name, headings, form: Form::Text, required: true, class: Class::Plain }
}

const fn text(name: &'static str, headings: &'static [&'static str]) -> Column {
    Column { name, headings, form: Form::Text, required: false, class: Class::Plain }
}

const fn number(name: &'static str, headings: &'static [&'static str]) -> Column {
    Column { name, headings, form: Form::Number, required: false, class: Class::Plain }
}

/// The first Chinese heading is the one that is shown; a code stands before a name, which is looked up.
const AREA: Column = needed(
    "area",
    &[
        "行政区划代码",
        "区划代码",
        "行政区划编码",
        "区划编码",
        "行政区代码",
        "地区代码",
        "所属区划代码",
        "所属行政区划代码",
        "村代码",
        "村编码",
        "所属村",
        "所在村",
        "村",
        "村名",
        "村名称",
        "行政村",
        "所属行政村",
        "村社区",
        "村/社区",
        "村居",
        "村(社区)",
        "所属社区",
        "所属村社区",
        "所属村/社区",
        "社区",
        "所属区划",
        "行政区划",
        "所属区域",
        "所属地区",
        "责任区域",
        "管辖区域",
        "辖区",
    ],
);
const LON: Column = number("lon", &["经度", "东经", "经度坐标", "lng", "longitude"]);
const LAT: Column = number("lat", &["纬度", "北纬", "纬度坐标", "latitude"]);

static AREAS: [Column; 6] = [
    needed("code", &["代码", "区划代码", "行政区划代码", "统计用区划代码", "区划编码", "行政区划编码", "编码"]),
    needed("name", &["名称", "区划名称", "行政区划名称", "地名", "行政区名称"]),
    text("level", &["级别", "层级", "行政级别"]),
    text("parent", &["上级", "上级代码", "上级区划代码", "上级行政区划代码", "父级代码"]),
    LON,
    LAT,
];

static HAZARD_POINTS: [Column; 13] = [
    needed("code", &["统一编号", "隐患点编号", "灾害点编号", "隐患点统一编号", "隐患点编码", "野外编号"]),
    needed("name", &["名称", "隐患点名称", "灾害点名称"]),
    text("kind", &["类型", "灾害类型", "隐患类型", "灾种"]),
    text("scale", &["规模", "规模等级", "灾害规模"]),
    AREA,
    LON,
    LAT,
    number("people", &["威胁人数", "受威胁人数", "威胁人口", "受威胁人口"]),
    text("monitor", &["监测人", "监测人编号", "监测责任人编号", "监测员编号"]),
    text("sign", &["监测迹象", "变形迹象", "监测内容"]),
    text("alarm", &["预警信号", "报警信号", "预警方式"]),
    text("route", &["撤离路线", "疏散路线", "转移路线", "避险路线"]),
    text("shelter", &["避险地点", "避险场所", "避灾场所", "安置点", "避险安置点", "临时安置点", "避灾地点"]),
];

static SUBSCRIBERS: [Column; 15] = [
    needed("id", &["编号", "人员编号", "户编号", "家庭编号", "人员编码", "唯一编号", "人员ID", "编码"]),
    AREA,
    text("name", &["姓名", "户主", "户主姓名", "人员姓名", "责任人", "责任人姓名", "联系人", "名字"]).of(Class::Name),
    needed("role", &["角色", "职务", "身份", "人员类型", "人员类别", "岗位", "责任人类型", "人员身份", "角色类型"]),
    text(
        "phone",
        &["手机", "手机号", "手机号码", "联系电话", "电话", "电话号码", "联系方式", "移动电话", "联系手机", "本人电话", "联系号码"],
    )
    .of(Class::Phone),
    text("email", &["邮箱", "电子邮箱", "邮件", "电子邮件", "邮箱地址", "e-mail", "mail"]).of(Class::Mail),
    text("wecom", &["企业微信", "企业微信账号", "企业微信号", "企微", "企微账号"]).of(Class::Account),
    text("openid", &["公众号", "公众号openid", "微信公众号"]).of(Class::Account),
    LON.of(Class::Place),
    LAT.of(Class::Place),
    number("people", &["人口", "家庭人口", "人数", "家庭人数", "人口数", "常住人口", "家庭人口数"]),
    text("needs", &["特殊需求", "特殊情况", "特殊人群", "需要帮助"]).of(Class::Needs),
    text("hazard_point", &["隐患点", "所属隐患点", "隐患点编号", "隐患点编码", "隐患点统一编号"]),
    text("backup", &["替补", "替补人", "替补人编号", "备份责任人", "b岗"]),
    text("language", &["语言", "语种"]),
];

static SPEAKERS: [Column; 7] = [
    needed("id", &["编号", "设备编号", "终端编号", "喇叭编号", "设备编码", "终端编码", "设备ID", "资源编码"]),
    AREA,
    text("name", &["名称", "设备名称", "喇叭名称", "终端名称", "安装位置", "安装地点"]),
    text("kind", &["类型", "设备类型", "终端类型"]),
    LON,
    LAT,
    number("radius_m", &["覆盖半径", "覆盖范围", "覆盖半径米"]),
];

static ENDPOINTS: [Column; 5] =
    [needed("id", &["编号"]), AREA, needed("kind", &["类型"]), text("name", &["名称"]), needed("address", &["地址"]).of(Class::Address)];

impl Kind {
    pub const ALL: [Self; 5] = [Self::Areas, Self::HazardPoints, Self::Subscribers, Self::Speakers, Self::Endpoints];

    /// The word in reports, and the file's name without its ending.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Areas => "areas",
            Self::HazardPoints => "hazard_points",
            Self::Subscribers => "subscribers",
            Self::Speakers => "speakers",
            Self::Endpoints => "endpoints",
        }
    }

    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Areas => "areas.csv",
            Self::HazardPoints => "hazard_points.csv",
            Self::Subscribers => "subscribers.csv",
            Self::Speakers => "speakers.csv",
            Self::Endpoints => "endpoints.csv",
        }
    }

    pub fn columns(self) -> &'static [Column] {
        match self {
            Self::Areas => &AREAS,
            Self::HazardPoints => &HAZARD_POINTS,
            Self::Subscribers => &SUBSCRIBERS,
            Self::Speakers => &SPEAKERS,
            Self::Endpoints => &ENDPOINTS,
        }
    }

    /// Index of the column that a heading means.
    pub fn column(self, heading: &str) -> Option<usize> {
        let heading = bare(heading);
        self.columns().iter().position(|column| column.is_called(&heading))
    }

    fn has(self, column: &Column, headings: &[&str]) -> bool {
        headings.iter().any(|heading| self.column(heading).is_some_and(|at| self.columns()[at].name == column.name))
    }

    /// Whether all that is needed stands there; `strictly`: and nothing else.
    fn fits(self, headings: &[&str], strictly: bool) -> bool {
        let is_ours = |heading: &&str| heading.is_empty() || self.column(heading).is_some();
        // A column that only another kind knows speaks against this one.
        let is_foreign = |heading: &&str| !is_ours(heading) && Self::ALL.iter().any(|kind| kind.column(heading).is_some());
        let fits = if strictly { headings.iter().all(is_ours) } else { !headings.iter().any(is_foreign) };
        fits && self.columns().iter().filter(|column| column.required).all(|column| self.has(column, headings))
    }

    /// Needed columns that no heading means, as people call them.
    pub(super) fn missing(self, headings: &[&str]) -> Vec<String> {
        let missing = self.columns().iter().filter(|column| column.required && !self.has(column, headings));
        missing.map(Column::called).collect()
    }

    pub(super) fn needed(self) -> String {
        self.missing(&[]).join(", ")
    }

    pub(super) fn expected(self) -> String {
        self.columns().iter().map(Column::called).collect::<Vec<_>>().join(", ")
    }

    /// The column that a heading nobody knows may have been meant for: a letter away, or of the same matter.
    pub(super) fn resembling(self, heading: &str) -> Option<&'static Column> {
        /// Words of headings that are worth asking about.
        const MATTERS: &[(&str, &str)] =
            &[("手机", "phone"), ("电话", "phone"), ("经度", "lon"), ("纬度", "lat"), ("区划", "area"), ("职务", "role")];
        let near = |name: &&str| (3..).contains(&name.chars().count()) && is_one_letter_away(name, heading);
        let by_letter = self.columns().iter().find(|column| std::iter::once(&column.name).chain(column.headings).any(&near));
        by_letter.or_else(|| {
            let (_, name) = MATTERS.iter().find(|(word, _)| heading.contains(word))?;
            self.columns().iter().find(|column| column.name == *name)
        })
    }

    /// The kind that the name of a file or sheet tells of.
    pub(super) fn named(file_name: &str) -> Option<Self> {
        const WORDS: &[(&str, Kind)] = &[
            ("隐患点", Kind::HazardPoints),
            ("灾害点", Kind::HazardPoints),
            ("喇叭", Kind::Speakers),
            ("音柱", Kind::Speakers),
            ("广播", Kind::Speakers),
            ("区划", Kind::Areas),
            ("微信群", Kind::Endpoints),
            ("群", Kind::Endpoints),
            ("农户", Kind::Subscribers),
            ("住户", Kind::Subscribers),
            ("责任人", Kind::Subscribers),
            ("人员", Kind::Subscribers),
            ("通讯录", Kind::Subscribers),
        ];
        let stem = file_name.rsplit(['/', '\\']).next().unwrap_or(file_name).to_ascii_lowercase().replace('-', "_");
        let by_word = || WORDS.iter().find(|(word, _)| stem.contains(word)).map(|(_, kind)| *kind);
        Self::ALL.into_iter().find(|kind| stem.starts_with(kind.name())).or_else(by_word)
    }

    /// The kind of a file: told by its headings; by its name where they fit several kinds, or none and the faults are to be named.
    pub fn of_file(file_name: &str, headings: &[&str]) -> Option<Self> {
        let by_name = Self::named(file_name);
        let only = |strictly: bool| {
            let mut fitting = Self::ALL.into_iter().filter(|kind| kind.fits(headings, strictly));
            match (fitting.next(), fitting.next()) {
                (Some(only), None) => Some(only),
                _ => None,
            }
        };
        let known = |kind: &Self| headings.iter().filter(|heading| kind.column(heading).is_some()).count();
        // A title above the headings has none of them, whatever the file is called.
        let by_name = by_name.filter(|kind| known(kind) > 0);
        only(true).or(by_name).or_else(|| only(false))
    }
}

/// A heading as offices write it, without blanks, marks of duty and units: `姓 名`, `手机号码*`, `经度（°）`.
pub(super) fn bare(heading: &str) -> String {
    let mut bare = String::with_capacity(heading.len());
    for letter in heading.chars() {
        match letter {
            '\u{ff08}' => bare.push('('),
            '\u{ff09}' => bare.push(')'),
            '\u{ff01}'..='\u{ff5e}' => bare.extend(char::from_u32(u32::from(letter) - 0xfee0).map(|narrow| narrow.to_ascii_lowercase())),
            letter if letter.is_whitespace() || letter.is_control() || is_unseen(letter) => {}
            letter => bare.push(letter.to_ascii_lowercase()),
        }
    }
    let marks: &[char] = &['*', ':', '?', '_'];
    let mut rest = bare.trim_matches(marks);
    if let Some(open) = rest.rfind('(').filter(|open| *open > 0 && rest.ends_with(')') && !rest[*open..].contains("社区")) {
        rest = rest[..open].trim_end_matches(marks);
    }
    rest.to_owned()
}

/// No pen writes them; programs copy them along with numbers.
pub(super) fn is_unseen(letter: char) -> bool {
    matches!(letter, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// One letter more, less or other.
fn is_one_letter_away(a: &str, b: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let same = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let (a_rest, b_rest) = (&a[same..], &b[same..]);
    match a.len().abs_diff(b.len()) {
        0 => !a_rest.is_empty() && a_rest[1..] == b_rest[1..],
        1 if a.len() > b.len() => a_rest[1..] == *b_rest,
        1 => *a_rest == b_rest[1..],
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_told_by_its_headings_in_either_language() {
        assert_eq!(Kind::of_file("导出.csv", &["编号", "行政区划代码", "名称", "类型", "经度", "纬度", "覆盖半径"]), Some(Kind::Speakers));
        assert_eq!(Kind::of_file("x.csv", &["编号", "行政区划代码", "类型", "名称", "地址"]), Some(Kind::Endpoints));
        assert_eq!(Kind::of_file("x.csv", &["id", "area", "name", "role", "手机"]), Some(Kind::Subscribers));
        assert_eq!(Kind::of_file("x.csv", &["code", "name", "level", "parent", "lon", "lat"]), Some(Kind::Areas));
        assert_eq!(Kind::of_file("x.csv", &["统一编号", "名称", "行政区划代码"]), Some(Kind::HazardPoints));
    }

    #[test]
    fn the_name_decides_only_where_the_headings_do_not() {
        assert_eq!(Kind::of_file("speakers.csv", &["id", "area"]), Some(Kind::Speakers));
        assert_eq!(Kind::of_file("speakers.csv", &["id", "area", "kind", "address"]), Some(Kind::Endpoints));
        assert_eq!(Kind::of_file("subscribers-2026.csv", &["id", "area", "phon"]), Some(Kind::Subscribers));
        assert_eq!(Kind::of_file("list.csv", &["a", "b"]), None);
    }
}
