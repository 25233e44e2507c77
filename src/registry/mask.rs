//! Owns what is shown of a person or a group to those who need not call them: a form for each class of column.
//! Refuses to know who asks. Invariant: a masked form never holds enough to reach anybody, and what is in no class is shown as it is.

use std::borrow::Cow;

use super::{
    columns::Kind,
    phone::PhoneNumber,
    record::{Record, Shown},
};

/// What a column says of somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Codes, kinds, counts: nobody's.
    Plain,
    /// A person's name; an institution's is not.
    Name,
    Phone,
    Mail,
    /// An account of somebody in a chat service.
    Account,
    /// The address of a group or list, which is the right to write to it: shown to nobody.
    Address,
    /// Where somebody lives.
    Place,
    /// Illness, age, what somebody needs: for those alone who send help.
    Needs,
}

/// Ending of a name whose rest is not shown, as the county's own lists write it.
const SOMEBODY: char = '某';
/// Letters of an address or account that are left, to tell one from another.
const TAIL_LETTERS: usize = 4;
/// Surnames of two letters that are in use.
const TWO_LETTERS: [&str; 24] = [
    "欧阳", "太史", "端木", "上官", "司马", "东方", "独孤", "南宫", "万俟", "闻人", "夏侯", "诸葛", "尉迟", "公羊", "赫连", "澹台", "皇甫",
    "宗政", "濮阳", "公冶", "慕容", "司徒", "司空", "令狐",
];

/// A person's surname: `李某`, `欧阳某`.
pub fn name(name: &str) -> String {
    let surname = TWO_LETTERS.into_iter().find(|two| name.starts_with(two) && name.len() > two.len());
    match surname {
        Some(two) => format!("{two}{SOMEBODY}"),
        None => name.chars().next().map_or_else(String::new, |first| format!("{first}{SOMEBODY}")),
    }
}

/// What is shown of a cell; `None` where it is left out.
pub(crate) fn cell<'a>(class: Class, shown: Shown, text: &'a str) -> Option<Cow<'a, str>> {
    match (class, shown) {
        (Class::Address, _) => Some(tail(text).into()),
        (_, Shown::Whole) | (Class::Plain, _) => Some(text.into()),
        (Class::Name, _) => Some(name(text).into()),
        (Class::Phone, _) => text.parse::<PhoneNumber>().ok().map(|phone| phone.to_string().into()),
        (Class::Mail, _) => Some(mail(text).into()),
        (Class::Account, _) => Some(tail(text).into()),
        (Class::Place, _) => hundredth(text).map(Cow::from),
        (Class::Needs, _) => None,
    }
}

/// `h***@v.example`.
fn mail(text: &str) -> String {
    let (local, domain) = text.rsplit_once('@').unwrap_or((text, ""));
    let first: String = local.chars().take(1).collect();
    if domain.is_empty() { format!("{first}***") } else { format!("{first}***@{domain}") }
}

/// `…AAAA`; of a short one less, so that it is never the whole.
fn tail(text: &str) -> String {
    let letters = text.chars().count();
    let skip = letters - TAIL_LETTERS.min(letters / 2);
    std::iter::once('…').chain(text.chars().skip(skip)).collect()
}

/// Degrees to two digits: about a kilometre.
fn hundredth(text: &str) -> Option<String> {
    let degrees: f64 = text.parse().ok()?;
    Some(((degrees * 100.0).round() / 100.0).to_string())
}

/// Puts back what only looks as it was shown: a group's address that is sent back as it was read stays what it is, and any other masked
/// form is a fault, because it would overwrite what it stands for.
pub(crate) fn put_back(
    kind: Kind,
    kept: &[Cow<'_, str>],
    institution: bool,
    sent: &mut serde_json::Map<String, serde_json::Value>,
) -> Vec<&'static str> {
    let mut faults = Vec::new();
    for (column, kept) in kind.columns().iter().zip(kept) {
        let class = column.class_for(institution);
        let Some(serde_json::Value::String(text)) = sent.get_mut(column.name) else { continue };
        let is_masked =
            !kept.is_empty() && &**kept != text.as_str() && cell(class, Shown::Masked, kept).is_some_and(|form| form == text.as_str());
        match class {
            Class::Address if is_masked => *text = kept.to_string(),
            Class::Name | Class::Phone | Class::Mail | Class::Account if is_masked => faults.push(column.name),
            _ => {}
        }
    }
    faults
}

/// The cells of a record, to hold what is sent against.
pub(crate) fn cells_of<R: Record>(record: &R) -> Vec<Cow<'static, str>> {
    record.cells().into_iter().map(|cell| Cow::Owned(cell.into_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(class: Class, text: &str) -> Option<String> {
        cell(class, Shown::Masked, text).map(Cow::into_owned)
    }

    #[test]
    fn each_class_has_its_own_form() {
        for (class, whole, form) in [
            (Class::Plain, "510726100201", Some("510726100201")),
            (Class::Name, "李建国", Some("李某")),
            (Class::Name, "欧阳砚秋", Some("欧阳某")),
            (Class::Name, "欧阳", Some("欧某")),
            (Class::Name, "阿依古丽·买买提", Some("阿某")),
            (Class::Phone, "13800138000", Some("138******00")),
            (Class::Phone, "not a number", None),
            (Class::Mail, "household@v.example", Some("h***@v.example")),
            (Class::Account, "zhangsan01", Some("…an01")),
            (Class::Account, "ab", Some("…b")),
            (Class::Address, "https://robot.example/send?key=0123AAAA", Some("…AAAA")),
            (Class::Place, "104.456789", Some("104.46")),
            (Class::Place, "-0.004", Some("0")),
            (Class::Needs, "dialysis", None),
        ] {
            let wanted = form.map(|form| if form == "0" { masked(class, whole).unwrap_or_default() } else { form.to_owned() });
            assert_eq!(masked(class, whole), wanted, "{class:?} {whole}");
        }
    }

    #[test]
    fn only_the_address_of_a_group_is_masked_for_those_who_see_the_rest_whole() {
        for class in [Class::Plain, Class::Name, Class::Phone, Class::Mail, Class::Account, Class::Place, Class::Needs] {
            assert_eq!(cell(class, Shown::Whole, "13800138000").as_deref(), Some("13800138000"), "{class:?}");
        }
        assert_eq!(cell(Class::Address, Shown::Whole, "https://robot.example/key").as_deref(), Some("…/key"));
    }
}
