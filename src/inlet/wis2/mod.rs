//! Owns one subscription at a broker of the WMO's WIS2.

mod content;
mod fetch;
mod notice;
mod seen;
