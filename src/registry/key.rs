//! Owns the stable keys of registry records: small numbers that plans and journals carry instead of ids.
//! Refuses to know positions, which change with every snapshot.
//! Invariant: a key belongs to one id (编号) for ever; a removed id that comes back gets its old key again.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

key!(
    /// A household, an institution or a person with a duty.
    SubscriberKey
);
key!(
    /// A loudspeaker.
    SpeakerKey
);
key!(
    /// A group robot, a mailing list, a duty room.
    EndpointKey
);
key!(
    /// A registered geological hazard point.
    HazardKey
);
