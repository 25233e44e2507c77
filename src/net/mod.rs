//! Owns what every connection outward shares: whom to believe to be the far end, and how its address is read from a table.
//! Refuses to know what is said over it. Invariant: nothing here widens trust; it is the configuration that names authorities.

pub(crate) mod backoff;
pub(crate) mod broker;
pub(crate) mod hosts;
pub(crate) mod probe;
pub(crate) mod retry_after;
pub(crate) mod tls;
pub(crate) mod web_url;
