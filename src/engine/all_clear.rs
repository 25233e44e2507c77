//! Owns what an all-clear takes over from what it ends, and which statuses may touch each other.
//! Refuses to know who is told. Invariant: an all-clear says the event and level that people were warned of; a drill never changes or ends
//! what is real, nor the other way round.

use std::{sync::Arc, time::Duration};

use super::references::Target;
use crate::{
    alert::{Alert, Status, event_name},
    delivery::ledger::Shelf,
    fault::{Fault, Faults},
    time::Timestamp,
};

/// People must be reached for some time after the end, whatever end the all-clear gives itself.
pub(super) const TRIED_FOR: Duration = Duration::from_secs(3_600);

/// A status that may not touch another is a fault with the place of the reference.
pub(super) fn judge_status(alert: &Alert, targets: &[Target], faults: &mut Faults) {
    let ends_real = targets.iter().any(|target| !target.shelf.alert.status.is_drill());
    for target in targets {
        let theirs = &target.shelf.alert;
        if may_touch(alert, theirs, ends_real) {
            continue;
        }
        let (own, other) = (words(alert.status), words(theirs.status));
        let message = format!("{:?} is {other}, and this is {own}: neither changes or ends the other", theirs.identifier);
        faults.add(format!("references[{}]", target.place), "status-differs", message);
    }
}

/// An all-clear of a drill is one whatever its own status says; one of both at once would be neither.
pub(super) fn may_touch(alert: &Alert, earlier: &Alert, ends_real: bool) -> bool {
    if alert.is_all_clear() && earlier.status.is_drill() { !ends_real } else { alert.status == earlier.status }
}

const fn words(status: Status) -> &'static str {
    match status {
        Status::Actual => "real (Actual)",
        Status::Exercise => "a drill (Exercise)",
        Status::System => "between systems (System)",
        Status::Test => "a test (Test)",
    }
}

/// Brings an all-clear to what it ends: event, level and status of the worst of it, and time enough to be told.
pub(super) fn take_over(alert: &mut Alert, targets: &[Target], received: Timestamp, warnings: &mut Vec<Fault>) {
    if !alert.is_all_clear() {
        return;
    }
    alert.expires = alert.expires.max(received.plus(TRIED_FOR).whole_seconds());
    // What was ended before says nothing about what is ended now, unless there is nothing else.
    let standing = targets.iter().map(|target| &target.shelf.alert).filter(|ended| !ended.is_all_clear());
    let Some(ended) = standing.min_by_key(|ended| ended.level).or_else(|| targets.first().map(|target| &target.shelf.alert)) else {
        return;
    };
    if ended.status != alert.status {
        let message = format!("what it ends is {}: it is told and counted as that", words(ended.status));
        warnings.push(Fault::new("status", "status-taken-over", message));
        alert.status = ended.status;
    }
    (alert.event, alert.level) = (ended.event.clone(), ended.level);
    alert.event_name.clone_from(&ended.event_name);
    alert.categories.clone_from(&ended.categories);
    // By the same rule of the policy, with the same second choice of channels.
    alert.groups.clone_from(&ended.groups);
    for translation in &mut alert.translations {
        if let Some(theirs) = ended.translations.iter().find(|theirs| theirs.language == translation.language) {
            translation.event.clone_from(&theirs.event);
        }
    }
    if alert.headline.is_empty() {
        alert.headline = headline(ended);
    }
}

/// `北川羌族自治县气象台解除暴雨红色预警`.
pub(super) fn headline(ended: &Alert) -> String {
    let issuer = if ended.sender_name.is_empty() { &ended.sender } else { &ended.sender_name };
    let event = if ended.event_name.is_empty() { event_name(&ended.event) } else { &ended.event_name };
    format!("{issuer}解除{event}{}预警", ended.level.chinese())
}

/// Whether all that it ends was never out: then it takes something back, and nobody needs to hear or to agree.
pub(super) fn only_withdraws(alert: &Alert, targets: &[Arc<Shelf>]) -> bool {
    alert.is_all_clear() && !targets.is_empty() && targets.iter().all(|target| target.read().timeline.released.is_none())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::alert::json::from_value;

    const STATUSES: [&str; 4] = ["Actual", "Exercise", "System", "Test"];

    fn alert(kind: &str, status: &str, responses: &[&str]) -> Alert {
        let references = json!([{ "sender": "51072641600000", "identifier": "0", "sent": "2026-07-23T10:00:00+08:00" }]);
        let document = json!({
            "identifier": "1", "sender": "51072641600000", "sent": "2026-07-23T10:15:00+08:00", "status": status, "msgType": kind,
            "references": if kind == "Alert" { json!([]) } else { references }, "event": "11B03", "level": "red", "urgency": "Immediate",
            "certainty": "Likely", "effective": "2026-07-23T10:15:00+08:00", "expires": "2026-07-23T16:15:00+08:00", "headline": "h",
            "description": "d", "instruction": "i", "responseTypes": responses, "areas": [{ "name": "x", "codes": ["510726"] }],
        });
        from_value(&document).unwrap_or_else(|faults| panic!("{faults:?}"))
    }

    #[test]
    fn a_drill_touches_nothing_real_nor_the_other_way_in_any_kind_and_status() {
        let kinds: [(&str, &[&str]); 3] = [("Update", &[]), ("Update", &["AllClear"]), ("Cancel", &[])];
        for (kind, responses) in kinds {
            for own in STATUSES {
                for theirs in STATUSES {
                    let (new, earlier) = (alert(kind, own, responses), alert("Alert", theirs, &[]));
                    let is_real = theirs == "Actual";
                    let may = may_touch(&new, &earlier, is_real);
                    // The all-clear of a drill is one, whatever it says of itself; all else is of one status.
                    let expected = own == theirs || (new.is_all_clear() && !is_real);
                    assert_eq!(may, expected, "{kind} {responses:?} {own} of {theirs}");
                    assert!(!may || own == theirs || !is_real, "nothing touches what is real but what is real");
                    assert!(!(new.is_all_clear() && !is_real && may_touch(&new, &earlier, true)), "a drill beside what is real");
                }
            }
        }
        let draft = json!({ "status": "Draft" });
        assert!(from_value(&draft).is_err());
    }

    #[test]
    fn an_update_that_gives_the_all_clear_is_one_and_one_that_asks_for_something_is_not() {
        let is = |kind: &str, urgency: &str, responses: &[&str]| {
            Alert { urgency: urgency.to_owned(), ..alert(kind, "Actual", responses) }.is_all_clear()
        };
        assert!(is("Cancel", "Immediate", &["Evacuate"]) && is("Update", "Unknown", &["AllClear"]) && is("Update", "Past", &[]));
        assert!(is("Update", "Past", &["Monitor"]) && is("Update", "Immediate", &["AllClear", "Monitor"]));
        assert!(!is("Update", "Past", &["Evacuate"]) && !is("Update", "Unknown", &["AllClear", "Shelter"]));
        assert!(!is("Update", "Immediate", &[]) && !is("Alert", "Past", &["AllClear"]));
    }
}
