//! Owns which far ends an address from outside may lead to: named hosts, and addresses of the open net.
//! Refuses to know what is fetched there.
//! Invariant: a name is judged by every address that it resolves to at the moment of connecting, so no answer of a name server leads inside.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
    sync::Arc,
};

use reqwest::{
    Url,
    dns::{Addrs, Name, Resolve, Resolving},
};

/// A host that may be asked: `cap.example`, `*.example`, `cap.example:8443`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AllowedHost {
    host: String,
    with_below: bool,
    port: Option<u16>,
}

impl FromStr for AllowedHost {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const SHAPE: &str = "must be a host such as cap.example, *.example or cap.example:8443";
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) => (name, Some(port.parse().map_err(|_| SHAPE)?)),
            None => (text, None),
        };
        let (host, with_below) = name.strip_prefix("*.").map_or((name, false), |host| (host, true));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
        let is_sound = !host.is_empty() && host.bytes().all(plain) && !host.starts_with('.');
        if is_sound { Ok(Self { host: host.to_ascii_lowercase(), with_below, port }) } else { Err(SHAPE) }
    }
}

impl AllowedHost {
    /// Without a port of its own, only the usual one of the scheme: other ports of a host are other people's services.
    pub(crate) fn allows(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        // An address is one host: there is nothing below it.
        let is_host = if literal(url).is_some() { !self.with_below && host == self.host } else { self.is_of(host) };
        is_host && self.port.map_or(url.port().is_none(), |port| url.port_or_known_default() == Some(port))
    }
}

impl AllowedHost {
    fn is_of(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let below = host.strip_suffix(self.host.as_str()).is_some_and(|front| front.len() > 1 && front.ends_with('.'));
        if self.with_below { below } else { host == self.host }
    }
}

/// Whether an address lies in the open net: not this machine, not a local network, not reserved (RFC 6890).
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(four) => is_public_4(four),
        IpAddr::V6(six) => is_public_6(six),
    }
}

fn is_public_4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        // Carriers' own (RFC 6598), protocol assignments, benchmarks.
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b));
    !is_special
}

/// Only 2000::/3 is given out; within it, what carries an IPv4 address in it is judged by that one, or refused.
fn is_public_6(address: Ipv6Addr) -> bool {
    let parts = address.segments();
    let four = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match parts {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => is_public_4(four(high, low)),
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

/// The address that stands in a URL itself, which no name server is asked for.
pub(crate) fn literal(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Whether a host is on this machine or in a local network, by every address that it has now.
pub(crate) async fn is_inside(host: &str) -> bool {
    if let Ok(address) = host.parse() {
        return !is_public(address);
    }
    let found: Vec<IpAddr> = tokio::net::lookup_host((host, 0)).await.into_iter().flatten().map(|address| address.ip()).collect();
    !found.is_empty() && found.iter().all(|&address| !is_public(address))
}

/// A name that leads to an address which is not in the open net.
#[derive(Debug, thiserror::Error)]
#[error("the name leads to {0}, which is not in the open net")]
pub(crate) struct LeadsInside(pub(crate) IpAddr);

/// Resolves names, and gives none of their addresses when one of them lies inside; those of `but` may lie anywhere.
#[derive(Default)]
pub(crate) struct PublicOnly {
    but: Vec<AllowedHost>,
}

impl PublicOnly {
    pub(crate) fn shared() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn but(hosts: Vec<AllowedHost>) -> Arc<Self> {
        Arc::new(Self { but: hosts })
    }
}

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let may_be_inside = self.but.iter().any(|host| host.is_of(name.as_str()));
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            match found.iter().find(|address| !may_be_inside && !is_public(address.ip())) {
                Some(inside) => Err(LeadsInside(inside.ip()).into()),
                None => Ok(Box::new(found.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_host_and_its_usual_port_are_allowed() {
        let allows = |pattern: &str, url: &str| {
            pattern.parse::<AllowedHost>().unwrap_or_else(|error| panic!("{pattern}: {error}")).allows(&url.parse().expect("a url"))
        };
        for (pattern, url, expected) in [
            ("cap.example", "https://cap.example/a", true),
            ("cap.example", "https://CAP.example:443/a", true),
            ("cap.example", "https://cap.example:8443/a", false),
            ("cap.example:8443", "https://cap.example:8443/a", true),
            ("cap.example", "https://evil-cap.example/", false),
            ("cap.example", "https://cap.example.evil/", false),
            ("cap.example", "https://cap.example@evil/", false),
            ("*.example", "https://a.b.example/", true),
            ("*.example", "https://example/", false),
            ("127.0.0.1:8443", "https://127.0.0.1:8443/a", true),
            ("*.0.0.1", "https://127.0.0.1/a", false),
        ] {
            assert_eq!(allows(pattern, url), expected, "{pattern} {url}");
        }
        for text in ["", "*", "https://cap.example", "cap.example/path", "*.", "cap.example:x", "a b"] {
            assert!(text.parse::<AllowedHost>().is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn no_form_of_an_inner_address_counts_as_public() {
        for text in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "::ffff:127.0.0.1",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
        ] {
            assert!(!is_public(text.parse().expect("an address")), "{text}");
        }
        for text in ["1.1.1.1", "223.5.5.5", "2606:4700::1111", "240e:1::1", "64:ff9b::101:101"] {
            assert!(is_public(text.parse().expect("an address")), "{text}");
        }
    }

    #[test]
    fn addresses_written_as_numbers_are_seen_for_what_they_are() {
        for url in ["http://2130706433/", "http://0x7f.1/", "http://127.1/", "http://[::ffff:7f00:1]/", "http://[::1]/"] {
            let address = literal(&url.parse().expect("a url")).unwrap_or_else(|| panic!("{url} is no address"));
            assert!(!is_public(address), "{url}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_gives_no_address() {
        let name = || -> Name { "localhost".parse().expect("a name") };
        let found = PublicOnly::shared().resolve(name()).await;
        assert!(found.is_err_and(|error| error.to_string().contains("not in the open net")));
        let named = PublicOnly::but(vec!["localhost".parse().expect("a host")]).resolve(name()).await;
        assert!(named.is_ok_and(|mut found| found.next().is_some()), "the configuration names it");
        assert!(
            is_inside("localhost").await && is_inside("::1").await && !is_inside("223.5.5.5").await && !is_inside("no.such.invalid").await
        );
    }
}
