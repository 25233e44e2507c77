//! Owns what loudspeakers last said of their health. In memory only: the broker keeps it (retained) and tells it again after a restart.
//! Refuses to know deliveries. Invariant: bounded by the registry; an unknown device is counted, never kept.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
};

use crate::time::Timestamp;

#[derive(Clone, Debug, PartialEq)]
pub struct DeviceState {
    pub online: bool,
    pub at: Timestamp,
    pub detail: serde_json::Value,
}

#[derive(Debug, Default)]
pub(crate) struct Devices {
    states: Mutex<HashMap<u32, DeviceState>>,
}

impl Devices {
    pub(crate) fn note(&self, key: u32, state: DeviceState) {
        self.locked().insert(key, state);
    }

    pub(crate) fn get(&self, key: u32) -> Option<DeviceState> {
        self.locked().get(&key).cloned()
    }

    /// What each speaker last said: on, or off (also when its connection died and the broker told its Will).
    pub(crate) fn online(&self) -> HashMap<u32, bool> {
        self.locked().iter().map(|(&key, state)| (key, state.online)).collect()
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<u32, DeviceState>> {
        self.states.lock().expect("no code panics while it holds the device table")
    }
}
