//! Accounts and sessions in PostgreSQL. They are changed under the lock of their tenant's row; what
//! ends a session takes the next version of what nodes ask for, under the lock of that.

use actions_domain::Timestamp;
use actions_domain::account::{
    Account, AccountChange, AccountName, PasswordHash, Session, SignedIn, StoredSession,
};
use actions_domain::api_key::{Digest, Lookup};
use actions_domain::audit::Act;
use actions_domain::authorization::Role;
use actions_domain::id::{AccountId, SessionId, TenantId};
use actions_domain::limits::{ACCOUNT_SESSIONS_MAX, ACCOUNTS_MAX, SESSION_KEPT};
use actions_domain::ports::accounts::{Accounts, AccountsError};
use actions_domain::ports::definitions::DefinitionsError;
use actions_domain::ports::store::StoreError;
use async_trait::async_trait;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::Postgres;
use super::api_keys::next_version;
use super::audit::append;
use super::error::{read_error, write_error};

type Transaction = sqlx::Transaction<'static, sqlx::Postgres>;

#[async_trait]
impl Accounts for Postgres {
    async fn create_account(
        &self,
        account: &Account,
        password: &PasswordHash,
        act: Option<&Act>,
    ) -> Result<(), AccountsError> {
        let mut tx = self.lock_home(account.tenant).await?;
        let text = "select count(*) from engine.account where tenant = $1";
        let count: i64 = sqlx::query_scalar(text)
            .bind(account.tenant.0)
            .fetch_one(&mut *tx)
            .await
            .map_err(read_error)?;
        if count.unsigned_abs() >= ACCOUNTS_MAX as u64 {
            return Err(AccountsError::TooMany);
        }
        let inserted = sqlx::query(include_str!("accounts/insert_account.sql"))
            .bind(account.tenant.0)
            .bind(account.id.0)
            .bind(account.name.as_str())
            .bind(account.role.word())
            .bind(&account.created_by)
            .bind(account.created_at)
            .bind(account.password_set_at)
            .bind(account.disabled_at)
            .bind(account.last_login_at)
            .bind(account.revision)
            .bind(password.as_str())
            .execute(&mut *tx)
            .await
            .map_err(write_error)?;
        if inserted.rows_affected() == 0 {
            return Err(AccountsError::Exists { name: account.name.to_string() });
        }
        append(&mut tx, act).await.map_err(write_error)?;
        tx.commit().await.map_err(write_error)?;
        Ok(())
    }

    async fn accounts(&self, tenant: TenantId) -> Result<Vec<Account>, StoreError> {
        let rows: Vec<AccountRecord> = sqlx::query_as(include_str!("accounts/accounts.sql"))
            .bind(tenant.0)
            .fetch_all(&mut *self.for_tenant(tenant).await?)
            .await
            .map_err(read_error)?;
        rows.into_iter().map(AccountRecord::into_account).collect()
    }

    async fn find_account(
        &self,
        tenant: TenantId,
        name: &AccountName,
    ) -> Result<Option<(Account, PasswordHash)>, StoreError> {
        let row: Option<PasswordRecord> = sqlx::query_as(include_str!("accounts/find_account.sql"))
            .bind(tenant.0)
            .bind(name.as_str())
            .fetch_optional(&self.pool)
            .await
            .map_err(read_error)?;
        let Some(PasswordRecord { account, password }) = row else { return Ok(None) };
        Ok(Some((account.into_account()?, PasswordHash::from_record(password))))
    }

    async fn change_account(
        &self,
        account: &Account,
        change: &AccountChange,
        now: Timestamp,
        act: Option<&Act>,
    ) -> Result<Account, AccountsError> {
        let (mut password, mut role, mut step) = (None, None, None);
        let mut text = include_str!("accounts/change_account.sql");
        match change {
            AccountChange::Password(hash) => password = Some(hash.as_str()),
            AccountChange::Role(new) => role = Some(new.word()),
            AccountChange::Disable => step = Some("disable"),
            AccountChange::Enable => step = Some("enable"),
            AccountChange::LogOut => {}
            AccountChange::Delete => text = include_str!("accounts/delete_account.sql"),
        }
        let mut tx = self.lock_home(account.tenant).await?;
        let query = sqlx::query_as(text).bind(account.tenant.0).bind(account.id.0);
        let query = query.bind(account.revision);
        let query = match change {
            AccountChange::Delete => query,
            AccountChange::Password(_)
            | AccountChange::Role(_)
            | AccountChange::Disable
            | AccountChange::Enable
            | AccountChange::LogOut => query.bind(now).bind(password).bind(role).bind(step),
        };
        let row: Option<AccountRecord> =
            query.fetch_optional(&mut *tx).await.map_err(write_error)?;
        let Some(row) = row else { return Err(why_not(&mut tx, account).await?) };
        let holding = holding(&mut tx, account, now, 0).await?;
        end(&mut tx, &holding, now).await?;
        append(&mut tx, act).await.map_err(write_error)?;
        tx.commit().await.map_err(write_error)?;
        Ok(row.into_account()?)
    }

    async fn create_session(
        &self,
        account: &Account,
        session: &StoredSession,
        act: Option<&Act>,
    ) -> Result<(), AccountsError> {
        let StoredSession { session, digest } = session;
        let now = session.created_at;
        let mut tx = self.lock_home(account.tenant).await?;
        let noted = sqlx::query(
            "update engine.account set last_login_at = $4
            where tenant = $1 and id = $2 and revision = $3",
        )
        .bind(account.tenant.0)
        .bind(account.id.0)
        .bind(account.revision)
        .bind(now)
        .execute(&mut *tx)
        .await
        .map_err(write_error)?;
        if noted.rows_affected() == 0 {
            return Err(why_not(&mut tx, account).await?);
        }
        let surplus = holding(&mut tx, account, now, ACCOUNT_SESSIONS_MAX - 1).await?;
        end(&mut tx, &surplus, now).await?;
        sqlx::query(include_str!("accounts/forget_ended.sql"))
            .bind(account.tenant.0)
            .bind(now - SESSION_KEPT)
            .execute(&mut *tx)
            .await
            .map_err(write_error)?;
        let inserted = sqlx::query(include_str!("accounts/insert_session.sql"))
            .bind(session.tenant.0)
            .bind(session.id.0)
            .bind(session.account.0)
            .bind(session.lookup.as_str())
            .bind(digest.as_bytes().as_slice())
            .bind(session.created_at)
            .bind(session.expires_at)
            .bind(session.last_used_at)
            .bind(session.ended_at)
            .execute(&mut *tx)
            .await
            .map_err(write_error)?;
        if inserted.rows_affected() == 0 {
            return Err(AccountsError::Taken);
        }
        append(&mut tx, act).await.map_err(write_error)?;
        tx.commit().await.map_err(write_error)?;
        Ok(())
    }

    async fn sessions(
        &self,
        tenant: TenantId,
        now: Timestamp,
    ) -> Result<Vec<SignedIn>, StoreError> {
        let rows: Vec<SessionRecord> = sqlx::query_as(include_str!("accounts/sessions.sql"))
            .bind(tenant.0)
            .bind(now)
            .fetch_all(&mut *self.for_tenant(tenant).await?)
            .await
            .map_err(read_error)?;
        rows.into_iter().map(SessionRecord::into_signed_in).collect()
    }

    async fn find_session(
        &self,
        lookup: &Lookup,
    ) -> Result<Option<(Account, StoredSession)>, StoreError> {
        let row: Option<StoredRecord> = sqlx::query_as(include_str!("accounts/find_session.sql"))
            .bind(lookup.as_str())
            .fetch_optional(&self.door)
            .await
            .map_err(read_error)?;
        let Some(row) = row else { return Ok(None) };
        let digest = row.digest.as_slice().try_into();
        let digest = digest.map_err(|_| corrupt("digest", lookup.as_str()))?;
        let SignedIn { account, session } = row.session.into_signed_in()?;
        Ok(Some((account, StoredSession { session, digest: Digest::from_record(digest) })))
    }

    async fn end_session(
        &self,
        tenant: TenantId,
        session: SessionId,
        now: Timestamp,
        act: Option<&Act>,
    ) -> Result<Session, AccountsError> {
        let mut tx = self.lock_home(tenant).await?;
        let row: Option<SessionAloneRecord> =
            sqlx::query_as(include_str!("accounts/session_alone.sql"))
                .bind(tenant.0)
                .bind(session.0)
                .fetch_optional(&mut *tx)
                .await
                .map_err(read_error)?;
        let found = row.ok_or(AccountsError::NotFound { what: "session" })?.into_session()?;
        if found.ended_at.is_some() {
            return Ok(found);
        }
        end(&mut tx, &[session.0], now).await?;
        append(&mut tx, act).await.map_err(write_error)?;
        tx.commit().await.map_err(write_error)?;
        Ok(Session { ended_at: Some(now), ..found })
    }

    async fn note_session_uses(&self, uses: &[(SessionId, Timestamp)]) -> Result<(), StoreError> {
        let (sessions, times): (Vec<Uuid>, Vec<Timestamp>) =
            uses.iter().map(|(session, at)| (session.0, *at)).unzip();
        sqlx::query(include_str!("accounts/note_session_uses.sql"))
            .bind(sessions)
            .bind(times)
            .execute(&self.pool)
            .await
            .map_err(write_error)?;
        Ok(())
    }

    async fn session(
        &self,
        tenant: TenantId,
        session: SessionId,
    ) -> Result<Option<SignedIn>, StoreError> {
        let row: Option<SessionRecord> = sqlx::query_as(include_str!("accounts/session.sql"))
            .bind(tenant.0)
            .bind(session.0)
            .fetch_optional(&mut *self.for_tenant(tenant).await?)
            .await
            .map_err(read_error)?;
        row.map(SessionRecord::into_signed_in).transpose()
    }
}

impl Postgres {
    async fn lock_home(&self, tenant: TenantId) -> Result<Transaction, AccountsError> {
        self.lock_tenant(tenant).await.map_err(|error| match error {
            DefinitionsError::Store(error) => AccountsError::Store(error),
            // It answers nothing else of a tenant that it only locks.
            DefinitionsError::Exists { .. }
            | DefinitionsError::Retired { .. }
            | DefinitionsError::NotFound { .. }
            | DefinitionsError::Stale { .. }
            | DefinitionsError::TooMany(_) => AccountsError::NotFound { what: "tenant" },
        })
    }
}

/// Why no row of an account has its revision.
async fn why_not(tx: &mut PgConnection, account: &Account) -> Result<AccountsError, StoreError> {
    let text = "select exists (select from engine.account where tenant = $1 and id = $2)";
    let is_there: bool = sqlx::query_scalar(text)
        .bind(account.tenant.0)
        .bind(account.id.0)
        .fetch_one(tx)
        .await
        .map_err(read_error)?;
    Ok(if is_there { AccountsError::Stale } else { AccountsError::NotFound { what: "account" } })
}

async fn holding(
    tx: &mut PgConnection,
    account: &Account,
    now: Timestamp,
    without: usize,
) -> Result<Vec<Uuid>, StoreError> {
    sqlx::query_scalar(include_str!("accounts/holding.sql"))
        .bind(account.tenant.0)
        .bind(account.id.0)
        .bind(now)
        .bind(i64::try_from(without).unwrap_or(i64::MAX))
        .fetch_all(tx)
        .await
        .map_err(read_error)
}

/// Nobody may do less where none is ended.
async fn end(tx: &mut PgConnection, sessions: &[Uuid], now: Timestamp) -> Result<(), StoreError> {
    if sessions.is_empty() {
        return Ok(());
    }
    let version = next_version(&mut *tx).await?;
    sqlx::query(include_str!("accounts/end_sessions.sql"))
        .bind(sessions)
        .bind(now)
        .bind(version)
        .execute(tx)
        .await
        .map_err(write_error)?;
    Ok(())
}

#[derive(Debug, FromRow)]
struct AccountRecord {
    tenant: i32,
    id: Uuid,
    name: String,
    role: String,
    created_by: String,
    created_at: Timestamp,
    password_set_at: Timestamp,
    disabled_at: Option<Timestamp>,
    last_login_at: Option<Timestamp>,
    revision: i64,
}

#[derive(FromRow)]
struct PasswordRecord {
    #[sqlx(flatten)]
    account: AccountRecord,
    password: String,
}

#[derive(FromRow)]
struct SessionRecord {
    session_id: Uuid,
    session_created_at: Timestamp,
    expires_at: Timestamp,
    last_used_at: Timestamp,
    ended_at: Option<Timestamp>,
    lookup: String,
    #[sqlx(flatten)]
    account: AccountRecord,
}

/// With what is kept of the token, which no reader sees.
#[derive(FromRow)]
struct StoredRecord {
    digest: Vec<u8>,
    #[sqlx(flatten)]
    session: SessionRecord,
}

#[derive(FromRow)]
struct SessionAloneRecord {
    tenant: i32,
    id: Uuid,
    account: Uuid,
    created_at: Timestamp,
    expires_at: Timestamp,
    last_used_at: Timestamp,
    ended_at: Option<Timestamp>,
    lookup: String,
}

impl AccountRecord {
    /// A role or name that this program does not know lets nobody in.
    fn into_account(self) -> Result<Account, StoreError> {
        Ok(Account {
            id: AccountId(self.id),
            tenant: TenantId(self.tenant),
            name: AccountName::parse(&self.name).map_err(|_| corrupt("name", &self.name))?,
            role: Role::parse(&self.role).map_err(|_| corrupt("role", &self.role))?,
            created_by: self.created_by,
            created_at: self.created_at,
            password_set_at: self.password_set_at,
            disabled_at: self.disabled_at,
            last_login_at: self.last_login_at,
            revision: self.revision,
        })
    }
}

impl SessionRecord {
    fn into_signed_in(self) -> Result<SignedIn, StoreError> {
        let session = SessionAloneRecord {
            tenant: self.account.tenant,
            id: self.session_id,
            account: self.account.id,
            created_at: self.session_created_at,
            expires_at: self.expires_at,
            last_used_at: self.last_used_at,
            ended_at: self.ended_at,
            lookup: self.lookup,
        };
        Ok(SignedIn { account: self.account.into_account()?, session: session.into_session()? })
    }
}

impl SessionAloneRecord {
    fn into_session(self) -> Result<Session, StoreError> {
        Ok(Session {
            id: SessionId(self.id),
            tenant: TenantId(self.tenant),
            account: AccountId(self.account),
            created_at: self.created_at,
            expires_at: self.expires_at,
            last_used_at: self.last_used_at,
            ended_at: self.ended_at,
            lookup: Lookup::from_record(&self.lookup)
                .ok_or_else(|| corrupt("lookup", &self.lookup))?,
        })
    }
}

fn corrupt(column: &str, value: &str) -> StoreError {
    StoreError::Corrupt { what: format!("{column} of an account: {value}") }
}
