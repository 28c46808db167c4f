use assistant_api::ErrorKind;

use super::*;

#[test]
fn who_can_reach_an_address() {
    let table = [
        ("127.0.0.1", Reach::Loopback),
        ("127.255.0.9", Reach::Loopback),
        ("::1", Reach::Loopback),
        ("::ffff:127.0.0.1", Reach::Loopback),
        ("10.0.0.1", Reach::Private),
        ("10.255.255.255", Reach::Private),
        ("172.16.0.1", Reach::Private),
        ("172.31.255.254", Reach::Private),
        ("192.168.1.50", Reach::Private),
        ("169.254.10.1", Reach::Private),
        ("100.64.0.1", Reach::Private),
        ("100.127.255.255", Reach::Private),
        ("fd12:3456::1", Reach::Private),
        ("fc00::1", Reach::Private),
        ("fe80::1", Reach::Private),
        ("::ffff:192.168.1.50", Reach::Private),
        ("0.0.0.0", Reach::Every),
        ("::", Reach::Every),
        ("::ffff:0.0.0.0", Reach::Every),
        ("1.1.1.1", Reach::Public),
        ("9.255.255.255", Reach::Public),
        ("11.0.0.0", Reach::Public),
        ("172.15.255.255", Reach::Public),
        ("172.32.0.0", Reach::Public),
        ("192.167.255.255", Reach::Public),
        ("192.169.0.0", Reach::Public),
        ("169.253.255.255", Reach::Public),
        ("100.63.255.255", Reach::Public),
        ("100.128.0.0", Reach::Public),
        ("0.0.0.1", Reach::Public),
        ("224.0.0.1", Reach::Public),
        ("255.255.255.255", Reach::Public),
        ("203.0.113.7", Reach::Public),
        ("2001:4860:4860::8888", Reach::Public),
        ("::ffff:8.8.8.8", Reach::Public),
        // Deprecated or translated forms of IPv4 addresses are not what they stand for.
        ("::127.0.0.1", Reach::Public),
        ("64:ff9b::10.0.0.1", Reach::Public),
        ("2002:c0a8:0101::1", Reach::Public),
        ("fec0::1", Reach::Public),
        ("ff02::1", Reach::Public),
        ("fe00::1", Reach::Public),
    ];
    for (address, reach) in table {
        assert_eq!(Reach::of(address.parse().unwrap()), reach, "{address}");
    }
}

#[test]
fn what_reaches_too_far_has_to_be_meant() {
    let mut config = Config::default();
    for open in ["0.0.0.0:8000", "[::]:8000", "[::ffff:0.0.0.0]:8000", "8.8.8.8:80", "[2001:db8::1]:443"] {
        let address: SocketAddr = open.parse().unwrap();
        let refused = allow(address, &config).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Validation, "which ends the program with 78");
        assert!(refused.message().contains(&address.to_string()), "{refused}");
        let hint = refused.hint_text().unwrap();
        assert!(hint.contains("allow_public_bind") && hint.contains("AGENT_API_ALLOW_PUBLIC_BIND"), "{hint}");
    }
    for near in ["127.0.0.1:8000", "192.168.1.50:8000", "[fd00::7]:8000", "100.100.1.1:8000"] {
        allow(near.parse().unwrap(), &config).unwrap();
    }
    config.api.allow_public_bind = true;
    allow("0.0.0.0:8000".parse().unwrap(), &config).unwrap();
}
