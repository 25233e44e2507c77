//! Owns records as the API shows and takes them: one by its id, pages of them, and a change written as JSON.
//! Refuses to know HTTP and who asks; whether telephone numbers are shown whole is said by the caller.
//! Invariant: a page goes on where the last one ended, also when the registry has changed in between.

use std::ops::Range;

use serde::Serialize;
use serde_json::Value;

use super::{
    area_record::AreaRecord,
    columns::Kind,
    edit::Change,
    endpoint::EndpointRecord,
    hazard_point::HazardPointRecord,
    mask,
    phone::PhoneNumber,
    record::{OPTED_OUT, Record, Shown},
    role,
    snapshot::Snapshot,
    speaker::SpeakerRecord,
    subscriber::{Subscriber, SubscriberRecord},
};
use crate::{area::AreaCode, fault::Fault};

/// Items on a page at most, as the contract says.
pub const PAGE_ITEMS_MAX: usize = 1_000;
/// Rows looked at for one page: a search for a rare word answers part by part instead of holding up others.
const PAGE_ROWS_MAX: u32 = 100_000;

/// Which records of a kind are asked for.
#[derive(Clone, Debug)]
pub struct ListQuery<'a> {
    /// At or below this area.
    pub area: Option<AreaCode>,
    /// Part of an id or a name, or a whole telephone number. Where people are masked, part of an id or of the masked name.
    pub q: Option<&'a str>,
    pub cursor: Option<&'a str>,
    pub limit: usize,
    pub shown: Shown,
}

#[derive(Debug, Serialize)]
pub struct Page {
    pub items: Vec<Value>,
    /// Cursor of the next page; there may be one although this page is not full.
    pub next: Option<String>,
}

/// One page of a kind, by area and key.
pub fn list(snapshot: &Snapshot, kind: Kind, query: &ListQuery<'_>) -> Result<Page, Fault> {
    let shelf = Shelf { snapshot, kind };
    let all = shelf.positions(query.area);
    let start = match query.cursor {
        Some(cursor) => {
            let after = read_cursor(cursor).ok_or_else(|| Fault::new("cursor", "bad-cursor", "not a cursor of this list"))?;
            first_behind(&all, |position| shelf.order(position) > after)
        }
        None => all.start,
    };
    // Whoever may not see numbers must not find out whose one is, nor spell a name letter by letter.
    let phone = query.q.filter(|_| query.shown == Shown::Whole).and_then(|q| q.parse::<PhoneNumber>().ok());
    let limit = query.limit.clamp(1, PAGE_ITEMS_MAX);
    let mut items = Vec::new();
    let mut position = start;
    while position < all.end && items.len() < limit && position - start < PAGE_ROWS_MAX {
        if query.q.is_none_or(|q| shelf.fits(position, q, phone.as_ref(), query.shown)) {
            items.push(shelf.json(position, query.shown));
        }
        position += 1;
    }
    let next = (position < all.end).then(|| write_cursor(shelf.order(position - 1)));
    Ok(Page { items, next })
}

/// One record by its id; of an area, its code.
pub fn view(snapshot: &Snapshot, kind: Kind, id: &str, shown: Shown) -> Option<Value> {
    let shelf = Shelf { snapshot, kind };
    let position = match kind {
        Kind::Areas => id.parse().ok().and_then(|code| snapshot.areas().index_of(code)),
        Kind::HazardPoints => snapshot.hazard_point_by_code(id).map(|point| point.position()),
        Kind::Subscribers => snapshot.subscriber_by_id(id).map(|subscriber| subscriber.position()),
        Kind::Speakers => snapshot.speaker_by_id(id).map(|speaker| speaker.position()),
        Kind::Endpoints => snapshot.endpoint_by_id(id).map(|endpoint| endpoint.position()),
    };
    position.map(|position| shelf.json(position, shown))
}

/// The change that a `PUT` of `body` to `id` asks for; the body may leave the id out, but not name another.
pub fn change_from_json(kind: Kind, id: &str, body: &Value) -> Result<Change, Vec<Fault>> {
    let id_field = kind.columns()[0].name;
    let mut body = body.clone();
    if let Value::Object(object) = &mut body {
        let named = object.entry(id_field).or_insert_with(|| id.into());
        let same_area = || Some(named.as_str()?.parse::<AreaCode>().ok()? == id.parse::<AreaCode>().ok()?);
        let same = named == id || (kind == Kind::Areas && same_area() == Some(true));
        if !same {
            return Err(vec![Fault::new(id_field, "other-id", format!("the address says {id:?}"))]);
        }
    }
    Ok(match kind {
        Kind::Areas => Change::PutArea(AreaRecord::from_json(&body)?),
        Kind::HazardPoints => Change::PutHazardPoint(HazardPointRecord::from_json(&body)?),
        Kind::Subscribers => Change::PutSubscriber(SubscriberRecord::from_json(&body)?),
        Kind::Speakers => Change::PutSpeaker(SpeakerRecord::from_json(&body)?),
        Kind::Endpoints => Change::PutEndpoint(EndpointRecord::from_json(&body)?),
    })
}

/// Brings what was read masked and is sent back to what it stands for, where that is plain; any other masked value is a fault.
pub fn unmasked(snapshot: &Snapshot, kind: Kind, id: &str, body: &mut Value) -> Result<(), Vec<Fault>> {
    let Value::Object(sent) = body else { return Ok(()) };
    let (kept, institution) = match kind {
        Kind::Subscribers => match snapshot.subscriber_by_id(id) {
            Some(person) => (mask::cells_of(&person.record()), role::is_institution(person.role())),
            None => return Ok(()),
        },
        Kind::Endpoints => match snapshot.endpoint_by_id(id) {
            Some(endpoint) => (mask::cells_of(&endpoint.record()), false),
            None => return Ok(()),
        },
        Kind::Areas | Kind::HazardPoints | Kind::Speakers => return Ok(()),
    };
    let faults = mask::put_back(kind, &kept, institution, sent);
    let fault = |column: &&'static str| {
        Fault::new(*column, "masked-value", "is the masked form of what is kept; leave the record as it is, or send the whole value")
    };
    if faults.is_empty() { Ok(()) } else { Err(faults.iter().map(fault).collect()) }
}

/// A subscriber with what its file has no column for.
pub fn subscriber_json(subscriber: &Subscriber<'_>, shown: Shown) -> Value {
    let mut value = subscriber.record().to_json(shown);
    value[OPTED_OUT] = subscriber.opted_out().into();
    value
}

/// The records of one kind in one order: by area, then key.
struct Shelf<'a> {
    snapshot: &'a Snapshot,
    kind: Kind,
}

impl Shelf<'_> {
    fn positions(&self, area: Option<AreaCode>) -> Range<u32> {
        let Some(area) = area else { return 0..self.count() };
        match self.kind {
            Kind::Areas => self.snapshot.areas().run(area),
            Kind::HazardPoints => self.snapshot.hazard_points_in(area),
            Kind::Subscribers => self.snapshot.subscribers_in(area),
            Kind::Speakers => self.snapshot.speakers_in(area),
            Kind::Endpoints => self.snapshot.endpoints_in(area),
        }
    }

    fn count(&self) -> u32 {
        match self.kind {
            Kind::Areas => u32::try_from(self.snapshot.areas().len()).expect("at most AREAS_MAX areas"),
            Kind::HazardPoints => self.snapshot.hazard_point_count(),
            Kind::Subscribers => self.snapshot.subscriber_count(),
            Kind::Speakers => self.snapshot.speaker_count(),
            Kind::Endpoints => self.snapshot.endpoint_count(),
        }
    }

    fn order(&self, position: u32) -> (u64, u32) {
        let (area, key) = match self.kind {
            Kind::Areas => (self.snapshot.areas().node(position).code, 0),
            Kind::HazardPoints => (self.snapshot.hazard_point_at(position).area(), self.snapshot.hazard_point_at(position).key().0),
            Kind::Subscribers => (self.snapshot.subscriber_at(position).area(), self.snapshot.subscriber_at(position).key().0),
            Kind::Speakers => (self.snapshot.speaker_at(position).area(), self.snapshot.speaker_at(position).key().0),
            Kind::Endpoints => (self.snapshot.endpoint_at(position).area(), self.snapshot.endpoint_at(position).key().0),
        };
        (area.padded(), key)
    }

    fn fits(&self, position: u32, q: &str, phone: Option<&PhoneNumber>, shown: Shown) -> bool {
        let has = |id: &str, name: &str| id.contains(q) || name.contains(q);
        match self.kind {
            Kind::Areas => has(&self.snapshot.areas().node(position).code.to_string(), &self.snapshot.areas().node(position).name),
            Kind::HazardPoints => has(self.snapshot.hazard_point_at(position).code(), self.snapshot.hazard_point_at(position).name()),
            Kind::Subscribers => {
                let subscriber = self.snapshot.subscriber_at(position);
                if shown == Shown::Masked && !role::is_institution(subscriber.role()) {
                    return has(subscriber.id(), &mask::name(subscriber.name()));
                }
                has(subscriber.id(), subscriber.name()) || phone.is_some_and(|phone| subscriber.phone().as_ref() == Some(phone))
            }
            Kind::Speakers => has(self.snapshot.speaker_at(position).id(), self.snapshot.speaker_at(position).name()),
            Kind::Endpoints => has(self.snapshot.endpoint_at(position).id(), self.snapshot.endpoint_at(position).name()),
        }
    }

    fn json(&self, position: u32, shown: Shown) -> Value {
        match self.kind {
            Kind::Areas => AreaRecord::of(self.snapshot.areas().node(position)).to_json(shown),
            Kind::HazardPoints => self.snapshot.hazard_point_at(position).record().to_json(shown),
            Kind::Subscribers => subscriber_json(&self.snapshot.subscriber_at(position), shown),
            Kind::Speakers => self.snapshot.speaker_at(position).record().to_json(shown),
            Kind::Endpoints => self.snapshot.endpoint_at(position).record().to_json(shown),
        }
    }
}

fn first_behind(all: &Range<u32>, is_behind: impl Fn(u32) -> bool) -> u32 {
    let (mut low, mut high) = (all.start, all.end);
    while low < high {
        let middle = low + (high - low) / 2;
        if is_behind(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

fn write_cursor((area, key): (u64, u32)) -> String {
    format!("{area}-{key}")
}

fn read_cursor(cursor: &str) -> Option<(u64, u32)> {
    let (area, key) = cursor.split_once('-')?;
    Some((area.parse().ok()?, key.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::fixture;

    fn query<'a>() -> ListQuery<'a> {
        ListQuery { area: None, q: None, cursor: None, limit: 100, shown: Shown::Masked }
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_double() {
        let county = fixture::beichuan_snapshot(300, 1);
        for kind in Kind::ALL {
            let (mut seen, mut cursor) = (Vec::new(), None::<String>);
            loop {
                let page = list(&county, kind, &ListQuery { cursor: cursor.as_deref(), limit: 37, ..query() }).expect("a page");
                seen.extend(page.items.iter().map(|item| item[kind.columns()[0].name].as_str().expect("an id").to_owned()));
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            let before = seen.len();
            assert_eq!(before, Shelf { snapshot: &county, kind }.count() as usize);
            seen.sort();
            seen.dedup();
            assert_eq!(seen.len(), before);
        }
    }

    #[test]
    fn a_list_is_narrowed_by_area_and_by_part_of_a_name_or_a_whole_number() {
        let county = fixture::beichuan_snapshot(300, 1);
        let area = "510726100201".parse().ok();
        let page = list(&county, Kind::Subscribers, &ListQuery { area, ..query() }).expect("a page");
        assert!(!page.items.is_empty() && page.items.iter().all(|item| item["area"] == "510726100201"));
        let found =
            |q: &str| list(&county, Kind::Subscribers, &ListQuery { q: Some(q), shown: Shown::Whole, ..query() }).expect("a page").items;
        assert_eq!(found("h0000042").len(), 1);
        let owner = county.subscriber_by_id("510726100201-leader").expect("generated");
        let whole = owner.phone().expect("reachable");
        assert_eq!(found(whole.expose())[0]["id"], "510726100201-leader");
        assert_eq!(found(&whole.expose()[3..]).len(), 0, "part of a number finds nobody");
        let masked = |q: &str| list(&county, Kind::Subscribers, &ListQuery { q: Some(q), ..query() }).expect("a page").items;
        assert_eq!(masked("510726100201-leader").len(), 1);
        for whole in [whole.expose(), owner.name()] {
            assert_eq!(masked(whole).len(), 0, "whoever sees people masked finds nobody by {whole}");
        }
        assert_eq!(
            list(&county, Kind::Subscribers, &ListQuery { cursor: Some("x"), ..query() }).expect_err("no cursor").rule,
            "bad-cursor"
        );
    }

    #[test]
    fn what_is_shown_whole_can_be_put_back_and_what_is_masked_cannot() {
        let county = fixture::beichuan_snapshot(20, 1);
        let id = "510726100201-leader";
        let whole = view(&county, Kind::Subscribers, id, Shown::Whole).expect("kept");
        assert_eq!(whole["opted_out"], false);
        assert!(matches!(change_from_json(Kind::Subscribers, id, &whole), Ok(Change::PutSubscriber(record)) if &*record.id == id));
        let masked = view(&county, Kind::Subscribers, id, Shown::Masked).expect("kept");
        assert_eq!(change_from_json(Kind::Subscribers, id, &masked).expect_err("masked")[0].rule, "bad-phone");
        assert_eq!(change_from_json(Kind::Subscribers, "other", &whole).expect_err("another id")[0].rule, "other-id");
        assert!(view(&county, Kind::Areas, "510726", Shown::Masked).is_some_and(|area| area["level"] == "county"));
    }
}
