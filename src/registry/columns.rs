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

const fn needed(name: &'static str, headings: &'static [&'static str]) -> Column {
    Column { name, headings, form: Form::Text, required: true, class: Class::Plain }
}

const fn text(name: &'static str, headings: &'static [&'static str]) -> Column {
    Column { name, headings, form: Form::Text, required: false, class: Class::Plain }
}

const fn number(name: &'static str, headings: &'static [&'static str]) -> Column {
    Column { name, headings, form: Form::Number, required: false, class: Class::Plain }
}

const AREA: Column = needed("area", &["行政区划代码"]);
const LON: Column = number("lon", &["经度"]);
const LAT: Column = number("lat", &["纬度"]);

static AREAS: [Column; 6] =
    [needed("code", &["代码"]), needed("name", &["名称"]), text("level", &["级别"]), text("parent", &["上级"]), LON, LAT];

static HAZARD_POINTS: [Column; 13] = [
    needed("code", &["统一编号"]),
    needed("name", &["名称"]),
    text("kind", &["类型"]),
    text("scale", &["规模"]),
    AREA,
    LON,
    LAT,
    number("people", &["威胁人数"]),
    text("monitor", &["监测人"]),
    text("sign", &["监测迹象"]),
    text("alarm", &["预警信号"]),
    text("route", &["撤离路线"]),
    text("shelter", &["避险地点"]),
];

static SUBSCRIBERS: [Column; 15] = [
    needed("id", &["编号"]),
    AREA,
    text("name", &["姓名"]).of(Class::Name),
    needed("role", &["角色"]),
    text("phone", &["手机"]).of(Class::Phone),
    text("email", &["邮箱"]).of(Class::Mail),
    text("wecom", &["企业微信"]).of(Class::Account),
    text("openid", &["公众号"]).of(Class::Account),
    LON.of(Class::Place),
    LAT.of(Class::Place),
    number("people", &["人口"]),
    text("needs", &["特殊需求"]).of(Class::Needs),
    text("hazard_point", &["隐患点"]),
    text("backup", &["替补"]),
    text("language", &["语言"]),
];

static SPEAKERS: [Column; 7] =
    [needed("id", &["编号"]), AREA, text("name", &["名称"]), text("kind", &["类型"]), LON, LAT, number("radius_m", &["覆盖半径"])];

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
        let heading = heading.trim();
        self.columns().iter().position(|column| column.name.eq_ignore_ascii_case(heading) || column.headings.contains(&heading))
    }

    fn fits(self, headings: &[&str]) -> bool {
        let known = headings.iter().all(|heading| self.column(heading).is_some());
        let has = |column: &Column| headings.iter().any(|h| self.column(h).is_some_and(|at| self.columns()[at].name == column.name));
        known && self.columns().iter().filter(|column| column.required).all(has)
    }

    /// The kind of a file: told by its headings; by its name where they fit several kinds, or none and the faults are to be named.
    pub fn of_file(file_name: &str, headings: &[&str]) -> Option<Self> {
        let stem = file_name.rsplit(['/', '\\']).next().unwrap_or(file_name).to_ascii_lowercase().replace('-', "_");
        let by_name = Self::ALL.into_iter().find(|kind| stem.starts_with(kind.name()));
        let mut fitting = Self::ALL.into_iter().filter(|kind| kind.fits(headings));
        match (fitting.next(), fitting.next()) {
            (Some(only), None) => Some(only),
            _ => by_name,
        }
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
