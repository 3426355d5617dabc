//! Hands a message to a mail server, over an address that the gate has checked.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use lettre::Message;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, AsyncTokioStream, Certificate, CertificateStore, TlsParameters,
};
use lettre::transport::smtp::extension::ClientId;
use rustls::pki_types::ServerName;
use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use actions_domain::execution::{Fault, Outcome};

use super::stream::Bounded;
use crate::config::{Notes, Secret, reject};
use crate::egress::{Egress, EgressError};

/// Saying goodbye must not cost a delivered message its success.
const QUIT_TIME_MAX: Duration = Duration::from_secs(2);

/// A mail server, as a config describes it.
pub(super) struct Server<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) username: Option<&'a str>,
    pub(super) password: Option<&'a Secret>,
    pub(super) use_tls: bool,
    pub(super) use_ssl: bool,
    pub(super) verify_ssl: bool,
    pub(super) helo_name: Option<&'a str>,
}

impl Server<'_> {
    pub(super) fn check(&self, egress: &Egress, notes: &mut Notes) {
        if self.port == 0 {
            notes.error("/smtp_port", "must be 1 to 65535");
        } else if let Err(error) = egress.check_smtp_host(self.host, self.port) {
            notes.error("/smtp_host", error.to_string());
        }
        if !self.use_tls && !self.use_ssl {
            notes.warn("/use_tls", "mail and password travel in clear text");
        }
        if !self.verify_ssl {
            notes.warn("/verify_ssl", "anybody on the way can read and change mail");
        }
        if self.helo_name.is_some_and(|name| !is_helo_name(name)) {
            notes.error("/helo_name", NO_HELO_NAME);
        }
        match (self.username, self.password) {
            (Some(_), None) => notes.error("/smtp_password", "a user name needs a password"),
            (None, Some(_)) => notes.error("/smtp_username", "a password needs a user name"),
            (Some(_), Some(_)) | (None, None) => {}
        }
    }

    /// Sends, within `limit`, and answers what the server said of it.
    ///
    /// # Errors
    /// The outcome to answer with.
    pub(super) async fn send(
        &self,
        egress: &Egress,
        message: &Message,
        limit: Duration,
    ) -> Result<String, Outcome> {
        // Port and host again: the config may be older than the policy.
        egress.check_smtp_host(self.host, self.port).map_err(|error| error.outcome())?;
        let sending = self.hand_over(egress, message);
        let (mut connection, said) = match tokio::time::timeout(limit, sending).await {
            Ok(sent) => sent?,
            Err(_elapsed) => {
                let message =
                    format!("{} did not answer within {} ms", self.host, limit.as_millis());
                return Err(Outcome::Retry(Fault { message, ..Fault::timeout(limit) }));
            }
        };
        let _ = tokio::time::timeout(QUIT_TIME_MAX, connection.quit()).await;
        Ok(said)
    }

    async fn hand_over(
        &self,
        egress: &Egress,
        message: &Message,
    ) -> Result<(AsyncSmtpConnection, String), Outcome> {
        let failed = |error: Error| outcome(self.host, &error);
        let hello = self.hello(message)?;
        let stream = egress.dial(self.host, self.port).await.map_err(|error| {
            let is_connect = matches!(error, EgressError::Connect { .. });
            if is_connect { self.unreachable(&error) } else { error.outcome() }
        })?;
        let is_wrapped = self.use_ssl || self.port == 465;
        let stream = if is_wrapped {
            self.wrapped(egress, stream).await?
        } else {
            Bounded::boxed(stream).map_err(|error| self.unreachable(&error))?
        };
        let mut connection =
            AsyncSmtpConnection::connect_with_transport(stream, &hello).await.map_err(failed)?;
        if self.use_tls && !is_wrapped {
            // Never in clear text when the server, or somebody on the way, does not offer it.
            connection.starttls(self.tls(egress).map_err(failed)?, &hello).await.map_err(failed)?;
        }
        if let (Some(username), Some(password)) = (self.username, self.password) {
            let credentials = Credentials::new(username.to_owned(), password.expose().to_owned());
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            connection.auth(&mechanisms, &credentials).await.map_err(failed)?;
        }
        let response =
            connection.send(message.envelope(), &message.formatted()).await.map_err(failed)?;
        let said = response.message().collect::<Vec<_>>().join(" ");
        Ok((connection, said.chars().take(200).collect()))
    }

    /// What we call ourselves: what the config says, else the sender's domain.
    fn hello(&self, message: &Message) -> Result<ClientId, Outcome> {
        if let Some(name) = self.helo_name {
            // It is written into the dialogue as it is.
            if !is_helo_name(name) {
                return Err(reject("config.invalid", format!("/helo_name: {NO_HELO_NAME}")));
            }
            return Ok(ClientId::Domain(name.to_owned()));
        }
        let sender = message.envelope().from().map(|from| from.domain().to_owned());
        Ok(sender
            .filter(|name| is_helo_name(name))
            .map_or_else(ClientId::default, ClientId::Domain))
    }

    /// TLS from the first byte.
    async fn wrapped(
        &self,
        egress: &Egress,
        stream: TcpStream,
    ) -> Result<Box<dyn AsyncTokioStream>, Outcome> {
        let host = self.host.trim_end_matches('.').to_owned();
        let name = ServerName::try_from(host).map_err(|error| self.unreachable(&error))?;
        let tls = egress.tls(self.verify_ssl).map_err(|error| error.outcome())?;
        let connected = TlsConnector::from(Arc::new(tls)).connect(name, stream).await;
        let bounded = connected.and_then(Bounded::boxed);
        bounded.map_err(|error| self.unreachable(&error))
    }

    fn unreachable(&self, error: &dyn std::error::Error) -> Outcome {
        let message = format!("{} could not be talked to: {error}", self.host);
        Outcome::Retry(Fault::system("email.connection", message))
    }

    /// The name that the tenant gave is the one that the certificate must carry.
    fn tls(&self, egress: &Egress) -> Result<TlsParameters, Error> {
        let mut builder = TlsParameters::builder(self.host.trim_end_matches('.').to_owned())
            .certificate_store(CertificateStore::WebpkiRoots)
            .dangerous_accept_invalid_certs(!self.verify_ssl);
        for root in &egress.policy().roots {
            builder = builder.add_root_certificate(Certificate::from_der(root.clone())?);
        }
        builder.build_rustls()
    }
}

const NO_HELO_NAME: &str = "is not a host name like mail.example.com, nor an address in brackets";

fn is_helo_name(raw: &str) -> bool {
    if let Some(literal) = raw.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return literal.strip_prefix("IPv6:").unwrap_or(literal).parse::<IpAddr>().is_ok();
    }
    let is_letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (1..=253).contains(&raw.len()) && raw.bytes().all(is_letter)
}

/// What a server's refusal means: 4yz passes, 5yz does not.
fn outcome(host: &str, error: &Error) -> Outcome {
    let details = json!({ "smtp_code": error.status().map(|code| code.to_string()) });
    let message = |what: &str| format!("{host} {what}: {error}");
    if error.is_permanent() {
        let fault = Fault::handler("email.refused", message("refused the message"));
        return Outcome::Reject(fault.with_details(details));
    }
    if error.is_transient() {
        let fault = Fault::handler("email.deferred", message("deferred the message"));
        return Outcome::Retry(fault.with_details(details));
    }
    if error.is_client() {
        return Outcome::Reject(Fault::handler("email.server", message("cannot do what is asked")));
    }
    // The message may have been taken before the connection broke.
    Outcome::Retry(Fault::system("email.connection", message("could not be talked to")).unsure())
}
