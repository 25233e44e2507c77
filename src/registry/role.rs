//! Owns the words for what a subscriber is: the nine known roles and the rule for those that a county adds.
//! Refuses to know who is told what: that is the policy.
//! Invariant: a role that is not known is a duty, so nobody with a duty is lost because of a new word.

use crate::area::AreaLevel;

/// A household: told when it lies in the area; may opt out.
pub const HOUSEHOLD: &str = "household";
/// A school, a works, a site: told when it lies in the area, and must act; may not opt out.
pub const INSTITUTION: &str = "institution";

/// The known roles with the Chinese words that imports take for them, the first of which is shown to people.
pub const KNOWN: [(&str, &[&str]); 9] = [
    (
        "county_leader",
        &[
            "县领导",
            "县长",
            "副县长",
            "常务副县长",
            "县委书记",
            "县委副书记",
            "县委常委",
            "区长",
            "副区长",
            "区委书记",
            "区领导",
            "县指挥长",
            "分管县领导",
        ],
    ),
    (
        "county_duty",
        &[
            "县值班员",
            "县级值班员",
            "县值班室",
            "县应急值班室",
            "县政府值班室",
            "县委值班室",
            "应急局值班室",
            "县应急局",
            "应急管理局",
            "区值班室",
            "县级值班室",
        ],
    ),
    (
        "town_leader",
        &[
            "乡镇领导",
            "乡领导",
            "镇领导",
            "镇长",
            "副镇长",
            "乡长",
            "副乡长",
            "镇党委书记",
            "乡党委书记",
            "党委书记",
            "党委副书记",
            "街道领导",
            "街道主任",
            "办事处主任",
            "人大主席",
            "包村领导",
            "包片领导",
            "乡镇长",
            "副乡镇长",
            "镇街领导",
        ],
    ),
    (
        "town_duty",
        &[
            "乡镇值班员",
            "乡值班员",
            "镇值班员",
            "乡镇值班室",
            "乡值班室",
            "镇值班室",
            "街道值班室",
            "街道值班员",
            "应急办",
            "乡镇应急办",
            "应急办主任",
        ],
    ),
    (
        "village_leader",
        &[
            "村负责人",
            "村主任",
            "村支书",
            "村干部",
            "支部书记",
            "村支部书记",
            "党支部书记",
            "村党支部书记",
            "支书",
            "村书记",
            "村长",
            "村委会主任",
            "村委主任",
            "村副主任",
            "社区书记",
            "社区主任",
            "社区负责人",
            "社区干部",
            "社区支书",
            "第一书记",
            "驻村第一书记",
            "村两委",
            "村文书",
            "文书",
            "村组长",
            "组长",
            "村小组长",
            "村民小组长",
        ],
    ),
    ("grid_worker", &["网格员", "网格长", "专职网格员", "兼职网格员", "网格管理员", "社区网格员"]),
    ("monitor", &["监测员", "群测群防员", "监测人", "监测责任人", "地灾监测员", "群测群防监测员", "巡查员", "观察员", "巡护员"]),
    (INSTITUTION, &["单位", "重点单位", "学校", "幼儿园", "医院", "卫生院", "企业", "工厂", "工地", "景区", "养老院", "敬老院", "民宿"]),
    (HOUSEHOLD, &["农户", "住户", "户", "户主", "村民", "居民", "群众", "受威胁农户", "受威胁户", "家庭"]),
];

/// Letters in a role word; it is a label in counters and file columns.
const ROLE_LETTERS_MAX: usize = 32;

/// Whether the word may be a role: `[a-z_]{1,32}`.
pub fn is_role_word(word: &str) -> bool {
    (1..=ROLE_LETTERS_MAX).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

/// Words that every level has: whose they are is told by the area that the person answers for.
const OF_ANY_LEVEL: &[(&[&str], [&str; 3])] = &[
    (&["值班室", "值班员", "值班人员", "值班", "带班领导"], ["county_duty", "town_duty", "village_leader"]),
    (&["领导", "负责人", "主要领导", "分管领导", "书记", "主任", "副主任", "责任人"], ["county_leader", "town_leader", "village_leader"]),
];

/// The role that a cell of an import means for somebody of an area of `level`: the word itself, or one of the Chinese words.
pub fn from_cell(cell: &str, level: AreaLevel) -> Option<&str> {
    let bare: String = cell.chars().filter(|letter| !letter.is_whitespace()).collect();
    let by_name = KNOWN.iter().find(|(_, names)| names.contains(&&*bare)).map(|(word, _)| *word);
    let at = match level {
        AreaLevel::Village => 2,
        AreaLevel::Township => 1,
        _ => 0,
    };
    let by_level = || OF_ANY_LEVEL.iter().find(|(names, _)| names.contains(&&*bare)).map(|(_, roles)| roles[at]);
    by_name.or_else(by_level).or_else(|| is_role_word(cell).then_some(cell))
}

/// Every known role with the word for it, for whoever wrote one that is not.
pub fn known_words() -> String {
    /// Words of each that are told: the rest are ways to say the same.
    const EACH: usize = 4;
    let of = |(word, names): &(&str, &[&str])| format!("{word} ({})", names.iter().take(EACH).copied().collect::<Vec<_>>().join(", "));
    KNOWN.iter().map(of).collect::<Vec<_>>().join("; ")
}

/// The word shown to people; roles that a county added are shown as they are.
pub fn chinese(role: &str) -> &str {
    KNOWN.iter().find(|(word, _)| *word == role).map_or(role, |(_, names)| names[0])
}

/// Told because they live or work in the area itself. Everybody else is a responsible person, told also when the area that
/// they answer for contains the alert's. An institution must act, but has nobody below or above it: it is told where it stands.
pub fn is_public(role: &str) -> bool {
    role == HOUSEHOLD || role == INSTITUTION
}

/// Whether the name is that of a house: anybody may read it.
pub fn is_institution(role: &str) -> bool {
    role == INSTITUTION
}

/// Only households may opt out.
pub fn may_opt_out(role: &str) -> bool {
    role == HOUSEHOLD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_that_a_county_adds_is_a_duty_that_cannot_be_opted_out_of() {
        assert!(is_role_word("river_chief") && !is_public("river_chief") && !may_opt_out("river_chief"));
        assert!(is_public("household") && is_public("institution") && may_opt_out("household") && !may_opt_out("institution"));
    }

    #[test]
    fn chinese_role_names_are_understood_and_nonsense_is_not() {
        for (word, level, role) in [
            ("网格员", AreaLevel::Village, "grid_worker"),
            ("副县长", AreaLevel::County, "county_leader"),
            ("支部书记", AreaLevel::Village, "village_leader"),
            ("值班室", AreaLevel::County, "county_duty"),
            ("值班室", AreaLevel::Township, "town_duty"),
            ("书记", AreaLevel::Village, "village_leader"),
            ("村 主 任", AreaLevel::Village, "village_leader"),
            ("农户", AreaLevel::Village, "household"),
            ("river_chief", AreaLevel::Village, "river_chief"),
        ] {
            assert_eq!(from_cell(word, level), Some(role), "{word}");
        }
        assert_eq!(chinese("monitor"), "监测员");
        for word in ["", "Household", "a b", "角色", "x-y"] {
            assert_eq!(from_cell(word, AreaLevel::Village), None, "{word:?} was taken for a role");
        }
    }
}
