//! Which addresses are forbidden, and why.
//!
//! IPv4 inside IPv6 is unwrapped first and judged as IPv4: mapped, translatable, compatible,
//! 6to4 and NAT64 addresses lead to the same machines as the bare ones.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// What an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Public,
    /// Not public. `plain` is the address without its wrapping.
    Special {
        class: &'static str,
        plain: IpAddr,
    },
    /// Hands out credentials. Nothing opens it.
    Metadata,
}

/// Judges an address by its class.
pub fn judge(ip: IpAddr) -> Verdict {
    if METADATA.contains(&ip) {
        return Verdict::Metadata;
    }
    match ip {
        IpAddr::V4(ip) => judge_v4(ip),
        IpAddr::V6(ip) => judge_v6(ip),
    }
}

const METADATA: [IpAddr; 9] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    // A public address, but inside Azure it is the host.
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

const fn v4(a: u8, b: u8, c: u8, d: u8, bits: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), bits)
}

const SPECIAL_V4: [(Ipv4Net, &str); 17] = [
    (v4(0, 0, 0, 0, 8), "it is an address of this network (0/8)"),
    (v4(10, 0, 0, 0, 8), "it is private (10/8)"),
    (v4(100, 64, 0, 0, 10), "it belongs to a carrier's NAT (100.64/10)"),
    (v4(127, 0, 0, 0, 8), "it is loopback (127/8)"),
    (v4(169, 254, 0, 0, 16), "it is link-local (169.254/16)"),
    (v4(172, 16, 0, 0, 12), "it is private (172.16/12)"),
    (v4(192, 0, 0, 0, 24), "it is reserved for protocols (192.0.0/24)"),
    (v4(192, 0, 2, 0, 24), "it is for documentation (192.0.2/24)"),
    (v4(192, 88, 99, 0, 24), "it is a 6to4 relay (192.88.99/24)"),
    (v4(192, 168, 0, 0, 16), "it is private (192.168/16)"),
    (v4(198, 18, 0, 0, 15), "it is for benchmarks (198.18/15)"),
    (v4(198, 51, 100, 0, 24), "it is for documentation (198.51.100/24)"),
    (v4(203, 0, 113, 0, 24), "it is for documentation (203.0.113/24)"),
    (v4(224, 0, 0, 0, 4), "it is multicast (224/4)"),
    (v4(255, 255, 255, 255, 32), "it is broadcast"),
    (v4(240, 0, 0, 0, 4), "it is reserved (240/4)"),
    (v4(192, 31, 196, 0, 24), "it is reserved for protocols (192.31.196/24)"),
];

fn judge_v4(ip: Ipv4Addr) -> Verdict {
    match SPECIAL_V4.iter().find(|(net, _)| net.contains(&ip)) {
        Some((_, class)) => Verdict::Special { class, plain: IpAddr::V4(ip) },
        None => Verdict::Public,
    }
}

const fn v6(a: u16, b: u16, c: u16, bits: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), bits)
}

const SPECIAL_V6: [(Ipv6Net, &str); 9] = [
    (v6(0xfe80, 0, 0, 10), "it is link-local (fe80::/10)"),
    (v6(0xfec0, 0, 0, 10), "it is site-local (fec0::/10)"),
    (v6(0xfc00, 0, 0, 7), "it is private (fc00::/7)"),
    (v6(0xff00, 0, 0, 8), "it is multicast (ff00::/8)"),
    (v6(0x2001, 0xdb8, 0, 32), "it is for documentation (2001:db8::/32)"),
    (v6(0x3fff, 0, 0, 20), "it is for documentation (3fff::/20)"),
    // Teredo holds two IPv4 addresses, one of them masked, and is dead: not worth judging.
    (v6(0x2001, 0, 0, 23), "it is Teredo or reserved for protocols (2001::/23)"),
    (v6(0x5f00, 0, 0, 16), "it belongs to segment routing (5f00::/16)"),
    (LOCAL_NAT64, "it is local NAT64 (64:ff9b:1::/48)"),
];

/// The position of its IPv4 address is the operator's choice, so it is not unwrapped.
const LOCAL_NAT64: Ipv6Net = v6(0x64, 0xff9b, 1, 48);

/// Where the internet is.
const GLOBAL_V6: Ipv6Net = v6(0x2000, 0, 0, 3);

fn judge_v6(ip: Ipv6Addr) -> Verdict {
    if ip.is_unspecified() || ip.is_loopback() {
        return Verdict::Special { class: "it is loopback (::1)", plain: IpAddr::V6(ip) };
    }
    if let Some(inner) = unwrapped(ip) {
        return judge(IpAddr::V4(inner));
    }
    let is_metadata = |inner: &Ipv4Addr| METADATA.contains(&IpAddr::V4(*inner));
    if LOCAL_NAT64.contains(&ip) && carried(ip).iter().any(is_metadata) {
        return Verdict::Metadata;
    }
    let special = SPECIAL_V6.iter().find(|(net, _)| net.contains(&ip));
    match special {
        Some((_, class)) => Verdict::Special { class, plain: IpAddr::V6(ip) },
        None if GLOBAL_V6.contains(&ip) => Verdict::Public,
        None => Verdict::Special { class: "it is not a global address", plain: IpAddr::V6(ip) },
    }
}

/// Each IPv4 address that one of local NAT64 may carry (RFC 6052, section 2.2).
fn carried(ip: Ipv6Addr) -> [Ipv4Addr; 4] {
    let octets = ip.octets();
    [[6, 7, 9, 10], [7, 9, 10, 11], [9, 10, 11, 12], [12, 13, 14, 15]]
        .map(|places| Ipv4Addr::from(places.map(|place: usize| octets[place])))
}

/// An address without the wrapping of IPv4 in IPv6.
pub fn plain(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => unwrapped(v6).map_or(ip, IpAddr::V4),
    }
}

/// The IPv4 address that an IPv6 address carries.
fn unwrapped(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let last = || {
        let octets = ip.octets();
        Ipv4Addr::new(octets[12], octets[13], octets[14], octets[15])
    };
    match ip.segments() {
        // Compatible, mapped, translatable.
        [0, 0, 0, 0, 0, 0 | 0xffff, _, _] | [0, 0, 0, 0, 0xffff, 0, _, _] => Some(last()),
        // NAT64: with DNS64 every IPv4 host is reached through it, so the public ones are open.
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] => Some(last()),
        // 6to4.
        [0x2002, high, low, ..] => {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            Some(Ipv4Addr::new(a, b, c, d))
        }
        _ => None,
    }
}
