//! Owns saying that what an inlet watches is lost, and that it is back: a gauge always, an alarm and a line in the log once for each change.
//! Refuses to judge what counts as lost. Invariant: as long as it lasts, the gauge says so; a loss that goes on is told once.

use crate::telemetry::metrics as meter;

pub struct Reach {
    inlet: String,
    is_up: Option<bool>,
}

impl Reach {
    pub fn new(inlet: &str) -> Self {
        meter::inlet_up(inlet, false);
        Self { inlet: inlet.to_owned(), is_up: None }
    }

    pub fn lost(&mut self, why: &str) {
        meter::inlet_up(&self.inlet, false);
        if self.is_up != Some(false) {
            meter::alarm("inlet-unreachable");
            tracing::error!(inlet = self.inlet, why, "what this inlet watches cannot be reached; it is tried again");
        }
        self.is_up = Some(false);
    }

    pub fn found(&mut self) {
        meter::inlet_up(&self.inlet, true);
        match self.is_up {
            Some(true) => {}
            Some(false) => tracing::info!(inlet = self.inlet, "what this inlet watches is back"),
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
        let mut reach = Reach::new("drop");
        assert!(!reach.is_lost(), "nobody has looked yet");
        reach.lost("no such folder");
        reach.lost("no such folder");
        assert!(reach.is_lost());
        reach.found();
        assert!(!reach.is_lost());
    }
}
