//! Owns saying that what an inlet watches is lost, and that it is back: a gauge always, an alarm and a line in the log once for each change.
//! Refuses to judge what counts as lost. Invariant: as long as it lasts, the gauge says so; a loss that goes on is told once.

use crate::telemetry::{alarms::Alarms, metrics as meter};

pub struct Reach {
    inlet: String,
    alarms: Alarms,
    is_up: Option<bool>,
}

impl Reach {
    pub fn new(inlet: &str, alarms: Alarms) -> Self {
        meter::inlet_up(inlet, false);
        Self { inlet: inlet.to_owned(), alarms, is_up: None }
    }

    pub fn lost(&mut self, why: &str) {
        meter::inlet_up(&self.inlet, false);
        if self.is_up != Some(false) {
            self.alarms.raise("inlet-unreachable", &self.inlet, why);
            tracing::error!(inlet = self.inlet, why, "what this inlet watches cannot be reached; it is tried again");
        }
        self.is_up = Some(false);
    }

    pub fn found(&mut self) {
        meter::inlet_up(&self.inlet, true);
        match self.is_up {
            Some(true) => {}
            Some(false) => {
                self.alarms.end("inlet-unreachable", &self.inlet);
                tracing::info!(inlet = self.inlet, "what this inlet watches is back");
            }
            None => tracing::info!(inlet = self.inlet, "this inlet watches"),
        }
        self.is_up = Some(true);
    }

    pub fn is_lost(&self) -> bool {
        self.is_up == Some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_lost_until_it_is_found() {
        let alarms = Alarms::new(std::sync::Arc::new(crate::time::SystemClock));
        let mut reach = Reach::new("drop", alarms.clone());
        assert!(!reach.is_lost(), "nobody has looked yet");
        reach.lost("no such folder");
        reach.lost("no such folder");
        assert!(reach.is_lost());
        assert_eq!(alarms.open().iter().map(|alarm| (alarm.about.as_str(), alarm.times)).collect::<Vec<_>>(), [("drop", 1)]);
        reach.found();
        assert!(!reach.is_lost() && alarms.open().is_empty());
    }
}
