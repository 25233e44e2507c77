//! Owns the preview: who would be told by what, in which words, without storing or sending anything.
//! Refuses to know the journal. Invariant: it plans and renders with the very code that sends.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use roaring::RoaringBitmap;
use serde::Serialize;

use super::{
    Unavailable, all_clear,
    authority::{Rights, Source},
    gateway::Gateway,
    intake::{SubmitError, judge_time},
    place,
    planner::{self, Basis},
    references::Named,
    told_before::ToldBefore,
};
use crate::{
    alert::{self, Alert},
    area::{AreaCode, AreaLevel},
    channel::Reach,
    delivery::{
        ledger::Shelf,
        plan::{PlanPart, RecipientKind},
    },
    fault::{Fault, Faults},
    matching,
    message::{Form, render},
    policy::Rule,
    time::Timestamp,
};

/// People named in the list of those whom no channel reaches; the rest is counted.
const UNREACHABLE_SHOWN: usize = 200;

#[derive(Clone, Debug, Serialize)]
pub struct Preview {
    pub as_of: Timestamp,
    pub event: String,
    pub level: &'static str,
    pub people: u32,
    pub deliveries: u32,
    pub unreachable: u32,
    pub calls: u32,
    pub by_area: Vec<AreaCount>,
    pub by_role: BTreeMap<String, u32>,
    pub by_channel: BTreeMap<String, u32>,
    /// In which somebody is told, or a loudspeaker speaks.
    pub villages: u32,
    pub speakers: u32,
    pub hazard_points: u32,
    /// Each channel's text, as a person of the first village would read it.
    pub messages: Vec<MessageView>,
    /// By name, for those who could do something about it; a bureau gets the count alone.
    pub without_channel: Vec<Unreachable>,
    /// By the configured rates, were everything else idle; `None` where no rate is configured.
    pub estimated_minutes: BTreeMap<String, Option<f64>>,
    pub warnings: Vec<Fault>,
    /// Of the other things that the document says, each an alert of its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub further: Vec<Preview>,
}

/// Who asks: the source whose codes and map the areas are in, where a bureau does, and what the caller is limited to.
#[derive(Clone, Debug, Default)]
pub struct Asking {
    pub source: Option<String>,
    pub areas: Vec<AreaCode>,
}

fn may_see(within: &[AreaCode], area: AreaCode) -> bool {
    within.is_empty() || within.iter().any(|allowed| allowed.contains(area))
}

#[derive(Clone, Debug, Serialize)]
pub struct AreaCount {
    pub code: AreaCode,
    pub name: String,
    pub people: u32,
}

#[derive(Clone, Debug, Serialize)]
pub struct MessageView {
    pub channel: String,
    pub account: String,
    pub subject: String,
    pub text: String,
    /// Characters as short-message centres count them.
    pub units: usize,
}

#[derive(Clone, Debug, Serialize)]
pub struct Unreachable {
    pub id: String,
    pub name: String,
    pub role: String,
    pub area: AreaCode,
}

impl Gateway {
    /// Of a document that says several things the most severe, with the previews of the others in `further`.
    pub async fn preview(&self, body: &[u8], content_type: Option<&str>, by: &Asking) -> Result<Preview, SubmitError> {
        let (gateway, body, kind) = (self.clone(), body.to_vec(), content_type.map(str::to_owned));
        let read = self.apart(move || alert::read(&body, kind.as_deref(), &gateway.limits, &gateway.vocabulary)).await;
        let reading = read.map_err(|error| Unavailable::Failed(format!("the document could not be read: {error}")))?;
        let alert = match reading.outcome {
            Ok(alert) => alert,
            Err(faults) if !reading.parseable => return Err(SubmitError::NotParseable(faults)),
            Err(faults) => return Err(SubmitError::Invalid(faults)),
        };
        let mut further = Vec::with_capacity(reading.further.len());
        for alert in reading.further {
            further.push(self.preview_of(alert, Vec::new(), by).await?);
        }
        let first = self.preview_of(alert, reading.warnings, by).await?;
        Ok(Preview { further, ..first })
    }

    /// What approving it would send, of an alert that was taken in and waits.
    pub async fn preview_held(&self, shelf: &Arc<Shelf>) -> Result<Preview, SubmitError> {
        let targets = { shelf.read().accepted.targets.clone() };
        let chains = self.chains_of(targets, shelf.alert.is_all_clear()).await?;
        let (gateway, shelf) = (self.clone(), Arc::clone(shelf));
        let made = self.apart(move || gateway.previewed(&shelf.alert, &chains.told(), &[], Vec::new(), Faults::default())).await;
        made.map_err(|error| Unavailable::Failed(format!("the preview could not be made: {error}")))?
    }

    async fn preview_of(&self, mut alert: Alert, mut warnings: Vec<Fault>, by: &Asking) -> Result<Preview, SubmitError> {
        let mut odd = Faults::default();
        let now = self.clock.now();
        judge_time(&alert, now, self.max_skew, &mut odd);
        let snapshot = self.snapshot();
        let source = self.sources.iter().find(|known| Some(&known.name) == by.source.as_ref());
        if let Some(source) = source {
            let meant = source.understand(&mut alert, &snapshot);
            warnings.extend(meant.warnings.into_iter().chain(meant.doubts.into_iter().map(|doubt| doubt.fault)));
        }
        let mut named = self.judge_references(&alert, &mut odd);
        self.judge_asking(source, &alert, &named, by)?;
        warnings.append(&mut named.warnings);
        all_clear::take_over(&mut alert, &named.targets, now, &mut warnings);
        let chains = self.chains_of(named.targets.iter().map(|target| target.shelf.no).collect(), alert.is_all_clear()).await?;
        let (gateway, areas) = (self.clone(), by.areas.clone());
        let made = self.apart(move || gateway.previewed(&alert, &chains.told(), &areas, warnings, odd)).await;
        made.map_err(|error| Unavailable::Failed(format!("the preview could not be made: {error}")))?
    }

    /// A key that is limited to areas previews what it may post.
    fn judge_asking(&self, source: Option<&Source>, alert: &Alert, named: &Named, by: &Asking) -> Result<(), SubmitError> {
        let Some(source) = source.filter(|_| !by.areas.is_empty()) else { return Ok(()) };
        let (rights, snapshot, mut faults) = (Rights::of(source, &by.areas), self.snapshot(), Faults::default());
        if !alert.is_all_clear() {
            rights.judge_areas(alert, &snapshot, &mut faults);
        }
        for target in &named.targets {
            let said_by = { target.shelf.read().accepted.source.clone() };
            rights.judge_target(&said_by, target, &snapshot, &mut faults);
        }
        faults.into_result(()).map_err(SubmitError::Invalid)
    }

    fn previewed(
        &self,
        alert: &Alert,
        told: &ToldBefore,
        areas: &[AreaCode],
        mut warnings: Vec<Fault>,
        mut odd: Faults,
    ) -> Result<Preview, SubmitError> {
        let (snapshot, policy, is_over) = (self.snapshot(), self.policy.load(), alert.is_all_clear());
        let audience = matching::audience(&alert.areas, &snapshot);
        if !is_over {
            odd.extend(audience.unresolved.iter().cloned());
        }
        warnings.extend(odd.into_list());
        let nobody = Rule::nobody();
        let rule = match policy.decide(&alert.event, alert.level, &alert.groups) {
            Some(rule) => rule,
            None if is_over => &nobody,
            None => {
                let fault = Fault::new("event", "no-policy-rule", format!("no rule of the policy fits {}", alert.event));
                return Err(SubmitError::Invalid(vec![fault]));
            }
        };
        let basis = Basis { snapshot: &snapshot, routes: &self.routes, rule, now: self.clock.now(), public: self.public_of(alert) };
        let plan = if is_over { planner::all_clear(&basis, told) } else { planner::first(&basis, &audience, told) };
        let mut preview = self.count(&plan, areas, warnings);
        (preview.event, preview.level) = (alert.event.to_string(), alert.level.name());
        if !is_over {
            let own = audience.hazard_points.iter().filter(|&position| may_see(areas, snapshot.hazard_point_at(position).area()));
            preview.hazard_points = u32::try_from(own.count()).unwrap_or(u32::MAX);
        }
        preview.messages = self.texts(alert, rule, &plan.parts);
        Ok(preview)
    }

    /// Of the plan what lies in these areas, or all of it where there are none.
    fn count(&self, plan: &planner::Plan, within: &[AreaCode], warnings: Vec<Fault>) -> Preview {
        let snapshot = self.snapshot();
        let mut preview = Preview {
            as_of: self.clock.now(),
            event: String::new(),
            level: "",
            people: 0,
            deliveries: 0,
            unreachable: 0,
            calls: 0,
            by_area: Vec::new(),
            further: Vec::new(),
            by_role: BTreeMap::new(),
            by_channel: BTreeMap::new(),
            villages: 0,
            speakers: 0,
            hazard_points: 0,
            messages: Vec::new(),
            without_channel: Vec::new(),
            estimated_minutes: BTreeMap::new(),
            warnings,
        };
        let mut areas: BTreeMap<AreaCode, u32> = BTreeMap::new();
        let mut villages: BTreeSet<AreaCode> = BTreeSet::new();
        let length = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let (mut recipients, mut seen) = (0_u32, RoaringBitmap::new());
        for part in &plan.parts {
            if let PlanPart::Run(run) = part {
                let first = recipients;
                recipients += length(run.keys.len());
                if !may_see(within, run.area) {
                    continue;
                }
                seen.insert_range(first..recipients);
                if run.kind != RecipientKind::Endpoint && !run.keys.is_empty() && run.area.level() >= AreaLevel::Village {
                    villages.insert(run.area.at_level(AreaLevel::Village));
                }
            }
            match part {
                PlanPart::Run(run) if run.kind == RecipientKind::Person => {
                    preview.unreachable += length(run.unreachable.len());
                    preview.people += length(run.keys.len());
                    *preview.by_role.entry(run.role.clone()).or_default() += length(run.keys.len());
                    *areas.entry(run.area.at_level(AreaLevel::Township)).or_default() += length(run.keys.len());
                    let room = UNREACHABLE_SHOWN.saturating_sub(preview.without_channel.len());
                    let named = run.unreachable.iter().take(room).filter_map(|&place| {
                        let person = snapshot.subscriber(crate::registry::SubscriberKey(run.keys[place as usize]))?;
                        Some(Unreachable {
                            id: person.id().to_owned(),
                            name: person.name().to_owned(),
                            role: run.role.clone(),
                            area: run.area,
                        })
                    });
                    preview.without_channel.extend(named);
                }
                PlanPart::Run(run) if run.kind == RecipientKind::Speaker => preview.speakers += length(run.keys.len()),
                PlanPart::Leg(leg) => {
                    let of = |&(first, count): &(u32, u32)| seen.range_cardinality(first..first + count);
                    let count = u32::try_from(leg.recipients.iter().map(of).sum::<u64>()).unwrap_or(u32::MAX);
                    preview.deliveries += count;
                    let kind = leg.route.split('/').next().unwrap_or_default().to_owned();
                    *preview.by_channel.entry(kind).or_default() += count;
                }
                PlanPart::Calls(calls) => {
                    preview.calls += length(calls.recipients.iter().filter(|&&recipient| seen.contains(recipient)).count());
                }
                PlanPart::Run(_) | PlanPart::Open { .. } | PlanPart::Hazard(_) | PlanPart::Seal { .. } => {}
            }
        }
        let name = |code: AreaCode| snapshot.areas().name(code).map_or_else(|| code.to_string(), str::to_owned);
        preview.villages = length(villages.len());
        preview.by_area = areas.into_iter().map(|(code, people)| AreaCount { code, name: name(code), people }).collect();
        preview.estimated_minutes = preview.by_channel.iter().map(|(kind, &count)| (kind.clone(), self.minutes(kind, count))).collect();
        preview
    }

    /// Minutes at the rates of the kind's first accounts.
    fn minutes(&self, kind: &str, deliveries: u32) -> Option<f64> {
        let rates = self.routes.of_kind(kind).flat_map(|route| &route.accounts).filter_map(|account| {
            let per_second = account.common.per_second.map(f64::from);
            let per_minute = account.common.per_minute.map(|rate| f64::from(rate) / 60.0);
            per_second.into_iter().chain(per_minute).reduce(f64::min)
        });
        let slowest = rates.reduce(f64::min)?;
        Some((f64::from(deliveries) / slowest / 60.0 * 10.0).ceil() / 10.0)
    }

    fn texts(&self, alert: &Alert, rule: &Rule, parts: &[PlanPart]) -> Vec<MessageView> {
        let snapshot = self.snapshot();
        let meant = place::meant(&alert.areas, &snapshot);
        // As somebody reads it who lives in the midst of it: the lowest area of that kind of recipient.
        let lowest = |reach: Reach| {
            let kind = match reach {
                Reach::People(_) => RecipientKind::Person,
                Reach::Speakers => RecipientKind::Speaker,
                Reach::Endpoints(_) => RecipientKind::Endpoint,
            };
            let areas = parts.iter().filter_map(|part| match part {
                PlanPart::Run(run) if run.kind == kind => Some(run.area),
                _ => None,
            });
            let area = areas.max_by_key(|area| area.level()).unwrap_or(self.county);
            place::told(&meant, area, snapshot.areas())
        };
        let mut views = Vec::new();
        for kind in rule.channels.iter().chain(&rule.then) {
            for route in self.routes.of_kind(kind) {
                let area_name = lowest(route.reach);
                let reader = render::Reader { name: "", role: "", area_name: &area_name, language: "zh-CN", shelter: None, answer: None };
                for account in &route.accounts {
                    let form: Form = account.channel.form();
                    let own_text = alert.texts.get(kind.as_str()).map(String::as_str);
                    let rendered = render::render(alert, &reader, &render::Occasion::Warning, &form, own_text);
                    let units = rendered.text.encode_utf16().count();
                    let account = account.name().to_owned();
                    views.push(MessageView { channel: kind.to_owned(), account, subject: rendered.subject, text: rendered.text, units });
                }
            }
        }
        views
    }
}
