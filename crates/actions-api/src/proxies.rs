//! Where a request comes from, where proxies stand before the server.
//!
//! A proxy that is trusted says so in `X-Forwarded-For` or `Forwarded` (RFC 7239); anybody can write
//! these headers, so only what trusted hops have added counts: the list is read from its end, and the
//! first address that is no trusted proxy is the one.

use std::net::{IpAddr, SocketAddr};

use actions_domain::limits::FORWARDED_HOPS_MAX;
use axum::http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Networks of proxies that are believed. The default believes nobody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Networks like `10.0.0.0/8`, or single addresses.
    ///
    /// # Errors
    /// Which of them is none.
    pub fn new(networks: &[String]) -> Result<Self, String> {
        let read = |raw: &String| {
            let network = raw.parse::<IpNet>().ok();
            let single = || raw.parse::<IpAddr>().ok().map(IpNet::from);
            network.or_else(single).ok_or_else(|| {
                format!("{raw:?} is no network; expected one like 10.0.0.0/8, or an address")
            })
        };
        networks.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// The address that a request comes from. `peer` is the other end of the connection.
    pub(crate) fn origin(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.trusts(peer) {
            return peer;
        }
        let listed = list(headers, &X_FORWARDED_FOR, address);
        let forwarded = list(headers, &header::FORWARDED, forwarded_for);
        match (listed, forwarded) {
            (Some(listed), None) => self.walk(peer, &listed),
            (None, Some(forwarded)) => self.walk(peer, &forwarded),
            (None, None) => peer,
            // A proxy that writes one of them may pass on what anybody wrote into the other.
            (Some(listed), Some(forwarded)) => {
                let (one, other) = (self.walk(peer, &listed), self.walk(peer, &forwarded));
                if one == other { one } else { peer }
            }
        }
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// From the nearest hop to the first that is not trusted. What cannot be read ends the way.
    fn walk(&self, peer: IpAddr, hops: &[Option<IpAddr>]) -> IpAddr {
        let mut last = peer;
        for hop in hops.iter().rev().take(FORWARDED_HOPS_MAX) {
            let Some(hop) = hop else { break };
            last = *hop;
            if !self.trusts(last) {
                break;
            }
        }
        last
    }
}

/// The addresses of a header that may be there several times. `None`: it is not there.
fn list(
    headers: &HeaderMap,
    name: &HeaderName,
    read: impl Fn(&str) -> Option<IpAddr>,
) -> Option<Vec<Option<IpAddr>>> {
    let mut values = headers.get_all(name).iter().peekable();
    values.peek()?;
    let mut found = Vec::new();
    for value in values {
        match value.to_str() {
            Ok(text) => found.extend(text.split(',').map(&read)),
            Err(_) => found.push(None),
        }
    }
    Some(found)
}

/// `for=192.0.2.60;proto=http`, `for="[2001:db8::1]:4711"`.
fn forwarded_for(part: &str) -> Option<IpAddr> {
    let mut pairs = part.split(';').filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.eq_ignore_ascii_case("for"))?;
    address(value.trim().trim_matches('"'))
}

fn address(raw: &str) -> Option<IpAddr> {
    let raw = raw.trim();
    let bare = raw.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let alone = bare.unwrap_or(raw).parse::<IpAddr>().ok();
    let found = alone.or_else(|| raw.parse::<SocketAddr>().ok().map(|address| address.ip()));
    found.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use axum::http::{HeaderMap, HeaderName, HeaderValue};

    use super::TrustedProxies;

    fn origin(peer: &str, pairs: &[(&'static str, &str)]) -> String {
        let networks = ["10.0.0.0/8".to_owned(), "2001:db8:ff::/48".to_owned()];
        let proxies = TrustedProxies::new(&networks).unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let value = HeaderValue::from_str(value).unwrap();
            headers.append(HeaderName::from_static(name), value);
        }
        proxies.origin(peer.parse::<IpAddr>().unwrap(), &headers).to_string()
    }

    #[test]
    fn only_what_trusted_hops_have_written_counts() {
        let xff = |peer: &str, value: &str| origin(peer, &[("x-forwarded-for", value)]);
        assert_eq!(xff("192.0.2.1", "198.51.100.7"), "192.0.2.1", "a stranger is not believed");
        assert_eq!(xff("10.0.0.1", "198.51.100.7"), "198.51.100.7");
        assert_eq!(xff("::ffff:10.0.0.1", "198.51.100.7"), "198.51.100.7");
        assert_eq!(xff("10.0.0.1", "203.0.113.9, 198.51.100.7"), "198.51.100.7", "the nearest one");
        assert_eq!(xff("10.0.0.1", "198.51.100.7, 10.0.0.2,10.0.0.3"), "198.51.100.7");
        assert_eq!(xff("10.0.0.1", "10.0.0.5, 10.0.0.2"), "10.0.0.5", "all are ours");
        assert_eq!(xff("10.0.0.1", "198.51.100.7, junk"), "10.0.0.1");
        assert_eq!(xff("10.0.0.1", "junk, 198.51.100.7"), "198.51.100.7");
        assert_eq!(xff("10.0.0.1", ""), "10.0.0.1");
        assert_eq!(xff("10.0.0.1", "198.51.100.7:4711"), "198.51.100.7");
        assert_eq!(xff("2001:db8:ff::1", "[2001:db8::7]:4711"), "2001:db8::7");
        assert_eq!(origin("10.0.0.1", &[]), "10.0.0.1");
        let twice = [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "198.51.100.7")];
        assert_eq!(origin("10.0.0.1", &twice), "198.51.100.7");
    }

    #[test]
    fn both_headers_have_to_agree() {
        let forwarded = |value: &str| origin("10.0.0.1", &[("forwarded", value)]);
        assert_eq!(forwarded("for=198.51.100.7;proto=https"), "198.51.100.7");
        assert_eq!(forwarded("For=\"[2001:db8::7]:47\", for=10.0.0.3"), "2001:db8::7");
        assert_eq!(forwarded("for=unknown"), "10.0.0.1");
        assert_eq!(forwarded("proto=https"), "10.0.0.1");
        let both = |listed: &str, forwarded: &str| {
            origin("10.0.0.1", &[("x-forwarded-for", listed), ("forwarded", forwarded)])
        };
        assert_eq!(both("198.51.100.7", "for=198.51.100.7"), "198.51.100.7");
        assert_eq!(both("198.51.100.7", "for=203.0.113.9"), "10.0.0.1", "one of them is made up");
    }

    #[test]
    fn a_long_list_costs_little() {
        let many = vec!["10.0.0.2"; 10_000].join(",");
        assert_eq!(origin("10.0.0.1", &[("x-forwarded-for", &many)]), "10.0.0.2");
    }

    #[test]
    fn what_is_no_network_is_named() {
        assert!(TrustedProxies::new(&["10.0.0.1".to_owned(), "::1".to_owned()]).is_ok());
        let error = TrustedProxies::new(&["10.0.0.0/33".to_owned()]).unwrap_err();
        assert!(error.contains("10.0.0.0/33"), "{error}");
    }
}
