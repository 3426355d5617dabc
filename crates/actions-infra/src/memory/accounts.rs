//! Accounts and sessions, in memory.

use actions_domain::Timestamp;
use actions_domain::account::{
    Account, AccountChange, AccountName, PasswordHash, Session, SignedIn, StoredSession,
};
use actions_domain::api_key::Lookup;
use actions_domain::audit::Act;
use actions_domain::id::{SessionId, TenantId};
use actions_domain::limits::{ACCOUNT_SESSIONS_MAX, ACCOUNTS_MAX, SESSION_KEPT};
use actions_domain::ports::accounts::{Accounts, AccountsError};
use actions_domain::ports::store::StoreError;
use async_trait::async_trait;

use super::{Memory, Tables};

/// An account with what is kept of its password.
pub(super) struct AccountRow {
    account: Account,
    password: PasswordHash,
}

pub(super) struct SessionRow {
    stored: StoredSession,
    /// When it was ended.
    pub(super) version: i64,
}

impl AccountRow {
    pub(super) fn tenant(&self) -> TenantId {
        self.account.tenant
    }
}

impl SessionRow {
    pub(super) fn session(&self) -> &Session {
        &self.stored.session
    }
}

#[async_trait]
impl Accounts for Memory {
    async fn create_account(
        &self,
        account: &Account,
        password: &PasswordHash,
        act: Option<&Act>,
    ) -> Result<(), AccountsError> {
        let mut tables = self.tables();
        tables.check_home(account.tenant)?;
        let own = tables.accounts.values().map(|row| &row.account);
        if own.filter(|other| other.tenant == account.tenant).count() >= ACCOUNTS_MAX {
            return Err(AccountsError::TooMany);
        }
        let mut own = tables.accounts.values().map(|row| &row.account);
        if own.any(|other| other.tenant == account.tenant && other.name == account.name) {
            return Err(AccountsError::Exists { name: account.name.to_string() });
        }
        let row = AccountRow { account: account.clone(), password: password.clone() };
        tables.accounts.insert(account.id, row);
        tables.record(act);
        Ok(())
    }

    async fn accounts(&self, tenant: TenantId) -> Result<Vec<Account>, StoreError> {
        let tables = self.tables();
        let own = tables.accounts.values().map(|row| &row.account);
        let mut own: Vec<_> = own.filter(|account| account.tenant == tenant).cloned().collect();
        own.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(own)
    }

    async fn find_account(
        &self,
        tenant: TenantId,
        name: &AccountName,
    ) -> Result<Option<(Account, PasswordHash)>, StoreError> {
        let tables = self.tables();
        let is_meant =
            |row: &&AccountRow| row.account.tenant == tenant && row.account.name == *name;
        let found = tables.accounts.values().find(is_meant);
        Ok(found.map(|row| (row.account.clone(), row.password.clone())))
    }

    async fn change_account(
        &self,
        account: &Account,
        change: &AccountChange,
        now: Timestamp,
        act: Option<&Act>,
    ) -> Result<Account, AccountsError> {
        let mut tables = self.tables();
        let row = tables.account(account)?;
        row.account.revision += i64::from(*change != AccountChange::Delete);
        match change {
            AccountChange::Password(hash) => {
                row.password = hash.clone();
                row.account.password_set_at = now;
            }
            AccountChange::Role(role) => row.account.role = *role,
            AccountChange::Disable => row.account.disabled_at = Some(now),
            AccountChange::Enable => row.account.disabled_at = None,
            AccountChange::LogOut | AccountChange::Delete => {}
        }
        let changed = row.account.clone();
        if *change == AccountChange::Delete {
            tables.accounts.remove(&account.id);
        }
        tables.end_sessions(now, |session| session.account == account.id);
        tables.record(act);
        Ok(changed)
    }

    async fn create_session(
        &self,
        account: &Account,
        session: &StoredSession,
        act: Option<&Act>,
    ) -> Result<(), AccountsError> {
        let mut tables = self.tables();
        let (now, lookup) = (session.session.created_at, session.session.lookup);
        tables.account(account)?;
        if tables.sessions.values().any(|row| row.stored.session.lookup == lookup) {
            return Err(AccountsError::Taken);
        }
        let own = tables.sessions.values().map(|row| &row.stored.session);
        let own = own.filter(|old| old.account == account.id);
        let own = own.filter(|old| old.ended_at.is_none() && old.expires_at > now);
        let mut holding: Vec<_> = own.map(|old| (old.created_at, old.id)).collect();
        holding.sort_unstable();
        let surplus = (holding.len() + 1).saturating_sub(ACCOUNT_SESSIONS_MAX);
        let surplus: Vec<_> = holding.into_iter().take(surplus).map(|(_, id)| id).collect();
        tables.end_sessions(now, |session| surplus.contains(&session.id));
        tables.sessions.retain(|_, row| {
            let Session { tenant, ended_at, expires_at, .. } = row.stored.session;
            let end = ended_at.map_or(expires_at, |at| at.min(expires_at));
            tenant != account.tenant || end + SESSION_KEPT > now
        });
        let row = SessionRow { stored: session.clone(), version: 0 };
        tables.sessions.insert(session.session.id, row);
        tables.account(account)?.account.last_login_at = Some(now);
        tables.record(act);
        Ok(())
    }

    async fn sessions(
        &self,
        tenant: TenantId,
        now: Timestamp,
    ) -> Result<Vec<SignedIn>, StoreError> {
        let tables = self.tables();
        let all = tables.sessions.values().map(|row| &row.stored.session);
        let holding = all.filter(|session| {
            session.tenant == tenant && session.ended_at.is_none() && session.expires_at > now
        });
        let mut found: Vec<_> = holding.filter_map(|session| tables.signed_in(session)).collect();
        found.sort_by_key(|found| (found.session.created_at, found.session.id));
        Ok(found)
    }

    async fn find_session(
        &self,
        lookup: &Lookup,
    ) -> Result<Option<(Account, StoredSession)>, StoreError> {
        let tables = self.tables();
        let found = tables.sessions.values().find(|row| row.stored.session.lookup == *lookup);
        Ok(found.and_then(|row| {
            let SignedIn { account, .. } = tables.signed_in(&row.stored.session)?;
            Some((account, row.stored.clone()))
        }))
    }

    async fn end_session(
        &self,
        tenant: TenantId,
        session: SessionId,
        now: Timestamp,
        act: Option<&Act>,
    ) -> Result<Session, AccountsError> {
        let mut tables = self.tables();
        tables.check_home(tenant)?;
        let found = tables.sessions.get(&session).map(|row| row.stored.session.clone());
        let found = found.filter(|found| found.tenant == tenant);
        let found = found.ok_or(AccountsError::NotFound { what: "session" })?;
        if found.ended_at.is_some() {
            return Ok(found);
        }
        tables.end_sessions(now, |one| one.id == session);
        tables.record(act);
        Ok(Session { ended_at: Some(now), ..found })
    }

    async fn note_session_uses(&self, uses: &[(SessionId, Timestamp)]) -> Result<(), StoreError> {
        let mut tables = self.tables();
        for (session, at) in uses {
            if let Some(row) = tables.sessions.get_mut(session) {
                let session = &mut row.stored.session;
                session.last_used_at = session.last_used_at.max(*at);
            }
        }
        Ok(())
    }

    async fn session(
        &self,
        tenant: TenantId,
        session: SessionId,
    ) -> Result<Option<SignedIn>, StoreError> {
        let tables = self.tables();
        let found = tables.sessions.get(&session).map(|row| &row.stored.session);
        let found = found.filter(|session| session.tenant == tenant);
        Ok(found.and_then(|session| tables.signed_in(session)))
    }
}

impl Tables {
    /// Nothing begins in a tenant that is gone: its accounts may be there for a moment longer.
    fn check_home(&self, tenant: TenantId) -> Result<(), AccountsError> {
        match self.tenants.contains_key(&tenant) {
            true => Ok(()),
            false => Err(AccountsError::NotFound { what: "tenant" }),
        }
    }

    /// The row of an account that is as somebody has read it.
    fn account(&mut self, account: &Account) -> Result<&mut AccountRow, AccountsError> {
        self.check_home(account.tenant)?;
        let found = self.accounts.get_mut(&account.id);
        let found = found.filter(|row| row.account.tenant == account.tenant);
        let row = found.ok_or(AccountsError::NotFound { what: "account" })?;
        if row.account.revision == account.revision { Ok(row) } else { Err(AccountsError::Stale) }
    }

    fn signed_in(&self, session: &Session) -> Option<SignedIn> {
        let account = self.accounts.get(&session.account)?.account.clone();
        Some(SignedIn { account, session: session.clone() })
    }

    /// Nobody may do less where none is ended.
    pub(super) fn end_sessions(&mut self, now: Timestamp, which: impl Fn(&Session) -> bool) {
        let version = self.api_key_version + 1;
        for row in self.sessions.values_mut() {
            let session = &mut row.stored.session;
            if session.ended_at.is_none() && which(session) {
                session.ended_at = Some(now);
                row.version = version;
                self.api_key_version = version;
            }
        }
    }
}
