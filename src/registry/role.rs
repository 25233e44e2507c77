//! Owns the words for what a subscriber is: the nine known roles and the rule for those that a county adds.
//! Refuses to know who is told what: that is the policy.
//! Invariant: a role that is not known is a duty, so nobody with a duty is lost because of a new word.

/// A household: told when it lies in the area; may opt out.
pub const HOUSEHOLD: &str = "household";
/// A school, a works, a site: told when it lies in the area, and must act; may not opt out.
pub const INSTITUTION: &str = "institution";

/// The known roles with the Chinese words that imports take for them, the first of which is shown to people.
pub const KNOWN: [(&str, &[&str]); 9] = [
    ("county_leader", &["县领导"]),
    ("county_duty", &["县值班员", "县级值班员"]),
    ("town_leader", &["乡镇领导", "乡领导", "镇领导"]),
    ("town_duty", &["乡镇值班员", "乡值班员", "镇值班员"]),
    ("village_leader", &["村负责人", "村主任", "村支书", "村干部"]),
    ("grid_worker", &["网格员"]),
    ("monitor", &["监测员", "群测群防员", "监测人"]),
    (INSTITUTION, &["单位", "重点单位"]),
    (HOUSEHOLD, &["农户", "住户", "户"]),
];

/// Letters in a role word; it is a label in counters and file columns.
const ROLE_LETTERS_MAX: usize = 32;

/// Whether the word may be a role: `[a-z_]{1,32}`.
pub fn is_role_word(word: &str) -> bool {
    (1..=ROLE_LETTERS_MAX).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

/// The role that a cell of an import means: the word itself, or one of the Chinese words.
pub fn from_cell(cell: &str) -> Option<&str> {
    let by_name = KNOWN.iter().find(|(_, names)| names.contains(&cell)).map(|(word, _)| *word);
    by_name.or_else(|| is_role_word(cell).then_some(cell))
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
        assert_eq!(from_cell("网格员"), Some("grid_worker"));
        assert_eq!(chinese("monitor"), "监测员");
        for word in ["", "Household", "a b", "角色", "x-y"] {
            assert_eq!(from_cell(word), None, "{word:?} was taken for a role");
        }
    }
}
