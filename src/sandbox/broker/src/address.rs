//! Which addresses are of the public Internet; nothing else is ever connected to.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use serde::{Deserialize, Serialize};

/// Why an address is not of the public Internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// `0.0.0.0/8` and `::`: this host, to some systems.
    Unspecified,
    Loopback,
    /// RFC 1918 and `fc00::/7`: the networks behind the router.
    Private,
    /// `100.64.0.0/10`: the provider's side of a shared address, RFC 6598.
    Shared,
    LinkLocal,
    /// Where a cloud hands out the machine's own credentials and settings.
    Metadata,
    Multicast,
    Documentation,
    Benchmarking,
    /// An IPv4 address inside an IPv6 one: mapped, translated or tunnelled.
    Embedded,
    /// Set aside for protocols or for later.
    Reserved,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "unspecified",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::Shared => "of a provider's shared network",
            Self::LinkLocal => "link-local",
            Self::Metadata => "of a cloud's metadata service",
            Self::Multicast => "multicast",
            Self::Documentation => "for documentation",
            Self::Benchmarking => "for benchmarks",
            Self::Embedded => "an IPv4 address in disguise",
            Self::Reserved => "reserved",
        })
    }
}

/// IPv4 blocks that are not public; of two that hold an address, the first counts.
/// IANA IPv4 Special-Purpose Address Registry, and the metadata services that lie outside of it.
const V4: &[(Ipv4Addr, u32, Class)] = &[
    (Ipv4Addr::new(169, 254, 169, 254), 32, Class::Metadata), // AWS, Google, Azure and others
    (Ipv4Addr::new(169, 254, 170, 2), 32, Class::Metadata),   // AWS containers
    (Ipv4Addr::new(168, 63, 129, 16), 32, Class::Metadata),   // Azure, though the block is public
    (Ipv4Addr::new(100, 100, 100, 200), 32, Class::Metadata), // Alibaba
    (Ipv4Addr::new(192, 0, 0, 192), 32, Class::Metadata),     // Oracle
    (Ipv4Addr::UNSPECIFIED, 8, Class::Unspecified),
    (Ipv4Addr::new(10, 0, 0, 0), 8, Class::Private),
    (Ipv4Addr::new(100, 64, 0, 0), 10, Class::Shared),
    (Ipv4Addr::new(127, 0, 0, 0), 8, Class::Loopback),
    (Ipv4Addr::new(169, 254, 0, 0), 16, Class::LinkLocal),
    (Ipv4Addr::new(172, 16, 0, 0), 12, Class::Private),
    (Ipv4Addr::new(192, 0, 0, 0), 24, Class::Reserved),
    (Ipv4Addr::new(192, 0, 2, 0), 24, Class::Documentation),
    (Ipv4Addr::new(192, 88, 99, 0), 24, Class::Reserved), // relays of 6to4
    (Ipv4Addr::new(192, 168, 0, 0), 16, Class::Private),
    (Ipv4Addr::new(198, 18, 0, 0), 15, Class::Benchmarking),
    (Ipv4Addr::new(198, 51, 100, 0), 24, Class::Documentation),
    (Ipv4Addr::new(203, 0, 113, 0), 24, Class::Documentation),
    (Ipv4Addr::new(224, 0, 0, 0), 4, Class::Multicast),
    (Ipv4Addr::new(240, 0, 0, 0), 4, Class::Reserved), // with the broadcast address
];

/// The same for IPv6. What is in none of these is public only inside `2000::/3`.
const V6: &[(Ipv6Addr, u32, Class)] = &[
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0), 32, Class::Metadata), // AWS
    (Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), 128, Class::Metadata), // Google
    (Ipv6Addr::UNSPECIFIED, 128, Class::Unspecified),
    (Ipv6Addr::LOCALHOST, 128, Class::Loopback),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, Class::Embedded), // mapped
    (Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0), 96, Class::Embedded), // translated, RFC 2765
    (Ipv6Addr::UNSPECIFIED, 96, Class::Embedded),                      // compatible
    (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96, Class::Embedded), // NAT64
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48, Class::Embedded), // NAT64 of one network
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, Class::Embedded), // Teredo
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, Class::Embedded), // 6to4
    (Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0), 48, Class::Benchmarking),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, Class::Reserved), // protocols, ORCHID
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, Class::Documentation),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, Class::Documentation),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, Class::Private),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, Class::LinkLocal),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, Class::Private), // site-local
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, Class::Multicast),
];

/// Public unicast: nothing else of IPv6 is assigned to anybody.
const GLOBAL: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// `Ok` for an address of the public Internet.
///
/// # Errors
/// What it is instead.
pub fn check(address: IpAddr) -> Result<(), Class> {
    let found = match address {
        IpAddr::V4(address) => V4.iter().find(|(block, bits, _)| within_v4(address, *block, *bits)).map(|row| row.2),
        IpAddr::V6(address) => V6
            .iter()
            .find(|(block, bits, _)| within_v6(address, *block, *bits))
            .map(|row| row.2)
            .or_else(|| (!within_v6(address, GLOBAL.0, GLOBAL.1)).then_some(Class::Reserved)),
    };
    found.map_or(Ok(()), Err)
}

/// `bits` is 1 to 32.
fn within_v4(address: Ipv4Addr, block: Ipv4Addr, bits: u32) -> bool {
    (address.to_bits() ^ block.to_bits()) >> (32 - bits) == 0
}

/// `bits` is 1 to 128.
fn within_v6(address: Ipv6Addr, block: Ipv6Addr, bits: u32) -> bool {
    (address.to_bits() ^ block.to_bits()) >> (128 - bits) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use Class::{
        Benchmarking, Documentation, Embedded, LinkLocal, Loopback, Metadata, Multicast, Private, Reserved, Shared,
        Unspecified,
    };

    const TABLE: &[(&str, Option<Class>)] = &[
        ("0.0.0.0", Some(Unspecified)),
        ("0.1.2.3", Some(Unspecified)),
        ("1.0.0.0", None),
        ("1.1.1.1", None),
        ("8.8.8.8", None),
        ("9.255.255.255", None),
        ("10.0.0.0", Some(Private)),
        ("10.255.255.255", Some(Private)),
        ("11.0.0.0", None),
        ("93.184.216.34", None),
        ("100.63.255.255", None),
        ("100.64.0.0", Some(Shared)),
        ("100.100.100.100", Some(Shared)),
        ("100.100.100.200", Some(Metadata)),
        ("100.127.255.255", Some(Shared)),
        ("100.128.0.0", None),
        ("126.255.255.255", None),
        ("127.0.0.1", Some(Loopback)),
        ("127.255.255.255", Some(Loopback)),
        ("128.0.0.0", None),
        ("168.63.129.15", None),
        ("168.63.129.16", Some(Metadata)),
        ("169.253.255.255", None),
        ("169.254.0.1", Some(LinkLocal)),
        ("169.254.169.253", Some(LinkLocal)),
        ("169.254.169.254", Some(Metadata)),
        ("169.254.170.2", Some(Metadata)),
        ("169.255.0.0", None),
        ("172.15.255.255", None),
        ("172.16.0.0", Some(Private)),
        ("172.31.255.255", Some(Private)),
        ("172.32.0.0", None),
        ("192.0.0.1", Some(Reserved)),
        ("192.0.0.192", Some(Metadata)),
        ("192.0.1.0", None),
        ("192.0.2.1", Some(Documentation)),
        ("192.88.99.1", Some(Reserved)),
        ("192.167.255.255", None),
        ("192.168.0.1", Some(Private)),
        ("192.169.0.0", None),
        ("198.17.255.255", None),
        ("198.18.0.1", Some(Benchmarking)),
        ("198.19.255.255", Some(Benchmarking)),
        ("198.20.0.0", None),
        ("198.51.100.7", Some(Documentation)),
        ("203.0.113.7", Some(Documentation)),
        ("223.255.255.255", None),
        ("224.0.0.1", Some(Multicast)),
        ("239.255.255.250", Some(Multicast)),
        ("240.0.0.1", Some(Reserved)),
        ("255.255.255.255", Some(Reserved)),
        ("::", Some(Unspecified)),
        ("::1", Some(Loopback)),
        ("::2", Some(Embedded)),
        ("::127.0.0.1", Some(Embedded)),
        ("::ffff:127.0.0.1", Some(Embedded)),
        ("::ffff:8.8.8.8", Some(Embedded)),
        ("::ffff:0:127.0.0.1", Some(Embedded)),
        ("64:ff9b::a9fe:a9fe", Some(Embedded)),
        ("64:ff9b::8.8.8.8", Some(Embedded)),
        ("64:ff9b:1::1", Some(Embedded)),
        ("100::1", Some(Reserved)),
        ("1fff:ffff::1", Some(Reserved)),
        ("2001::1", Some(Embedded)),
        ("2001:0:53aa:64c:1::", Some(Embedded)),
        ("2001:2::1", Some(Benchmarking)),
        ("2001:10::1", Some(Reserved)),
        ("2001:20::1", Some(Reserved)),
        ("2001:1ff:ffff::1", Some(Reserved)),
        ("2001:200::1", None),
        ("2001:db8::1", Some(Documentation)),
        ("2001:db9::1", None),
        ("2001:4860:4860::8888", None),
        ("2002:7f00:1::", Some(Embedded)),
        ("2002:a9fe:a9fe::1", Some(Embedded)),
        ("2003::1", None),
        ("2606:4700::1111", None),
        ("2a00:1450:4001::1", None),
        ("3ffe::1", None),
        ("3fff:0fff::1", Some(Documentation)),
        ("3fff:1000::1", None),
        ("4000::1", Some(Reserved)),
        ("5f00::1", Some(Reserved)),
        ("fc00::1", Some(Private)),
        ("fd12:3456::1", Some(Private)),
        ("fd00:ec2::254", Some(Metadata)),
        ("fd20:ce::254", Some(Metadata)),
        ("fe80::1", Some(LinkLocal)),
        ("febf::1", Some(LinkLocal)),
        ("fec0::1", Some(Private)),
        ("ff02::1", Some(Multicast)),
        ("ff0e::1", Some(Multicast)),
    ];

    #[test]
    fn only_public_addresses_pass() {
        const { assert!(TABLE.len() >= 60) };
        for (text, class) in TABLE {
            assert_eq!(check(text.parse().unwrap()).err(), *class, "{text}");
        }
    }

    proptest::proptest! {
        /// What the standard library knows to be special is never public here.
        #[test]
        fn nothing_special_is_public(bits: u32, wide: u128) {
            let four = Ipv4Addr::from_bits(bits);
            if four.is_private() || four.is_loopback() || four.is_link_local() || four.is_multicast()
                || four.is_broadcast() || four.is_documentation() || four.is_unspecified() {
                assert!(check(four.into()).is_err(), "{four}");
            }
            assert!(check(four.to_ipv6_mapped().into()).is_err());
            assert!(check(four.to_ipv6_compatible().into()).is_err());
            let six = Ipv6Addr::from_bits(wide);
            if six.is_unique_local() || six.is_unicast_link_local() || six.is_multicast() || six.to_ipv4().is_some() {
                assert!(check(six.into()).is_err(), "{six}");
            }
        }
    }
}
