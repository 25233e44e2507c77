//! Owns the generator of made-up counties: people, duties, hazard points and speakers over a given area tree.
//! Refuses to know real people; see `made_up` for the words and numbers.
//! Invariant: areas, number of households and seed decide everything.

use std::{borrow::Cow, collections::BTreeSet};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    area_record::AreaRecord,
    columns::Kind,
    endpoint::EndpointRecord,
    hazard_point::HazardPointRecord,
    made_up::{self, pick},
    merge::{Import, Placed},
    place::Place,
    role,
    speaker::SpeakerRecord,
    subscriber::{Rare, SubscriberRecord},
};
use crate::area::{AreaCode, AreaLevel, called};

/// Serial numbers of telephone numbers: households from 1, everybody else from here.
const DUTY_PHONES_FROM: u32 = 90_000_000;
/// About a kilometre, in degrees: how far houses stand from the middle of their village.
const VILLAGE_RADIUS_DEG: f64 = 0.009;
/// Shares of households, in the order: no telephone at all, no coordinates, a mail address, somebody with a need.
const UNREACHABLE: f64 = 0.03;
const UNPLACED: f64 = 0.02;
const WITH_MAIL: f64 = 0.08;
const WITH_NEED: f64 = 0.06;
/// Villages with a hazard point.
const WITH_HAZARD: f64 = 0.65;
/// Villages with a school, a works or the like.
const WITH_INSTITUTION: f64 = 0.35;
/// Households below one hazard point, at most and as a share of the village.
const THREATENED_MAX: u32 = 40;
const THREATENED_DIVISOR: u32 = 8;

/// Everything but the areas: people and things for every county, township and village of `areas`.
pub fn generate(areas: &[AreaRecord], households: u32, seed: u64) -> Import {
    let rng = StdRng::seed_from_u64(seed);
    let known = areas.iter().map(|area| area.code).collect();
    let mut county = Maker { rng, import: Import::default(), known, duty_phones: DUTY_PHONES_FROM, households: 0, hazards: 0 };
    // The towns of a city without counties lie in the city itself, which then has the duty of a county.
    let over_towns: BTreeSet<AreaCode> = {
        let towns = areas.iter().filter(|area| area.code.level() == AreaLevel::Township);
        towns.map(|town| town.code.at_level(AreaLevel::County)).collect()
    };
    county.import.kinds = vec![Kind::HazardPoints, Kind::Subscribers, Kind::Speakers, Kind::Endpoints];
    for area in areas {
        match area.code.level() {
            AreaLevel::County => county.add_county(area),
            AreaLevel::Township => county.add_township(area),
            AreaLevel::City if over_towns.contains(&area.code) => county.add_county(area),
            AreaLevel::Province | AreaLevel::City | AreaLevel::Village => {}
        }
    }
    let villages: Vec<&AreaRecord> = areas.iter().filter(|area| area.code.level() == AreaLevel::Village).collect();
    let weights: Vec<f64> = villages.iter().map(|_| county.rng.random_range(0.5..1.5)).collect();
    let total: f64 = weights.iter().sum();
    let mut before = 0.0;
    for (village, weight) in villages.iter().zip(weights) {
        let (from, to) = (share(households, before / total), share(households, (before + weight) / total));
        before += weight;
        // The last village takes what rounding left over.
        let is_last = std::ptr::eq(*village, villages[villages.len() - 1]);
        county.add_village(village, if is_last { households - county.households } else { to - from });
    }
    county.import
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share between 0 and 1 of a u32 is a u32")]
fn share(of: u32, part: f64) -> u32 {
    (f64::from(of) * part) as u32
}

struct Maker {
    rng: StdRng,
    import: Import,
    /// Areas that somebody answers for: nobody is the substitute who is not there.
    known: BTreeSet<AreaCode>,
    duty_phones: u32,
    households: u32,
    hazards: u32,
}

impl Maker {
    fn add_county(&mut self, area: &AreaRecord) {
        let id = |what: &str| format!("{}-{what}", area.code);
        self.add_duty(area, &id("leader"), "county_leader", Some(id("duty1")));
        self.add_duty(area, &id("duty1"), "county_duty", Some(id("duty2")));
        self.add_duty(area, &id("duty2"), "county_duty", None);
        self.add_robot(area, "应急指挥群");
    }

    fn add_township(&mut self, area: &AreaRecord) {
        let id = |what: &str| format!("{}-{what}", area.code);
        let county = Some(area.code.at_level(AreaLevel::County)).filter(|county| self.known.contains(county));
        self.add_duty(area, &id("leader"), "town_leader", Some(id("duty1")));
        self.add_duty(area, &id("duty1"), "town_duty", Some(id("duty2")));
        self.add_duty(area, &id("duty2"), "town_duty", county.map(|county| format!("{county}-duty1")));
        self.add_robot(area, "防灾工作群");
    }

    fn add_village(&mut self, area: &AreaRecord, households: u32) {
        let id = |what: &str| format!("{}-{what}", area.code);
        let town = Some(area.code.at_level(AreaLevel::Township)).filter(|town| self.known.contains(town));
        let town_duty = town.map(|town| format!("{town}-duty1"));
        self.add_duty(area, &id("leader"), "village_leader", Some(id("grid1")));
        self.add_duty(area, &id("grid1"), "grid_worker", Some(id("grid2")));
        self.add_duty(area, &id("grid2"), "grid_worker", town_duty);
        if self.rng.random_bool(WITH_INSTITUTION) {
            self.add_institution(area);
        }
        for serial in 1..=self.rng.random_range(1..=3) {
            self.add_speaker(area, serial);
        }
        let hazard = self.rng.random_bool(WITH_HAZARD).then(|| self.next_hazard(area.code));
        let threatened = (households / THREATENED_DIVISOR).min(THREATENED_MAX);
        let mut threatened_people = 0;
        for nth in 0..households {
            let below = hazard.as_ref().filter(|_| nth < threatened).map(|(code, _)| code.clone());
            let is_below = below.is_some();
            let people = self.add_household(area, below);
            threatened_people += if is_below { people } else { 0 };
        }
        if let Some((code, name)) = hazard {
            self.add_hazard_point(area, code, name, threatened_people);
        }
    }

    /// Code (统一编号: county, type, four digits) and name of another hazard point.
    fn next_hazard(&mut self, area: AreaCode) -> (Box<str>, &'static str) {
        self.hazards += 1;
        let (kind, name) = pick(&made_up::HAZARDS, &mut self.rng);
        (format!("{}{kind}{:04}", area.at_level(AreaLevel::County), self.hazards % 10_000).into(), name)
    }

    fn add_hazard_point(&mut self, area: &AreaRecord, code: Box<str>, kind: &str, people: u32) {
        let monitor = format!("monitor-{code}");
        self.add_duty(area, &monitor, "monitor", Some(format!("{}-leader", area.code)));
        let village = &*called(&area.name);
        let shelter = pick(&made_up::SHELTERS, &mut self.rng);
        let record = HazardPointRecord {
            name: format!("{village}{}组{kind}", self.rng.random_range(1..=9)).into(),
            kind: kind.into(),
            scale: pick(&made_up::SCALES, &mut self.rng).into(),
            area: area.code,
            place: self.near(area.place),
            people,
            monitor: Some(monitor.into()),
            sign: pick(&made_up::SIGNS, &mut self.rng).into(),
            alarm: pick(&made_up::ALARMS, &mut self.rng).into(),
            route: format!("沿村道向{}撤离至{shelter}", pick(&["东", "南", "西", "北"], &mut self.rng)).into(),
            shelter: format!("{village}{shelter}").into(),
            code,
        };
        self.import.hazard_points.push(unplaced(record));
    }

    fn add_household(&mut self, area: &AreaRecord, hazard_point: Option<Box<str>>) -> u32 {
        self.households += 1;
        let id = format!("h{:07}", self.households);
        let people = self.rng.random_range(1..=6);
        let is_reachable = !self.rng.random_bool(UNREACHABLE);
        let has_mail = is_reachable && self.rng.random_bool(WITH_MAIL);
        let has_need = self.rng.random_bool(WITH_NEED);
        let is_placed = !self.rng.random_bool(UNPLACED);
        let record = SubscriberRecord {
            name: made_up::person(&mut self.rng),
            role: Cow::Borrowed(role::HOUSEHOLD),
            phone: is_reachable.then(|| made_up::phone(self.households)),
            place: if is_placed { self.near(area.place) } else { None },
            people,
            ..blank(&id, area.code)
        };
        let mail = has_mail.then(|| made_up::mail(&id));
        let needs = if has_need { made_up::need(&mut self.rng) } else { Box::default() };
        self.import.subscribers.push(unplaced(record.with(Rare { mail, needs, hazard_point, ..Rare::default() })));
        people
    }

    fn add_institution(&mut self, area: &AreaRecord) {
        let id = format!("{}-inst", area.code);
        self.duty_phones += 1;
        let record = SubscriberRecord {
            name: format!("{}{}", called(&area.name), pick(&made_up::INSTITUTIONS, &mut self.rng)).into(),
            role: Cow::Borrowed(role::INSTITUTION),
            phone: Some(made_up::phone(self.duty_phones)),
            place: self.near(area.place),
            people: self.rng.random_range(10..=300),
            ..blank(&id, area.code)
        };
        self.import.subscribers.push(unplaced(record));
    }

    fn add_duty(&mut self, area: &AreaRecord, id: &str, role: &'static str, backup: Option<String>) {
        self.duty_phones += 1;
        let record = SubscriberRecord {
            name: made_up::person(&mut self.rng),
            role: Cow::Borrowed(role),
            phone: Some(made_up::phone(self.duty_phones)),
            place: area.place,
            ..blank(id, area.code)
        };
        let mail = Some(made_up::mail(id));
        let rare = Rare { mail, wecom: format!("w-{id}").into(), backup: backup.map(Into::into), ..Rare::default() };
        self.import.subscribers.push(unplaced(record.with(rare)));
    }

    fn add_speaker(&mut self, area: &AreaRecord, serial: u32) {
        let record = SpeakerRecord {
            id: format!("{}-s{serial}", area.code).into(),
            area: area.code,
            name: format!("{}{serial}号大喇叭", called(&area.name)).into(),
            kind: pick(&["horn", "horn", "column", "indoor"], &mut self.rng).into(),
            place: self.near(area.place),
            radius_m: pick(&[300, 500, 800], &mut self.rng),
        };
        self.import.speakers.push(unplaced(record));
    }

    fn add_robot(&mut self, area: &AreaRecord, name: &str) {
        let record = EndpointRecord {
            id: format!("{}-group", area.code).into(),
            area: area.code,
            kind: "wecom_robot".into(),
            name: format!("{}{name}", area.name).into(),
            // The form of a robot's key; the last part is the area, so nobody has it.
            address: format!("00000000-0000-4000-8000-{:012}", area.code.padded()).into(),
        };
        self.import.endpoints.push(unplaced(record));
    }

    /// A point within the village: even over a disc, so that the middle is not crowded.
    fn near(&mut self, middle: Option<Place>) -> Option<Place> {
        let middle = middle?;
        let far = VILLAGE_RADIUS_DEG * self.rng.random::<f64>().sqrt();
        let turn = self.rng.random_range(0.0..std::f64::consts::TAU);
        let round = |degrees: f64| (degrees * 1e6).round() / 1e6;
        Place::new(round(middle.lon() + far * turn.cos()), round(middle.lat() + far * turn.sin()))
    }
}

fn blank(id: &str, area: AreaCode) -> SubscriberRecord {
    SubscriberRecord::new(id, area, Cow::Borrowed(role::HOUSEHOLD))
}

fn unplaced<R>(record: R) -> Placed<R> {
    Placed { file: 0, line: 0, record }
}
