//! Owns the list of providers, one line each. Refuses to know what they do.
//! Invariant: a provider is supported exactly when it stands here.

use super::{Driver, Kind, email, sandbox, sms, speaker, wechat};

static DRIVERS: &[Driver] = &[
    sms::KANNEL,
    sms::HTTP,
    sms::FILE,
    email::SMTP,
    email::MAILDIR,
    speaker::MQTT,
    wechat::WECOM_ROBOT,
    sandbox::SMS,
    sandbox::EMAIL,
    sandbox::WECHAT,
];

pub fn drivers() -> &'static [Driver] {
    DRIVERS
}

pub fn find(kind: Kind, provider: &str) -> Option<&'static Driver> {
    DRIVERS.iter().find(|driver| driver.kind == kind && driver.provider == provider)
}
