//! Where a tenant's handlers may connect to, beside what holds for everybody.
//!
//! It can open networks for this tenant alone, and it can close what is open. What hands out a cloud's
//! credentials is opened by nothing: that is the gate's own rule.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::{REACH_PLACE_BYTES_MAX, REACH_PLACES_MAX};

/// The lists of one tenant. Without any, the installation's rules hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Reach {
    /// Networks that are open although they are not public.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<Network>,
    /// Where there are any, nothing else is called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<Place>,
    /// Never called, whatever the other lists say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<Place>,
}

/// A host by its name, or a network.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Place {
    Name(HostName),
    Network(Network),
}

/// A name, or with `*.` in front all names below one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostName {
    name: String,
    is_below: bool,
}

/// Addresses with the same first bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// Why a host may not be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreachable {
    /// It is in the list of what is denied.
    Denied,
    /// There is a list of what alone is called, and it is not in it.
    NotListed,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReachError {
    #[error("{raw:?} is no network; expected one like 10.0.0.0/8 or 10.1.2.3")]
    Network { raw: String },
    #[error(
        "{raw:?} is neither a host name like api.example.com or *.example.com nor a network like 10.0.0.0/8"
    )]
    Place { raw: String },
    #[error("{list} has {given} entries, at most {REACH_PLACES_MAX} are allowed")]
    TooMany { list: &'static str, given: usize },
}

impl Reach {
    /// Reads the lists, and finds the first that is wrong with its place.
    ///
    /// # Errors
    /// With a JSON pointer to the entry or list.
    pub fn parse(
        allow: &[String],
        only: &[String],
        deny: &[String],
    ) -> Result<Self, (String, ReachError)> {
        for (list, given) in [("allow", allow.len()), ("only", only.len()), ("deny", deny.len())] {
            if given > REACH_PLACES_MAX {
                return Err((format!("/{list}"), ReachError::TooMany { list, given }));
            }
        }
        Ok(Self {
            allow: parse_all("allow", allow)?,
            only: parse_all("only", only)?,
            deny: parse_all("deny", deny)?,
        })
    }

    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Judges a name before it is resolved, as far as it tells.
    ///
    /// # Errors
    /// When no address could make it reachable.
    pub fn check_name(&self, name: &str) -> Result<(), Unreachable> {
        if self.deny.iter().any(|place| place.is_named(name)) {
            return Err(Unreachable::Denied);
        }
        let may_be_listed = |place: &Place| place.is_named(name) || place.is_network();
        if !self.only.is_empty() && !self.only.iter().any(may_be_listed) {
            return Err(Unreachable::NotListed);
        }
        Ok(())
    }

    /// Judges an address that stands for a host, in all the forms in which it can be written.
    ///
    /// # Errors
    /// Why it may not be called.
    pub fn check_address(&self, host: &str, forms: &[IpAddr]) -> Result<(), Unreachable> {
        let is_it = |place: &Place| place.is_named(host) || place.holds(forms);
        if self.deny.iter().any(is_it) {
            return Err(Unreachable::Denied);
        }
        if !self.only.is_empty() && !self.only.iter().any(is_it) {
            return Err(Unreachable::NotListed);
        }
        Ok(())
    }

    /// Whether an address is open that is not public.
    pub fn opens(&self, forms: &[IpAddr]) -> bool {
        self.allow.iter().any(|network| forms.iter().any(|form| network.contains(*form)))
    }
}

fn parse_all<T: FromStr<Err = ReachError>>(
    list: &str,
    raw: &[String],
) -> Result<Vec<T>, (String, ReachError)> {
    let parse = |(index, raw): (usize, &String)| {
        raw.parse().map_err(|error| (format!("/{list}/{index}"), error))
    };
    raw.iter().enumerate().map(parse).collect()
}

impl Place {
    fn is_named(&self, host: &str) -> bool {
        match self {
            Self::Name(name) => name.matches(host),
            Self::Network(_) => false,
        }
    }

    fn is_network(&self) -> bool {
        matches!(self, Self::Network(_))
    }

    fn holds(&self, forms: &[IpAddr]) -> bool {
        match self {
            Self::Name(_) => false,
            Self::Network(network) => forms.iter().any(|form| network.contains(*form)),
        }
    }
}

impl HostName {
    fn matches(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.');
        if !self.is_below {
            return host.eq_ignore_ascii_case(&self.name);
        }
        let Some(start) = host.len().checked_sub(self.name.len()) else { return false };
        let (above, end) = (host.get(..start), host.get(start..));
        end.is_some_and(|end| end.eq_ignore_ascii_case(&self.name))
            && above.is_some_and(|above| above.len() > 1 && above.ends_with('.'))
    }
}

impl Network {
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(given)) => {
                let gap = 32 - u32::from(self.bits);
                let cut = |bits: u32| u64::from(bits) >> gap;
                cut(own.to_bits()) == cut(given.to_bits())
            }
            (IpAddr::V6(own), IpAddr::V6(given)) => {
                let gap = 128 - u32::from(self.bits);
                let cut = |bits: u128| bits.checked_shr(gap).unwrap_or(0);
                cut(own.to_bits()) == cut(given.to_bits())
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl FromStr for Network {
    type Err = ReachError;

    fn from_str(raw: &str) -> Result<Self, Self::Err> {
        let wrong = || ReachError::Network { raw: raw.chars().take(64).collect() };
        let (address, bits) =
            raw.split_once('/').map_or((raw, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) if bits.len() <= 3 && bits.bytes().all(|b| b.is_ascii_digit()) => {
                bits.parse().ok().filter(|bits| *bits <= most).ok_or_else(wrong)?
            }
            Some(_) => return Err(wrong()),
        };
        Ok(Self { address, bits })
    }
}

impl FromStr for Place {
    type Err = ReachError;

    fn from_str(raw: &str) -> Result<Self, Self::Err> {
        if let Ok(network) = raw.parse() {
            return Ok(Self::Network(network));
        }
        let wrong = || ReachError::Place { raw: raw.chars().take(64).collect() };
        let lower = raw.to_ascii_lowercase();
        let (is_below, name) =
            lower.strip_prefix("*.").map_or((false, lower.as_str()), |name| (true, name));
        let name = name.trim_end_matches('.');
        let is_label = |label: &str| {
            let is_inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            (1..=63).contains(&label.len()) && label.bytes().all(is_inner)
        };
        // The last label of a name is no number: that would be an address that is written oddly.
        let last = name.rsplit('.').next().unwrap_or_default();
        let is_name = raw.len() <= REACH_PLACE_BYTES_MAX
            && name.split('.').all(is_label)
            && !last.starts_with(|c: char| c.is_ascii_digit());
        if !is_name {
            return Err(wrong());
        }
        Ok(Self::Name(HostName { name: name.to_owned(), is_below }))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(HostName { name, is_below: true }) => write!(f, "*.{name}"),
            Self::Name(HostName { name, is_below: false }) => f.write_str(name),
            Self::Network(network) => network.fmt(f),
        }
    }
}

impl TryFrom<String> for Network {
    type Error = ReachError;

    fn try_from(raw: String) -> Result<Self, Self::Error> {
        raw.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl TryFrom<String> for Place {
    type Error = ReachError;

    fn try_from(raw: String) -> Result<Self, Self::Error> {
        raw.parse()
    }
}

impl From<Place> for String {
    fn from(place: Place) -> Self {
        place.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(raw: &[&str]) -> Vec<String> {
        raw.iter().map(ToString::to_string).collect()
    }

    fn reach(allow: &[&str], only: &[&str], deny: &[&str]) -> Reach {
        Reach::parse(&texts(allow), &texts(only), &texts(deny)).unwrap()
    }

    fn ip(raw: &str) -> IpAddr {
        raw.parse().unwrap()
    }

    #[test]
    fn networks_hold_what_begins_like_them() {
        let network = |raw: &str| raw.parse::<Network>().unwrap();
        for (net, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("192.168.1.128/25", "192.168.1.200", "192.168.1.127"),
            ("fd00::/8", "fd12::1", "fe00::1"),
            ("2001:db8::1", "2001:db8::1", "2001:db8::2"),
        ] {
            assert!(network(net).contains(ip(inside)), "{net} {inside}");
            assert!(!network(net).contains(ip(outside)), "{net} {outside}");
        }
        assert!(network("0.0.0.0/0").contains(ip("255.1.2.3")));
        assert!(network("::/0").contains(ip("ffff::1")));
        assert!(!network("0.0.0.0/0").contains(ip("::1")), "the other family is another network");
        for wrong in
            ["", "10", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8", "::/129", "a/8", "10.0.0.0/"]
        {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_are_matched_whole_or_below_one() {
        let place = |raw: &str| raw.parse::<Place>().unwrap();
        for (pattern, yes, no) in [
            ("api.example.com", "API.example.com.", "xapi.example.com"),
            ("*.example.com", "a.b.example.com", "example.com"),
            ("*.Example.com", "a.example.com", "aexample.com"),
        ] {
            assert!(place(pattern).is_named(yes), "{pattern} {yes}");
            assert!(!place(pattern).is_named(no), "{pattern} {no}");
        }
        let long = "a".repeat(64);
        for wrong in
            ["", "*", "*.", "a b", "http://a", "a:80", "a..b", "ä.de", "1.2.3", "x.1", &long]
        {
            assert!(wrong.parse::<Place>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_denied_stays_so_and_a_list_shuts_out_the_rest() {
        let both =
            reach(&[], &["*.example.com", "93.184.0.0/16"], &["bad.example.com", "93.184.1.0/24"]);
        assert_eq!(both.check_name("good.example.com"), Ok(()));
        assert_eq!(both.check_name("bad.example.com"), Err(Unreachable::Denied));
        assert_eq!(both.check_name("other.org"), Ok(()), "its address may be listed");
        let check = |host: &str, address: &str| both.check_address(host, &[ip(address)]);
        assert_eq!(check("good.example.com", "1.2.3.4"), Ok(()));
        assert_eq!(check("good.example.com", "93.184.1.9"), Err(Unreachable::Denied));
        assert_eq!(check("other.org", "93.184.2.9"), Ok(()));
        assert_eq!(check("other.org", "1.2.3.4"), Err(Unreachable::NotListed));
        let named = reach(&[], &["api.example.com"], &[]);
        assert_eq!(named.check_name("other.org"), Err(Unreachable::NotListed));
        assert_eq!(named.check_address("1.2.3.4", &[ip("1.2.3.4")]), Err(Unreachable::NotListed));
    }

    #[test]
    fn what_is_open_is_told_in_every_form() {
        let open = reach(&["10.0.0.0/8"], &[], &[]);
        assert!(open.opens(&[ip("::ffff:10.0.0.1"), ip("10.0.0.1")]));
        assert!(!open.opens(&[ip("192.168.0.1")]));
        assert!(!Reach::default().opens(&[ip("10.0.0.1")]));
    }

    #[test]
    fn a_wrong_entry_is_named_with_its_place() {
        let wrong = Reach::parse(&texts(&["10.0.0.0/8", "example.com"]), &[], &[]);
        assert_eq!(wrong.unwrap_err().0, "/allow/1");
        let many = vec!["a.example".to_owned(); REACH_PLACES_MAX + 1];
        assert_eq!(Reach::parse(&[], &[], &many).unwrap_err().0, "/deny");
        let read: Reach = serde_json::from_str(r#"{"only": ["*.a.example", "10.1.2.3"]}"#).unwrap();
        assert_eq!(
            serde_json::to_string(&read).unwrap(),
            r#"{"only":["*.a.example","10.1.2.3/32"]}"#
        );
    }
}
