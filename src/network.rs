//! Owns networks as a county writes them down (`10.0.0.0/8`, `192.168.1.5`) and what of an address tells one customer from another.
//! Refuses to know who uses them. Invariant: an IPv4 address that is written as IPv6 counts as IPv4.

use std::{
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use ipnet::IpNet;

/// A customer's line is given this many bits of IPv6 at most; all behind it are one.
const CUSTOMER_BITS: u32 = 64;

/// An address, or all that share its front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

impl FromStr for Network {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let alone = || text.parse().ok().map(|address: IpAddr| IpNet::from(address.to_canonical()));
        text.parse().ok().or_else(alone).map(Self).ok_or("must be an address or a network, such as 192.168.1.5 or 10.0.0.0/8")
    }
}

impl Network {
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

/// One computer, or the network that one customer is given: whoever has the one has all of the other.
pub fn customer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => IpAddr::from(Ipv6Addr::from_bits(six.to_bits() >> CUSTOMER_BITS << CUSTOMER_BITS)),
        four @ IpAddr::V4(_) => four,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_and_a_network_are_read_and_hold_what_lies_in_them() {
        let holds =
            |network: &str, address: &str| network.parse::<Network>().expect("a network").contains(address.parse().expect("an address"));
        assert!(holds("127.0.0.0/8", "127.9.9.9") && holds("127.0.0.0/8", "::ffff:127.0.0.1") && holds("10.0.0.5", "10.0.0.5"));
        assert!(holds("::1", "::1") && holds("fd00::/8", "fd12::1"));
        assert!(!holds("10.0.0.5", "10.0.0.6") && !holds("0.0.0.0/0", "::1"));
        for wrong in ["", "proxy.example", "10.0.0.0/33", "10.0.0", "10.0.0.5:80"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn neighbours_behind_one_line_are_one_customer() {
        let of = |text: &str| customer(text.parse().expect("an address")).to_string();
        assert_eq!(
            (of("2001:db8:0:1::7"), of("::ffff:192.0.2.1"), of("192.0.2.1")),
            ("2001:db8:0:1::".into(), "192.0.2.1".into(), "192.0.2.1".into())
        );
    }
}
