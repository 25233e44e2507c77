//! Owns the closed list of metric families: the Prometheus name of each, what kind it is, and what it tells.
//! Refuses to know when something is counted. Invariant: a family cannot be named here without its help, and none is recorded that is not here.

/// What Prometheus calls the type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// One table makes the enum, the names and the help, so that none of them can be forgotten.
macro_rules! families {
    ($($family:ident: $kind:ident $name:literal $help:literal)*) => {
        #[derive(Clone, Copy, Debug)]
        pub(super) enum Name { $($family),* }

        impl Name {
            pub(super) const ALL: &'static [Self] = &[$(Self::$family),*];

            pub(super) const fn text(self) -> &'static str {
                match self { $(Self::$family => $name),* }
            }

            pub(super) const fn kind(self) -> Kind {
                match self { $(Self::$family => Kind::$kind),* }
            }

            pub(super) const fn help(self) -> &'static str {
                match self { $(Self::$family => $help),* }
            }
        }
    };
}

families! {
    Accepted: Counter "lastmile_alerts_accepted_total" "Alerts that were accepted and are on disk."
    Deliveries: Counter "lastmile_delivery_outcomes_total" "Tries of messages by what the far end said: accepted, or the word of its failure."
    Receipts: Counter "lastmile_receipts_total" "Delivery reports by account and by what they said."
    Answers: Counter "lastmile_answers_total" "Answers of people by the way they came."
    Calls: Counter "lastmile_calls_total" "Calls for an answer by how they ended."
    Alarms: Counter "lastmile_alarms_total" "Troubles that need a person, each time one struck."
    Requests: Counter "lastmile_http_requests_total" "Requests by route and status."
    RequestSeconds: Histogram "lastmile_http_request_seconds" "Time that a request took, in seconds, by route."
    Refused: Counter "lastmile_http_connections_refused_total" "Connections that found no place."
    QueueReady: Gauge "lastmile_queue_ready" "Messages of a route that may be sent now."
    QueueLater: Gauge "lastmile_queue_later" "Messages of a route that wait for their time."
    InFlight: Gauge "lastmile_in_flight" "Messages that an account is sending."
    Overdue: Gauge "lastmile_calls_waiting" "People who were asked to answer and have not."
    StoreFree: Gauge "lastmile_store_free_bytes" "What the disk of the data directory has left."
    AuditFrames: Gauge "lastmile_audit_frames" "Frames in this month's audit trail."
    AuditHead: Gauge "lastmile_audit_head" "The first 48 bits of the hash that the audit trail ends in."
    Certificate: Gauge "lastmile_certificate_not_after_seconds" "When the first certificate of a file ends, in seconds since 1970."
    InletDocuments: Counter "lastmile_inlet_documents_total" "Documents that a way in brought, by what became of them."
    InletUp: Gauge "lastmile_inlet_up" "1 while a way in reaches what it watches, else 0."
    RelayPosts: Counter "lastmile_relay_posts_total" "Documents sent to a platform above, by what it said."
    RelayWaiting: Gauge "lastmile_relay_waiting" "Alerts that a platform above does not have yet."
    RelayLag: Gauge "lastmile_relay_lag_seconds" "How long the oldest alert has waited that a platform above does not have."
    RelayUp: Gauge "lastmile_relay_up" "1 if a platform above took the last document, else 0."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions_and_each_is_told_once() {
        for (place, family) in Name::ALL.iter().enumerate() {
            let (name, help) = (family.text(), family.help());
            assert!(Name::ALL[..place].iter().all(|other| other.text() != name && other.help() != help), "{name} stands twice");
            assert!(name.starts_with("lastmile_") && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert!(help.len() > 10 && help.ends_with('.') && !help.contains('\n'), "{name}: {help}");
            assert_eq!(family.kind() == Kind::Counter, name.ends_with("_total"), "{name}: counters alone end in _total");
            // Prometheus counts in base units.
            for unit in ["_ms", "_milliseconds", "_minutes", "_hours", "_days", "_kb", "_mb", "_kilobytes", "_megabytes", "_percent"] {
                assert!(!name.contains(unit), "{name}");
            }
        }
    }
}
