//! What an operator opens on purpose.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

use actions_domain::tenant::reach::{Reach, Unreachable};
use ipnet::IpNet;
use url::Host;

use super::address::{self, Verdict};
use super::error::{EgressError, Refusal};

/// The settings of a gate. The default opens nothing that is not public.
#[derive(Debug, Clone)]
pub struct EgressPolicy {
    /// Networks that are open although they are not public. They never open metadata.
    pub allow: Vec<IpNet>,
    /// Ports of URLs.
    pub http_ports: Vec<RangeInclusive<u16>>,
    /// Ports of mail hosts.
    pub smtp_ports: Vec<RangeInclusive<u16>>,
    /// Certificate authorities to trust beside the public ones, in DER form.
    pub roots: Vec<Vec<u8>>,
    /// What holds for one tenant beside that.
    pub reach: Reach,
}

impl Default for EgressPolicy {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            // Below 1024 live the protocols that a forged HTTP request could speak to.
            http_ports: vec![80..=80, 443..=443, 1024..=65_535],
            smtp_ports: vec![25..=25, 465..=465, 587..=587, 1024..=65_535],
            roots: Vec::new(),
            reach: Reach::default(),
        }
    }
}

impl EgressPolicy {
    /// A policy that also opens these networks.
    pub fn allowing(allow: Vec<IpNet>) -> Self {
        Self { allow, ..Self::default() }
    }

    fn check_address(&self, ip: IpAddr) -> Result<(), EgressError> {
        self.check_answer(ip, &ip.to_string())
    }

    /// Checks an address that stands for `host`.
    pub(super) fn check_answer(&self, ip: IpAddr, host: &str) -> Result<(), EgressError> {
        let forbidden =
            |refusal, class: &str| EgressError::forbidden(host, refusal, class.to_owned());
        let verdict = address::judge(ip);
        if verdict == Verdict::Metadata {
            return Err(forbidden(Refusal::Metadata, "it is a cloud's metadata address"));
        }
        let forms = [ip, address::plain(ip)];
        self.reach.check_address(host, &forms).map_err(|why| unreachable(host, why))?;
        match verdict {
            Verdict::Public | Verdict::Metadata => Ok(()),
            Verdict::Special { class, plain } => {
                let is_open = |net: &IpNet| net.contains(&plain) || net.contains(&ip);
                if self.allow.iter().any(is_open) || self.reach.opens(&forms) {
                    Ok(())
                } else {
                    let hint = "whoever runs the server opens such networks with \
                        ACTIONS_EGRESS_ALLOW, or for one tenant with `actions tenant egress`";
                    Err(forbidden(Refusal::Private, &format!("{class}; {hint}")))
                }
            }
        }
    }

    /// Checks what a host alone tells: a literal fully, a name as far as it is known.
    pub(super) fn check_host<S: AsRef<str>>(&self, host: &Host<S>) -> Result<(), EgressError> {
        match host {
            Host::Ipv4(ip) => self.check_address(IpAddr::V4(*ip)),
            Host::Ipv6(ip) => self.check_address(IpAddr::V6(*ip)),
            Host::Domain(name) => self.check_name(name.as_ref()),
        }
    }

    fn check_name(&self, name: &str) -> Result<(), EgressError> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if name.is_empty() {
            return Err(EgressError::Url { reason: "its host is empty".to_owned() });
        }
        if super::METADATA_NAMES.contains(&name.as_str()) {
            let reason = "it is a cloud's metadata".to_owned();
            return Err(EgressError::forbidden(name, Refusal::Metadata, reason));
        }
        if name == "localhost" || name.ends_with(".localhost") {
            return self.check_answer(IpAddr::V4(Ipv4Addr::LOCALHOST), &name);
        }
        self.reach.check_name(&name).map_err(|why| unreachable(&name, why))
    }
}

fn unreachable(host: &str, why: Unreachable) -> EgressError {
    let (refusal, reason) = match why {
        Unreachable::Denied => (Refusal::Denied, "the tenant's settings deny it"),
        Unreachable::NotListed => {
            (Refusal::NotListed, "it is not among the places that the tenant's settings name")
        }
    };
    let hint = "a platform administrator changes that with `actions tenant egress`";
    EgressError::forbidden(host, refusal, format!("{reason}; {hint}"))
}
