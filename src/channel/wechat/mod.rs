//! Owns the way to WeChat and WeCom: one file per interface of theirs.
//! Refuses to know alerts' meaning, who is told, and retries.
//! Invariant: a robot's key is a secret like a password and leaves this folder only in a request.

mod robot_pace;
mod wecom_robot;

pub use wecom_robot::DRIVER as WECOM_ROBOT;
