//! Owns a subscriber (a household, an institution, a person with a duty): as it is written, and as it is read from a snapshot.
//! Invariant: an opt-out belongs to the person, not to the file: no import sets or clears it.

use std::borrow::Cow;

use super::{
    address::{AddressKind, MailAddress},
    columns::Kind,
    hazard_point::HazardPoint,
    key::{HazardKey, SubscriberKey},
    phone::PhoneNumber,
    place::Place,
    record::{Cells, LONG_LETTERS_MAX, Record, SHORT_LETTERS_MAX, cell, place_cells},
    role,
    snapshot::Snapshot,
    table::Facts,
};
use crate::area::{AreaCode, AreaLevel};

/// What a subscriber reads when nobody has said.
pub const DEFAULT_LANGUAGE: &str = "zh-CN";

/// A subscriber as files and JSON write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriberRecord {
    pub id: Box<str>,
    pub area: AreaCode,
    pub name: Box<str>,
    pub role: Cow<'static, str>,
    pub phone: Option<PhoneNumber>,
    pub place: Option<Place>,
    /// People who are told through this subscriber; one if the file does not say.
    pub people: u32,
    pub language: Cow<'static, str>,
    /// Apart, because a million households are in memory while they are imported.
    pub(super) rare: Option<Box<Rare>>,
}

/// What most households have nothing of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rare {
    pub mail: Option<MailAddress>,
    pub wecom: Box<str>,
    pub openid: Box<str>,
    pub needs: Box<str>,
    /// Code of the hazard point that threatens the household.
    pub hazard_point: Option<Box<str>>,
    /// Id of the subscriber who is asked next.
    pub backup: Option<Box<str>>,
}

const ROLE: usize = 3;
const LANGUAGE: usize = 14;
pub(crate) const BACKUP: &str = "backup";
pub(crate) const HAZARD_POINT: &str = "hazard_point";

impl Record for SubscriberRecord {
    const KIND: Kind = Kind::Subscribers;

    fn is_institution(&self) -> bool {
        role::is_institution(&self.role)
    }

    fn read(cells: &mut Cells<'_>) -> Option<Self> {
        let id = cells.id(0);
        let area = cells.area(1);
        let name = cells.text(2, SHORT_LETTERS_MAX);
        let role = read_role(cells, area);
        let phone = cells.optional(4, "bad-phone");
        let mail = cells.optional(5, "bad-mail-address");
        let wecom = cells.text(6, SHORT_LETTERS_MAX);
        let openid = cells.text(7, SHORT_LETTERS_MAX);
        let place = cells.place(8, 9);
        let people = cells.people(10, 1);
        let needs = cells.text(11, LONG_LETTERS_MAX);
        let hazard_point = cells.reference(12);
        let backup = cells.reference(13);
        let language = read_language(cells);
        if backup.as_ref() == Some(&id) {
            cells.fault(13, "own-backup", "nobody is their own backup");
        }
        let rare = Rare { mail, wecom, openid, needs, hazard_point, backup };
        cells.finish(Self { id, area: area?, name, role, phone, place, people, language, rare: None }.with(rare))
    }

    fn cells(&self) -> Vec<Cow<'_, str>> {
        let [lon, lat] = place_cells(self.place);
        vec![
            Cow::Borrowed(&self.id),
            self.area.to_string().into(),
            Cow::Borrowed(&self.name),
            Cow::Borrowed(&self.role),
            cell(self.phone.as_ref().map(PhoneNumber::expose)),
            Cow::Borrowed(self.mail()),
            Cow::Borrowed(self.wecom()),
            Cow::Borrowed(self.openid()),
            lon,
            lat,
            self.people.to_string().into(),
            Cow::Borrowed(self.needs()),
            cell(self.hazard_point()),
            cell(self.backup()),
            Cow::Borrowed(&self.language),
        ]
    }

    fn id(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.id)
    }
}

fn read_role(cells: &mut Cells<'_>, area: Option<AreaCode>) -> Cow<'static, str> {
    let raw = cells.raw(ROLE);
    match role::from_cell(raw, area.map_or(AreaLevel::Village, AreaCode::level)) {
        Some(word) => {
            let known = role::KNOWN.iter().find(|(name, _)| *name == word);
            known.map_or_else(|| Cow::Owned(word.to_owned()), |(name, _)| Cow::Borrowed(*name))
        }
        None if raw.is_empty() => {
            cells.fault(ROLE, "missing", "role is needed");
            Cow::Borrowed("")
        }
        None => {
            cells.fault(
                ROLE,
                "bad-role",
                format!("{raw:?} is no known role; known are {}; another may be a word of a-z and _", role::known_words()),
            );
            Cow::Borrowed("")
        }
    }
}

fn read_language(cells: &mut Cells<'_>) -> Cow<'static, str> {
    let raw = cells.raw(LANGUAGE);
    // The shape of BCP 47 tags as far as anybody needs it: `zh-CN`, `ii`, `en-GB`, `zh-Hans-CN`.
    let part_fits = |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
    let first_fits =
        raw.split('-').next().is_some_and(|first| matches!(first.len(), 2 | 3) && first.bytes().all(|b| b.is_ascii_alphabetic()));
    match raw {
        "" | DEFAULT_LANGUAGE => Cow::Borrowed(DEFAULT_LANGUAGE),
        _ if raw.len() <= 35 && first_fits && raw.split('-').all(part_fits) => Cow::Owned(raw.to_owned()),
        _ => {
            cells.fault(LANGUAGE, "bad-language", format!("expected a language tag such as zh-CN, not {raw:?}"));
            Cow::Borrowed(DEFAULT_LANGUAGE)
        }
    }
}

/// Numbers of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SubscriberFacts {
    pub(crate) role: u16,
    pub(crate) language: u8,
    pub(crate) opted_out: bool,
    pub(crate) people: u32,
    /// `u32::MAX` for none, here and below.
    pub(crate) hazard_point: u32,
    pub(crate) backup: u32,
}

impl Facts for SubscriberFacts {
    const WIDTH: usize = 16;
    const TEXTS: usize = 7;

    fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.role.to_le_bytes());
        out.push(self.language);
        out.push(u8::from(self.opted_out));
        for word in [self.people, self.hazard_point, self.backup] {
            out.extend(word.to_le_bytes());
        }
    }

    fn take(bytes: &[u8]) -> Self {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Self {
            role: u16::from_le_bytes([bytes[0], bytes[1]]),
            language: bytes[2],
            opted_out: bytes[3] != 0,
            people: word(4),
            hazard_point: word(8),
            backup: word(12),
        }
    }
}

const ID: usize = 0;
const PHONE: usize = 1;
const NAME: usize = 2;
const MAIL: usize = 3;
const WECOM: usize = 4;
const OPENID: usize = 5;
const NEEDS: usize = 6;

/// The texts that say by what a subscriber can be reached.
pub(crate) const ADDRESS_TEXTS: [usize; 4] = [PHONE, MAIL, WECOM, OPENID];

impl SubscriberRecord {
    /// Somebody of whom no more is known.
    pub fn new(id: &str, area: AreaCode, role: Cow<'static, str>) -> Self {
        let (name, language) = (Box::default(), Cow::Borrowed(DEFAULT_LANGUAGE));
        Self { id: id.into(), area, name, role, phone: None, place: None, people: 1, language, rare: None }
    }

    #[must_use]
    pub fn with(self, rare: Rare) -> Self {
        Self { rare: (rare != Rare::default()).then(|| Box::new(rare)), ..self }
    }

    fn rare_text(&self, text: impl Fn(&Rare) -> &str) -> &str {
        self.rare.as_deref().map_or("", text)
    }

    /// Empty for none, here and below.
    pub fn mail(&self) -> &str {
        self.rare_text(|rare| rare.mail.as_ref().map_or("", MailAddress::as_str))
    }

    pub fn wecom(&self) -> &str {
        self.rare_text(|rare| &rare.wecom)
    }

    pub fn openid(&self) -> &str {
        self.rare_text(|rare| &rare.openid)
    }

    pub fn needs(&self) -> &str {
        self.rare_text(|rare| &rare.needs)
    }

    pub fn hazard_point(&self) -> Option<&str> {
        self.rare.as_ref().and_then(|rare| rare.hazard_point.as_deref())
    }

    pub fn backup(&self) -> Option<&str> {
        self.rare.as_ref().and_then(|rare| rare.backup.as_deref())
    }

    pub(crate) fn texts(&self) -> [&str; SubscriberFacts::TEXTS] {
        let phone = self.phone.as_ref().map_or("", PhoneNumber::expose);
        [&self.id, phone, &self.name, self.mail(), self.wecom(), self.openid(), self.needs()]
    }
}

/// A subscriber of a snapshot.
#[derive(Clone, Copy)]
pub struct Subscriber<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) position: u32,
}

impl<'a> Subscriber<'a> {
    fn text(&self, field: usize) -> &'a str {
        self.snapshot.subscriber_table().field(self.position, field)
    }

    fn facts(&self) -> SubscriberFacts {
        self.snapshot.subscriber_table().row(self.position).facts
    }

    pub fn position(&self) -> u32 {
        self.position
    }

    pub fn key(&self) -> SubscriberKey {
        SubscriberKey(self.snapshot.subscriber_table().row(self.position).key)
    }

    pub fn id(&self) -> &'a str {
        self.text(ID)
    }

    pub fn area(&self) -> AreaCode {
        self.snapshot.areas().node(self.snapshot.subscriber_table().row(self.position).node).code
    }

    pub fn name(&self) -> &'a str {
        self.text(NAME)
    }

    pub fn role(&self) -> &'a str {
        self.snapshot.role_word(self.facts().role)
    }

    /// Whether the role is told only where it stands; see [`role::is_public`].
    pub fn is_public(&self) -> bool {
        role::is_public(self.role())
    }

    /// Whole, for handing to a far end; never for a log.
    pub fn address(&self, kind: AddressKind) -> Option<&'a str> {
        let field = match kind {
            AddressKind::Phone => PHONE,
            AddressKind::Mail => MAIL,
            AddressKind::Wecom => WECOM,
            AddressKind::Openid => OPENID,
        };
        Some(self.text(field)).filter(|address| !address.is_empty())
    }

    /// Whether anything could reach this subscriber at all.
    pub fn has_address(&self) -> bool {
        AddressKind::ALL.into_iter().any(|kind| self.address(kind).is_some())
    }

    pub fn phone(&self) -> Option<PhoneNumber> {
        self.address(AddressKind::Phone).and_then(PhoneNumber::normal)
    }

    /// Its own coordinates.
    pub fn point(&self) -> Option<Place> {
        self.snapshot.subscriber_table().place(self.position)
    }

    pub fn people(&self) -> u32 {
        self.facts().people
    }

    pub fn needs(&self) -> &'a str {
        self.text(NEEDS)
    }

    pub fn hazard_point(&self) -> Option<HazardPoint<'a>> {
        self.snapshot.hazard_point(HazardKey(self.facts().hazard_point))
    }

    pub fn backup(&self) -> Option<SubscriberKey> {
        Some(self.facts().backup).filter(|&key| key != u32::MAX).map(SubscriberKey)
    }

    pub fn language(&self) -> &'a str {
        self.snapshot.language_tag(self.facts().language)
    }

    pub fn opted_out(&self) -> bool {
        self.facts().opted_out
    }

    pub fn record(&self) -> SubscriberRecord {
        let own = |text: &str| Cow::Owned(text.to_owned());
        let rare = Rare {
            mail: self.address(AddressKind::Mail).and_then(|text| text.parse().ok()),
            wecom: self.text(WECOM).into(),
            openid: self.text(OPENID).into(),
            needs: self.needs().into(),
            hazard_point: self.hazard_point().map(|point| point.code().into()),
            backup: self.backup().and_then(|key| self.snapshot.subscriber(key)).map(|backup| backup.id().into()),
        };
        let record = SubscriberRecord {
            name: self.name().into(),
            phone: self.phone(),
            place: self.point(),
            people: self.people(),
            language: own(self.language()),
            ..SubscriberRecord::new(self.id(), self.area(), own(self.role()))
        };
        record.with(rare)
    }
}
