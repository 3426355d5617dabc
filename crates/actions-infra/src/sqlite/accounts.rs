//! Accounts and sessions in SQLite. The one write lock stands for the locks on rows.

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
use actions_domain::ports::store::StoreError;
use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use uuid::Uuid;

use super::SqliteStore;
use super::api_keys::{next_version, time};
use super::audit::append;
use super::error::{commit_error, store_error};
use super::record::{corrupt, get, micros, timestamp};

#[async_trait]
impl Accounts for SqliteStore {
    async fn create_account(
        &self,
        account: &Account,
        password: &PasswordHash,
        act: Option<&Act>,
    ) -> Result<(), AccountsError> {
        let mut tx = self.begin().await?;
        check_home(&mut tx, account.tenant).await?;
        let text = "select count(*) from engine_account where tenant = ?";
        let count: i64 = sqlx::query_scalar(text)
            .bind(account.tenant.0)
            .fetch_one(&mut *tx)
            .await
            .map_err(store_error)?;
        if count.unsigned_abs() >= ACCOUNTS_MAX as u64 {
            return Err(AccountsError::TooMany);
        }
        let inserted = sqlx::query(include_str!("accounts/insert_account.sql"))
            .bind(account.tenant.0)
            .bind(account.id.0)
            .bind(account.name.as_str())
            .bind(account.role.word())
            .bind(&account.created_by)
            .bind(micros(account.created_at))
            .bind(micros(account.password_set_at))
            .bind(account.disabled_at.map(micros))
            .bind(account.last_login_at.map(micros))
            .bind(account.revision)
            .bind(password.as_str())
            .execute(&mut *tx)
            .await
            .map_err(store_error)?;
        if inserted.rows_affected() == 0 {
            return Err(AccountsError::Exists { name: account.name.to_string() });
        }
        append(&mut tx, act).await?;
        tx.commit().await.map_err(commit_error)?;
        Ok(())
    }

    async fn accounts(&self, tenant: TenantId) -> Result<Vec<Account>, StoreError> {
        let rows = sqlx::query("select * from engine_account where tenant = ? order by name")
            .bind(tenant.0)
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        rows.iter().map(account).collect()
    }

    async fn find_account(
        &self,
        tenant: TenantId,
        name: &AccountName,
    ) -> Result<Option<(Account, PasswordHash)>, StoreError> {
        let row = sqlx::query("select * from engine_account where tenant = ? and name = ?")
            .bind(tenant.0)
            .bind(name.as_str())
            .fetch_optional(&self.readers)
            .await
            .map_err(store_error)?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some((account(&row)?, PasswordHash::from_record(get(&row, "password")?))))
    }

    async fn change_account(
        &self,
        known: &Account,
        change: &AccountChange,
        now: Timestamp,
        act: Option<&Act>,
    ) -> Result<Account, AccountsError> {
        let (mut password, mut role, mut step) = (None, None, None);
        match change {
            AccountChange::Password(hash) => password = Some(hash.as_str()),
            AccountChange::Role(new) => role = Some(new.word()),
            AccountChange::Disable => step = Some("disable"),
            AccountChange::Enable => step = Some("enable"),
            AccountChange::LogOut | AccountChange::Delete => {}
        }
        let mut tx = self.begin().await?;
        check_home(&mut tx, known.tenant).await?;
        let query = if *change == AccountChange::Delete {
            let text = "delete from engine_account where tenant = ? and id = ? and revision = ?
                returning *";
            sqlx::query(text).bind(known.tenant.0).bind(known.id.0).bind(known.revision)
        } else {
            sqlx::query(include_str!("accounts/change_account.sql"))
                .bind(known.tenant.0)
                .bind(known.id.0)
                .bind(known.revision)
                .bind(micros(now))
                .bind(password)
                .bind(role)
                .bind(step)
        };
        let row = query.fetch_optional(&mut *tx).await.map_err(store_error)?;
        let Some(row) = row else { return Err(why_not(&mut tx, known).await?) };
        let changed = account(&row)?;
        let holding = holding(&mut tx, known, now, 0).await?;
        end(&mut tx, &holding, now).await?;
        append(&mut tx, act).await?;
        tx.commit().await.map_err(commit_error)?;
        Ok(changed)
    }

    async fn create_session(
        &self,
        account: &Account,
        session: &StoredSession,
        act: Option<&Act>,
    ) -> Result<(), AccountsError> {
        let StoredSession { session, digest } = session;
        let now = session.created_at;
        let mut tx = self.begin().await?;
        check_home(&mut tx, account.tenant).await?;
        let noted = sqlx::query(
            "update engine_account set last_login_at = ?4
            where tenant = ?1 and id = ?2 and revision = ?3",
        )
        .bind(account.tenant.0)
        .bind(account.id.0)
        .bind(account.revision)
        .bind(micros(now))
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        if noted.rows_affected() == 0 {
            return Err(why_not(&mut tx, account).await?);
        }
        let surplus = holding(&mut tx, account, now, ACCOUNT_SESSIONS_MAX - 1).await?;
        end(&mut tx, &surplus, now).await?;
        sqlx::query(
            "delete from engine_session
            where tenant = ? and min(coalesce(ended_at, expires_at), expires_at) <= ?",
        )
        .bind(account.tenant.0)
        .bind(micros(now - SESSION_KEPT))
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        let inserted = sqlx::query(include_str!("accounts/insert_session.sql"))
            .bind(session.tenant.0)
            .bind(session.id.0)
            .bind(session.account.0)
            .bind(session.lookup.as_str())
            .bind(digest.as_bytes().as_slice())
            .bind(micros(session.created_at))
            .bind(micros(session.expires_at))
            .bind(micros(session.last_used_at))
            .bind(session.ended_at.map(micros))
            .execute(&mut *tx)
            .await
            .map_err(store_error)?;
        if inserted.rows_affected() == 0 {
            return Err(AccountsError::Taken);
        }
        append(&mut tx, act).await?;
        tx.commit().await.map_err(commit_error)?;
        Ok(())
    }

    async fn sessions(
        &self,
        tenant: TenantId,
        now: Timestamp,
    ) -> Result<Vec<SignedIn>, StoreError> {
        let rows = sqlx::query(include_str!("accounts/sessions.sql"))
            .bind(tenant.0)
            .bind(micros(now))
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        rows.iter().map(signed_in).collect()
    }

    async fn find_session(
        &self,
        lookup: &Lookup,
    ) -> Result<Option<(Account, StoredSession)>, StoreError> {
        let row = sqlx::query(include_str!("accounts/find_session.sql"))
            .bind(lookup.as_str())
            .fetch_optional(&self.readers)
            .await
            .map_err(store_error)?;
        let Some(row) = row else { return Ok(None) };
        let digest: &[u8] = get(&row, "digest")?;
        let digest = digest.try_into().map_err(|_| corrupt("digest", lookup.as_str()))?;
        let SignedIn { account, session } = signed_in(&row)?;
        Ok(Some((account, StoredSession { session, digest: Digest::from_record(digest) })))
    }

    async fn end_session(
        &self,
        tenant: TenantId,
        id: SessionId,
        now: Timestamp,
        act: Option<&Act>,
    ) -> Result<Session, AccountsError> {
        let mut tx = self.begin().await?;
        check_home(&mut tx, tenant).await?;
        let text = "select *, id as session_id, created_at as session_created_at
            from engine_session where tenant = ? and id = ?";
        let row = sqlx::query(text)
            .bind(tenant.0)
            .bind(id.0)
            .fetch_optional(&mut *tx)
            .await
            .map_err(store_error)?;
        let row = row.ok_or(AccountsError::NotFound { what: "session" })?;
        let found = session(&row, AccountId(get(&row, "account")?))?;
        if found.ended_at.is_some() {
            return Ok(found);
        }
        end(&mut tx, &[id.0], now).await?;
        append(&mut tx, act).await?;
        tx.commit().await.map_err(commit_error)?;
        Ok(Session { ended_at: Some(now), ..found })
    }

    async fn note_session_uses(&self, uses: &[(SessionId, Timestamp)]) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        for (session, at) in uses {
            sqlx::query(
                "update engine_session set last_used_at = max(last_used_at, ?2) where id = ?1",
            )
            .bind(session.0)
            .bind(micros(*at))
            .execute(&mut *tx)
            .await
            .map_err(store_error)?;
        }
        tx.commit().await.map_err(commit_error)
    }

    async fn session(
        &self,
        tenant: TenantId,
        session: SessionId,
    ) -> Result<Option<SignedIn>, StoreError> {
        let row = sqlx::query(include_str!("accounts/session.sql"))
            .bind(tenant.0)
            .bind(session.0)
            .fetch_optional(&self.readers)
            .await
            .map_err(store_error)?;
        row.as_ref().map(signed_in).transpose()
    }
}

/// Nothing begins in a tenant that is gone: its accounts may be there for a moment longer.
async fn check_home(tx: &mut SqliteConnection, tenant: TenantId) -> Result<(), AccountsError> {
    let found = sqlx::query("select id from engine_tenant where id = ?")
        .bind(tenant.0)
        .fetch_optional(tx)
        .await
        .map_err(store_error)?;
    found.map(drop).ok_or(AccountsError::NotFound { what: "tenant" })
}

/// Why no row of an account has its revision.
async fn why_not(
    tx: &mut SqliteConnection,
    account: &Account,
) -> Result<AccountsError, StoreError> {
    let found = sqlx::query("select id from engine_account where tenant = ? and id = ?")
        .bind(account.tenant.0)
        .bind(account.id.0)
        .fetch_optional(tx)
        .await
        .map_err(store_error)?;
    let missing = AccountsError::NotFound { what: "account" };
    Ok(found.map_or(missing, |_| AccountsError::Stale))
}

async fn holding(
    tx: &mut SqliteConnection,
    account: &Account,
    now: Timestamp,
    without: usize,
) -> Result<Vec<Uuid>, StoreError> {
    sqlx::query_scalar(include_str!("accounts/holding.sql"))
        .bind(account.tenant.0)
        .bind(account.id.0)
        .bind(micros(now))
        .bind(i64::try_from(without).unwrap_or(i64::MAX))
        .fetch_all(tx)
        .await
        .map_err(store_error)
}

/// Nobody may do less where none is ended.
async fn end(
    tx: &mut SqliteConnection,
    sessions: &[Uuid],
    now: Timestamp,
) -> Result<(), StoreError> {
    if sessions.is_empty() {
        return Ok(());
    }
    let version = next_version(&mut *tx).await?;
    for session in sessions {
        sqlx::query("update engine_session set ended_at = ?2, version = ?3 where id = ?1")
            .bind(session)
            .bind(micros(now))
            .bind(version)
            .execute(&mut *tx)
            .await
            .map_err(store_error)?;
    }
    Ok(())
}

/// A role or name that this program does not know lets nobody in.
fn account(row: &SqliteRow) -> Result<Account, StoreError> {
    let (name, role): (&str, &str) = (get(row, "name")?, get(row, "role")?);
    Ok(Account {
        id: get(row, "id").map(AccountId)?,
        tenant: get(row, "tenant").map(TenantId)?,
        name: AccountName::parse(name).map_err(|error| corrupt("name", error))?,
        role: Role::parse(role).map_err(|error| corrupt("role", error))?,
        created_by: get(row, "created_by")?,
        created_at: timestamp(get(row, "created_at")?)?,
        password_set_at: timestamp(get(row, "password_set_at")?)?,
        disabled_at: time(row, "disabled_at")?,
        last_login_at: time(row, "last_login_at")?,
        revision: get(row, "revision")?,
    })
}

fn session(row: &SqliteRow, account: AccountId) -> Result<Session, StoreError> {
    let lookup: &str = get(row, "lookup")?;
    Ok(Session {
        id: get(row, "session_id").map(SessionId)?,
        tenant: get(row, "tenant").map(TenantId)?,
        account,
        created_at: timestamp(get(row, "session_created_at")?)?,
        expires_at: timestamp(get(row, "expires_at")?)?,
        last_used_at: timestamp(get(row, "last_used_at")?)?,
        ended_at: time(row, "ended_at")?,
        lookup: Lookup::from_record(lookup).ok_or_else(|| corrupt("lookup", lookup))?,
    })
}

fn signed_in(row: &SqliteRow) -> Result<SignedIn, StoreError> {
    let account = account(row)?;
    let session = session(row, account.id)?;
    Ok(SignedIn { account, session })
}
