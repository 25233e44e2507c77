//! Owns who and what is out there: areas, subscribers, speakers, hazard points, endpoints; how they are imported, checked, kept and read.
//! Refuses to know alerts, messages and channels.
//! Invariant: readers see one whole, sound state; a change is taken in completely, or refused with everything that is wrong.

mod address;
mod area_record;
mod cell;
mod check;
mod columns;
mod content;
mod county;
mod edit;
mod endpoint;
mod erased;
mod export;
mod far;
mod file;
pub mod fixture;
mod gaps;
mod generate;
mod ground;
mod hashed;
mod hazard_point;
mod headings;
mod import;
#[cfg(test)]
mod import_tests;
mod key;
mod listing;
mod log;
#[cfg(test)]
mod log_tests;
mod made_up;
pub mod mask;
mod merge;
mod named_area;
#[cfg(test)]
mod office_tests;
mod opening;
mod phone;
mod place;
mod record;
mod replay;
pub mod role;
mod roll;
mod row_faults;
mod shelf;
mod snapshot;
mod speaker;
mod store;
mod subscriber;
mod table;
mod tree;
mod workbook;

pub use address::{AddressKind, BadMailAddress, MailAddress};
pub use area_record::AreaRecord;
pub use check::check;
pub use columns::{Column, Form, Kind};
pub use content::ImportFile;
pub use county::{county, write_county};
pub use edit::{CHANGES_MAX, Change};
pub use endpoint::{Endpoint, EndpointRecord};
pub use export::{export, export_dir};
pub use file::FileError;
pub use gaps::{AreaGaps, DutyGaps, GAP_NAMES_MAX, Gaps, HazardGaps, Names, PeopleGaps, VillageGaps, gaps};
pub use generate::generate;
pub use ground::{Ground, PlaceBox, Stand};
pub use hazard_point::{HazardPoint, HazardPointRecord};
pub use headings::{Understood, UnderstoodColumn};
pub use import::{FILE_BYTES_MAX, FILES_MAX, ImportOptions, Progress};
pub use key::{EndpointKey, HazardKey, SpeakerKey, SubscriberKey};
pub use listing::{ListQuery, PAGE_ITEMS_MAX, Page, change_from_json, list, subscriber_json, unmasked, view};
pub use merge::{Counts, Import, Merged, Mode, Placed, merge};
pub use opening::judge;
pub use phone::{BadPhoneNumber, PhoneNumber};
pub use place::{Place, STEPS, to_steps};
pub use record::{Cells, Record, Shown};
pub use row_faults::{ROW_FAULTS_MAX, RowFaults};
pub use snapshot::Snapshot;
pub use speaker::{Speaker, SpeakerRecord};
pub use store::{Damaged, ImportReport, KindCounts, OpenError, Opened, Registry, RegistryError};
pub use subscriber::{DEFAULT_LANGUAGE, Rare, Subscriber, SubscriberRecord};
pub use tree::{AREAS_MAX, AreaNode, AreaTree};
