//! Owns a warning that its publisher revised under the name it had: a feed lists the same id with another end, other words, or as withdrawn.
//! Refuses to serve those who get an answer: over HTTP the same name with other content is a conflict, and its poster reads so.
//! Invariant: a revision reaches people as an Update or Cancel of what was taken, once, or a person is told that it does not; never silence.

use super::{
    gateway::Gateway,
    intake::{Actor, SubmitError, Submitted, hex},
    parts::Document,
};
use crate::{
    alert::{self, Alert, AlertId, MsgType, Reference},
    delivery::ledger::Shelf,
    fault::Fault,
};

/// Revisions of one warning that are told; a publisher who writes the present time into every text would else wake people each minute.
const REVISIONS_MAX: usize = 5;
/// Stands between the publisher's identifier and what tells revisions apart.
const MARK: char = '~';

const CONFLICT: &str = "inlet-conflict";

impl Gateway {
    /// Takes what a way in brought under the name of `known`, with other content, for an Update of it.
    pub async fn submit_revision(&self, body: &[u8], by: &Actor, known: AlertId) -> Result<Submitted, SubmitError> {
        let conflict = || SubmitError::Conflict(known);
        let shelf = self.ledger.find(known).ok_or_else(conflict)?;
        let reading = alert::read(body, None, &self.limits, &self.vocabulary);
        let Ok(first) = reading.outcome else { return Err(conflict()) };
        let mut alerts: Vec<Alert> = std::iter::once(first).chain(reading.further).collect();
        let changes = changes(&shelf.alert, &alerts[0]);
        let about = format!("{} {}", by.name.trim_start_matches("inlet:"), shelf.alert.identifier);
        let said = |what: &str| {
            format!("{}：来源以同一编号改动了{}；{what}", shelf.alert.headline, if changes.is_empty() { "内容" } else { &changes })
        };
        if shelf.read().state.is_over() && alerts[0].msg_type == MsgType::Cancel {
            // Withdrawn, and over here already.
            return Err(conflict());
        }
        if self.revisions_of(&shelf) >= REVISIONS_MAX {
            self.alarms.raise(CONFLICT, about, said("改动次数过多，未再发布，请人工核对"));
            return Err(conflict());
        }
        let digest = hex(&alert::document_digest(&alerts));
        for one in &mut alerts {
            revise(one, &shelf, &digest);
        }
        let format = reading.format.map_or("", alert::Format::name);
        let warning = Fault::new("identifier", "revised", format!("known as {known} with other content: taken for an Update of it"));
        let taken = self.take_in(Document { alerts, places: reading.places }, format, vec![warning], by).await;
        match &taken {
            Ok(taken) if taken.repeat => {}
            Ok(_) => self.alarms.raise(CONFLICT, about, said("已按更新发布")),
            Err(error) => self.alarms.raise(CONFLICT, about, said(&format!("未能发布：{error}"))),
        }
        taken
    }

    fn revisions_of(&self, shelf: &Shelf) -> usize {
        let prefix = format!("{}{MARK}", shelf.alert.identifier);
        let is_one = |other: &Shelf| other.alert.sender == shelf.alert.sender && other.alert.identifier.starts_with(&prefix);
        self.ledger.newest_first().iter().filter(|other| is_one(other)).count()
    }
}

/// The same name would be the conflict; what it says gives it one of its own, the same however often it is listed.
fn revise(alert: &mut Alert, known: &Shelf, digest: &str) {
    let was = &known.alert;
    if alert.msg_type != MsgType::Cancel {
        alert.msg_type = MsgType::Update;
    }
    alert.references = vec![Reference { sender: was.sender.clone(), identifier: was.identifier.clone(), sent: was.sent }];
    alert.identifier = format!("{}{MARK}{}", was.identifier, &digest[..8]);
}

/// What differs, in the words of duty.
fn changes(before: &Alert, now: &Alert) -> String {
    let pairs = [
        (before.expires != now.expires, "结束时间"),
        (before.level != now.level, "级别"),
        (before.event != now.event, "事件"),
        (before.msg_type != now.msg_type, "性质"),
        (before.areas != now.areas, "区域"),
        (before.headline != now.headline || before.description != now.description, "文字"),
        (before.instruction != now.instruction, "防御指南"),
    ];
    pairs.into_iter().filter(|(differs, _)| *differs).map(|(_, word)| word).collect::<Vec<_>>().join("、")
}
