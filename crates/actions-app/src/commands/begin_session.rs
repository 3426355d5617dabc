//! Lets a person log in. It is the one command without an [`AuthorizationContext`]: it leads to one.

use std::sync::Arc;
use std::time::Duration;

use actions_domain::account::{AccountName, Password, Session, SignedIn, StoredSession};
use actions_domain::api_key::{StoredToken, Token};
use actions_domain::audit::ActKind;
use actions_domain::authorization::AuthorizationContext;
use actions_domain::guesses::{Peer, Target};
use actions_domain::id::SessionId;
use actions_domain::limits::SESSION_LIFETIME;
use actions_domain::ports::accounts::AccountsError;
use actions_domain::ports::passwords::{PasswordsError, Who};
use actions_domain::ports::store::StoreError;
use serde_json::json;
use tracing::info;

use crate::app::App;
use crate::catalogue::TenantDefinitions;
use crate::commands::change_api_key::tell;
use crate::commands::create_account::subject;
use crate::commands::create_api_key::random;

/// Whatever somebody typed.
pub struct BeginSession {
    /// A slug or an id.
    pub tenant: String,
    pub name: String,
    pub password: Password,
    /// `None`: nobody said so.
    pub peer: Option<Peer>,
    pub request_id: String,
}

/// A session with its token, which nobody can read again.
#[derive(Debug)]
pub struct BegunSession {
    pub signed_in: SignedIn,
    pub token: Token,
}

#[derive(Debug, thiserror::Error)]
pub enum BeginSessionError {
    /// A stranger is not told which of these it is.
    #[error("no account that may log in has this tenant, name and password")]
    Refused,
    #[error("too many logins; wait before the next one")]
    Throttled { wait: Duration },
    #[error(transparent)]
    Passwords(#[from] PasswordsError),
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
}

/// Begins a session of an account whose name and password these are. A name that does not exist costs
/// the same time.
pub async fn begin_session(
    app: &App,
    request: BeginSession,
) -> Result<BegunSession, BeginSessionError> {
    let BeginSession { tenant, name, password, peer, request_id } = request;
    let home = app.catalogue.find_named(&tenant);
    // An account is the same one by whichever name its tenant is called.
    let tenant_text =
        home.as_ref().map_or_else(|| tenant.clone(), |home| home.tenant.id.to_string());
    let target = Target::of(&tenant_text, &name);
    let wait = |wait| BeginSessionError::Throttled { wait };
    let who = app.guesses.try_login(target, peer).map_err(wait)?;
    let judged = judge(app, home, &tenant, &name, (&password, who), &request_id).await;
    match &judged {
        Ok(_) => app.guesses.succeed(target, peer),
        Err(BeginSessionError::Refused) => {}
        Err(
            BeginSessionError::Throttled { .. }
            | BeginSessionError::Passwords(_)
            | BeginSessionError::Accounts(_)
            | BeginSessionError::Store(_),
        ) => app.guesses.undo(target, peer),
    }
    judged
}

async fn judge(
    app: &App,
    home: Option<Arc<TenantDefinitions>>,
    tenant: &str,
    name: &str,
    (password, who): (&Password, Who),
    request_id: &str,
) -> Result<BegunSession, BeginSessionError> {
    let home = match home {
        Some(home) => Some(home),
        None => {
            // It may have been created by another process a moment ago.
            app.catalogue.refresh_all().await?;
            app.catalogue.find_named(tenant)
        }
    };
    let tenant = home.map(|home| home.tenant.id);
    let name = AccountName::parse(name).ok();
    let accounts = &app.ports.accounts;
    let found = match (tenant, &name) {
        (Some(tenant), Some(name)) => accounts.find_account(tenant, name).await?,
        (Some(_) | None, _) => None,
    };
    let known = found.as_ref().map(|(account, _)| account.name.clone());
    let hash = found.as_ref().map(|(_, hash)| hash);
    let is_right =
        password.is_possible() && app.ports.passwords.is_right(password, hash, who).await?;
    let account = match found {
        Some((account, _)) if is_right && !account.is_disabled() => account,
        Some(_) | None => {
            // What is typed as a name may be a password, so only names of accounts are written down.
            app.guesses.refuse(tenant, known.as_ref());
            return Err(BeginSessionError::Refused);
        }
    };
    let (now, generation) = (app.ports.clock.now(), app.api_keys.generation());
    let token = Token::mint_session(&random(app));
    let session = Session {
        id: SessionId::mint(now, app.ports.dice.bytes()),
        tenant: account.tenant,
        account: account.id,
        created_at: now,
        expires_at: now + SESSION_LIFETIME,
        last_used_at: now,
        ended_at: None,
        lookup: token.lookup(),
    };
    let signed_in = SignedIn { account, session };
    let SignedIn { account, session } = &signed_in;
    let caller = AuthorizationContext::of_session(&signed_in, request_id);
    let act = app
        .act(&caller, account.tenant, ActKind::SessionCreated, subject(account))
        .to(json!({ "id": session.id, "expires_at": session.expires_at }));
    let stored = StoredSession { session: session.clone(), digest: token.digest() };
    accounts.create_session(account, &stored, Some(&act)).await?;
    let StoredSession { session: Session { lookup, .. }, digest } = stored;
    let kept = StoredToken { lookup, digest, ends_at: None };
    app.api_keys.adopt(generation, signed_in.clone(), kept);
    // The oldest one may have been ended for it.
    tell(app);
    let (id, name, tenant) = (session.id, &account.name, account.tenant);
    info!(%id, account = %name, %tenant, "somebody has logged in");
    Ok(BegunSession { signed_in, token })
}
