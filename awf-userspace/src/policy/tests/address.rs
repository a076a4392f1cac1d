//! Address classes, in every disguise of an IPv4 address.

use std::net::{IpAddr, Ipv4Addr};

use crate::policy::{AddressClass, AddressClass::*};

fn class(text: &str) -> AddressClass {
    AddressClass::of(text.parse().unwrap())
}

#[test]
fn ipv4_classes_end_where_they_should() {
    for (text, expected) in [
        ("0.0.0.0", Unspecified),
        ("0.255.255.255", Unspecified),
        ("1.0.0.0", Global),
        ("9.255.255.255", Global),
        ("10.0.0.0", Private),
        ("10.255.255.255", Private),
        ("11.0.0.0", Global),
        ("100.63.255.255", Global),
        ("100.64.0.0", CarrierNat),
        ("100.127.255.255", CarrierNat),
        ("100.128.0.0", Global),
        ("126.255.255.255", Global),
        ("127.0.0.1", Loopback),
        ("127.255.255.255", Loopback),
        ("128.0.0.0", Global),
        ("169.253.255.255", Global),
        ("169.254.0.0", LinkLocal),
        ("169.254.255.255", LinkLocal),
        ("169.255.0.0", Global),
        ("172.15.255.255", Global),
        ("172.16.0.0", Private),
        ("172.31.255.255", Private),
        ("172.32.0.0", Global),
        ("192.0.0.1", Reserved),
        ("192.0.1.0", Global),
        ("192.88.99.1", Reserved),
        ("192.167.255.255", Global),
        ("192.168.0.0", Private),
        ("192.169.0.0", Global),
        ("198.17.255.255", Global),
        ("198.18.0.0", Reserved),
        ("198.19.255.255", Reserved),
        ("198.20.0.0", Global),
        ("223.255.255.255", Global),
        ("224.0.0.1", Multicast),
        ("239.255.255.255", Multicast),
        ("240.0.0.1", Reserved),
        ("255.255.255.255", Reserved),
        ("169.254.169.254", Metadata),
        ("169.254.170.2", Metadata),
        ("168.63.129.16", Metadata),
        ("100.100.100.200", Metadata),
        ("192.0.2.1", Global),
        ("198.51.100.1", Global),
        ("203.0.113.1", Global),
    ] {
        assert_eq!(class(text), expected, "{text}");
    }
}

#[test]
fn ipv6_classes_end_where_they_should() {
    for (text, expected) in [
        ("::", Unspecified),
        ("::1", Loopback),
        ("2001:db8::1", Global),
        ("2606:4700::1", Global),
        ("fc00::1", Private),
        ("fdff::1", Private),
        ("fe80::1", LinkLocal),
        ("febf::1", LinkLocal),
        ("fec0::1", Private),
        ("ff02::1", Multicast),
        ("fd00:ec2::254", Metadata),
        ("fd20:ce::254", Metadata),
        ("100::1", Reserved),
        ("64:ff9b:1::a00:1", Reserved),
        ("5f00::1", Reserved),
        ("1fff::1", Reserved),
        ("2000::1", Global),
        ("3fff::1", Global),
        ("4000::1", Reserved),
        ("2001:2::1", Reserved),
        ("2001:20::1", Reserved),
        ("2001:3f::1", Reserved),
        ("2001:40::1", Global),
        ("fe00::1", Reserved),
        ("fe80::5efe:198.51.100.1", LinkLocal),
        ("fd00::200:5efe:198.51.100.1", Private),
        ("64:ff9b:1::5efe:198.51.100.1", Reserved),
    ] {
        assert_eq!(class(text), expected, "{text}");
    }
}

#[test]
fn an_ipv4_address_is_what_it_is_in_every_ipv6_disguise() {
    for v4 in
        ["127.0.0.1", "10.0.0.1", "169.254.169.254", "169.254.1.1", "100.64.0.1", "224.0.0.1", "198.51.100.1"]
    {
        let ip: Ipv4Addr = v4.parse().unwrap();
        let [a, b, c, d] = ip.octets().map(u16::from);
        let (high, low) = ((a << 8) | b, (c << 8) | d);
        let expected = AddressClass::of(ip.into());
        for disguise in [
            format!("::ffff:{v4}"),
            format!("::{v4}"),
            format!("::ffff:0:{v4}"),
            format!("64:ff9b::{v4}"),
            format!("2002:{high:x}:{low:x}::1"),
            format!("2001:0:{high:x}:{low:x}::"),
            format!("2001:db8::5efe:{v4}"),
            format!("2001:db8:1:2:200:5efe:{v4}"),
            format!("2002:c633:6401::5efe:{v4}"),
            format!("2001:0:c633:6401::{:x}:{:x}", !high, !low),
        ] {
            let got = AddressClass::of(disguise.parse::<IpAddr>().unwrap());
            // A Teredo address with zeros for its client carries 255.255.255.255, too.
            let teredo = got == Reserved && disguise.starts_with("2001:0:") && expected == Global;
            assert!(got == expected || teredo, "{disguise} is {got:?}, {v4} is {expected:?}");
        }
    }
}
