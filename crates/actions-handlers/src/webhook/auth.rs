//! How a call proves to a receiver who it comes from.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use actions_domain::Timestamp;

use super::signature::{hex, hmac_sha256};
use crate::config::{Notes, Secret};
use crate::egress::{Request, check_header};

/// Which proof is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AuthType {
    #[default]
    None,
    /// `username` and `password`.
    Basic,
    /// `token`.
    Bearer,
    /// `key` in the header `header`.
    ApiKey,
    /// `sha256=…` over the body, keyed with `secret`, in the header `header`.
    Hmac,
    /// A fresh token signed with `secret` (HS256), with `issuer`, `audience` and `subject`.
    Jwt,
}

/// What the proof is made of. Each type uses its own fields.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuthConfig {
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<Secret>,
    #[serde(default)]
    token: Option<Secret>,
    #[serde(default)]
    header: Option<String>,
    #[serde(default)]
    key: Option<Secret>,
    #[serde(default)]
    secret: Option<Secret>,
    #[serde(default)]
    issuer: Option<String>,
    #[serde(default)]
    audience: Option<String>,
    #[serde(default)]
    subject: Option<String>,
    /// How long a token is valid.
    #[serde(default = "ttl_default")]
    #[schemars(range(min = 1, max = 3600))]
    ttl_seconds: u32,
}

fn ttl_default() -> u32 {
    300
}

impl AuthConfig {
    /// Notes the fields that the type needs and does not find.
    pub(crate) fn check(&self, kind: AuthType, notes: &mut Notes) {
        let mut need = |field: &str, is_there: bool| {
            if !is_there {
                notes.error(&format!("/auth_config/{field}"), "is missing for this auth_type");
            }
        };
        match kind {
            AuthType::None => {}
            AuthType::Basic => {
                need("username", self.username.is_some());
                need("password", self.password.is_some());
            }
            AuthType::Bearer => need("token", self.token.is_some()),
            AuthType::ApiKey => need("key", self.key.is_some()),
            AuthType::Hmac | AuthType::Jwt => need("secret", self.secret.is_some()),
        }
        if let Some(Err(error)) = self.header.as_deref().map(|name| check_header(name, "x")) {
            notes.error("/auth_config/header", error.to_string());
        }
    }

    /// Adds the proof to a request whose body is `body`.
    ///
    /// # Errors
    /// The field that is missing.
    pub(crate) fn prove(
        &self,
        kind: AuthType,
        request: Request,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Request, &'static str> {
        let exposed = |secret: &Option<Secret>, name| {
            secret.as_ref().map(|secret| secret.expose().to_owned()).ok_or(name)
        };
        let header = |default| self.header.as_deref().unwrap_or(default);
        Ok(match kind {
            AuthType::None => request,
            AuthType::Basic => {
                let username = self.username.as_deref().ok_or("username")?;
                request
                    .header("authorization", basic(username, &exposed(&self.password, "password")?))
            }
            AuthType::Bearer => request
                .header("authorization", format!("Bearer {}", exposed(&self.token, "token")?)),
            AuthType::ApiKey => request.header(header("X-API-Key"), exposed(&self.key, "key")?),
            AuthType::Hmac => {
                let mac = hmac_sha256(exposed(&self.secret, "secret")?.as_bytes(), &[body]);
                request.header(header("X-Signature"), format!("sha256={}", hex(&mac)))
            }
            AuthType::Jwt => {
                let token = self.token_at(&exposed(&self.secret, "secret")?, now);
                request.header("authorization", format!("Bearer {token}"))
            }
        })
    }

    fn token_at(&self, secret: &str, now: Timestamp) -> String {
        let issued = now.timestamp();
        let mut claims = json!({ "iat": issued, "exp": issued + i64::from(self.ttl_seconds) });
        for (name, value) in
            [("iss", &self.issuer), ("aud", &self.audience), ("sub", &self.subject)]
        {
            if let Some(value) = value {
                claims[name] = json!(value);
            }
        }
        let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
        let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let mac = hmac_sha256(secret.as_bytes(), &[signed.as_bytes()]);
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac))
    }
}

/// The value of a basic `authorization` header.
pub(crate) fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}
