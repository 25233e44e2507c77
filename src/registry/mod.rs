//! Owns who and what is out there: areas, subscribers, speakers, hazard points, endpoints; how they are imported, checked, kept and read.
//! Refuses to know alerts, messages and channels.
//! Invariant: readers see one whole, sound state; a change is taken in completely, or refused with everything that is wrong.

mod address;
#[expect(dead_code, reason = "read by the store, which lands next")]
mod area_record;
mod columns;
mod endpoint;
pub mod fixture;
mod generate;
mod ground;
mod hazard_point;
mod key;
mod made_up;
mod merge;
mod phone;
mod place;
mod record;
pub mod role;
mod roll;
#[expect(dead_code, reason = "read by the store, which lands next")]
mod snapshot;
mod speaker;
mod subscriber;
#[expect(dead_code, reason = "read by the store, which lands next")]
mod table;
mod tree;

pub use address::{AddressKind, BadMailAddress, MailAddress};
pub use area_record::AreaRecord;
pub use columns::{Column, Form, Kind};
pub use endpoint::{Endpoint, EndpointRecord};
pub use generate::generate;
pub use ground::{Ground, PlaceBox, Stand};
pub use hazard_point::{HazardPoint, HazardPointRecord};
pub use key::{EndpointKey, HazardKey, SpeakerKey, SubscriberKey};
pub use merge::{Counts, Import, Merged, Mode, Placed, merge};
pub use phone::{BadPhoneNumber, PhoneNumber};
pub use place::{BadDatum, Datum, Place, STEPS, gcj02_to_wgs84, to_steps, wgs84_to_gcj02};
pub use record::{Cells, Record, Shown};
pub use snapshot::Snapshot;
pub use speaker::{Speaker, SpeakerRecord};
pub use subscriber::{DEFAULT_LANGUAGE, Subscriber, SubscriberRecord};
pub use tree::{AREAS_MAX, AreaNode, AreaTree};
