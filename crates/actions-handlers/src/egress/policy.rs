//! What an operator opens on purpose.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

use ipnet::IpNet;
use url::Host;

use super::address::{self, Verdict};
use super::error::EgressError;

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
}

impl Default for EgressPolicy {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            // Below 1024 live the protocols that a forged HTTP request could speak to.
            http_ports: vec![80..=80, 443..=443, 1024..=65_535],
            smtp_ports: vec![25..=25, 465..=465, 587..=587, 1024..=65_535],
            roots: Vec::new(),
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
        let forbidden = |class: &str| EgressError::forbidden(host, class.to_owned());
        match address::judge(ip) {
            Verdict::Public => Ok(()),
            Verdict::Metadata => Err(forbidden("it is a cloud's metadata address")),
            Verdict::Special { class, plain } => {
                let is_open = |net: &IpNet| net.contains(&plain) || net.contains(&ip);
                if self.allow.iter().any(is_open) {
                    Ok(())
                } else {
                    let hint =
                        "whoever runs the server opens such networks with ACTIONS_EGRESS_ALLOW";
                    Err(forbidden(&format!("{class}; {hint}")))
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
            return Err(EgressError::forbidden(name, "it is a cloud's metadata".to_owned()));
        }
        if name == "localhost" || name.ends_with(".localhost") {
            return self.check_answer(IpAddr::V4(Ipv4Addr::LOCALHOST), &name);
        }
        Ok(())
    }
}
