//! Owns telling where a request comes from: what the connection says, or what a reverse proxy says that the county trusts.
//! Refuses to judge by it. Invariant: nobody but a trusted proxy moves anybody's address.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};

use crate::network::Network;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Proxies in a row; beyond it somebody plays with the header.
const HOPS_MAX: usize = 16;

pub(super) fn is_among(address: IpAddr, networks: &[Network]) -> bool {
    networks.iter().any(|network| network.contains(address))
}

/// Who asks, seen from `peer`: each proxy adds at the end whom it heard, so the list is read from there until somebody is not trusted.
/// `None` is a trusted proxy that does not say for whom it asks: it may stand for everybody.
pub(super) fn client(peer: IpAddr, headers: &HeaderMap, proxies: &[Network]) -> Option<IpAddr> {
    if !is_among(peer, proxies) {
        return Some(peer.to_canonical());
    }
    let lists: Vec<&str> = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()).collect();
    let said = lists.iter().rev().flat_map(|list| list.rsplit(',')).take(HOPS_MAX).map(|text| address(text.trim()));
    for heard in said {
        // What cannot be read was not written by a proxy of ours; what lies before it counts even less.
        let heard = heard?;
        if !is_among(heard, proxies) {
            return Some(heard);
        }
    }
    None
}

/// An address as proxies write it, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let found = bare.parse().ok().or_else(|| text.parse().ok().map(|with_port: SocketAddr| with_port.ip()));
    found.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client_of(peer: &str, said: &[&str]) -> Option<String> {
        let proxies: Vec<Network> = ["127.0.0.0/8", "10.0.0.5"].iter().map(|text| text.parse().expect("a network")).collect();
        let mut headers = HeaderMap::new();
        for line in said {
            headers.append(FORWARDED_FOR, line.parse().expect("a header"));
        }
        client(peer.parse().expect("an address"), &headers, &proxies).map(|address| address.to_string())
    }

    #[test]
    fn only_a_trusted_proxy_says_who_asks() {
        assert_eq!(client_of("203.0.113.7", &["198.51.100.1"]).as_deref(), Some("203.0.113.7"), "a stranger's header says nothing");
        assert_eq!(client_of("127.0.0.1", &["198.51.100.1"]).as_deref(), Some("198.51.100.1"));
        assert_eq!(
            client_of("127.0.0.1", &["192.0.2.9, 198.51.100.1"]).as_deref(),
            Some("198.51.100.1"),
            "what the client claims is not taken"
        );
        assert_eq!(
            client_of("127.0.0.1", &["192.0.2.9", "198.51.100.1, 10.0.0.5"]).as_deref(),
            Some("198.51.100.1"),
            "two proxies in a row"
        );
        assert_eq!(client_of("::ffff:127.0.0.1", &["[2001:db8::1]:4711"]).as_deref(), Some("2001:db8::1"));
        assert_eq!(client_of("127.0.0.1", &["198.51.100.1:80"]).as_deref(), Some("198.51.100.1"));
    }

    #[test]
    fn a_proxy_that_names_nobody_stands_for_everybody() {
        for said in [&[][..], &[""], &["unknown"], &["198.51.100.1, nonsense"], &["127.0.0.1"]] {
            assert_eq!(client_of("127.0.0.1", said), None, "{said:?}");
        }
        let hops = vec!["127.0.0.1"; 1_000].join(",");
        assert_eq!(client_of("127.0.0.1", &["198.51.100.1", &hops]), None);
    }
}
