//! Owns the kinds of address by which a subscriber can be reached, and the check of a mail address.
//! Refuses to know channels: which of them uses which address is the policy's and the drivers' business.

use std::{fmt, str::FromStr};

/// What a subscriber can be reached by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressKind {
    Phone,
    Mail,
    Wecom,
    Openid,
}

impl AddressKind {
    pub const ALL: [Self; 4] = [Self::Phone, Self::Mail, Self::Wecom, Self::Openid];
}

/// A mail address that a server would take; the domain in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailAddress(Box<str>);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a mail address of the form name@domain")]
pub struct BadMailAddress;

impl MailAddress {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MailAddress {
    type Err = BadMailAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // RFC 5321 §4.5.3.1: 64 octets of local part, 254 of the whole path.
        let (local, domain) = text.trim().rsplit_once('@').ok_or(BadMailAddress)?;
        let local_fits = (1..=64).contains(&local.len())
            && !local.starts_with('.')
            && !local.ends_with('.')
            && !local.contains("..")
            && local.chars().all(|c| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c));
        let label_fits = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.chars().all(|c| c.is_alphanumeric() || c == '-')
        };
        let domain_fits = domain.contains('.') && domain.split('.').all(label_fits);
        let length_fits = local.len() + 1 + domain.len() <= 254;
        if !(local_fits && domain_fits && length_fits) {
            return Err(BadMailAddress);
        }
        Ok(Self(format!("{local}@{}", domain.to_lowercase()).into()))
    }
}

impl fmt::Display for MailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_addresses_are_checked_and_their_domain_put_in_lower_case() {
        assert_eq!("Li.Wei+1@Mail.EXAMPLE".parse::<MailAddress>().expect("valid").as_str(), "Li.Wei+1@mail.example");
        for text in [
            "",
            "a",
            "@b.example",
            "a@b",
            "a b@c.example",
            "a@b..example",
            ".a@b.example",
            "a@-b.example",
            "a@b.example\r\nBcc: c",
            "<a@b.example>",
        ] {
            assert!(text.parse::<MailAddress>().is_err(), "{text:?} was taken for a mail address");
        }
    }
}
