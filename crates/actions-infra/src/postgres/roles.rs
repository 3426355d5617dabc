//! Who runs which statements. The login role owns the engine's tables, and row-level security does
//! not concern it; what the callers of a tenant ask runs as `actions_tenant`, which sees the rows of
//! one tenant at a time and writes nothing.
//!
//! This is the second line. Whoever can send statements of their own can become the login role
//! again, so it is no place for statements that tenants write.

use sqlx::{FromRow, PgConnection};

use actions_domain::id::TenantId;
use actions_domain::ports::store::StoreError;

use super::error::read_error;
use super::{OpenError, Postgres};

/// The role of the tenants' readers. It is the whole server's: installations share it.
const TENANT_ROLE: &str = "actions_tenant";
/// How often the role is asked for while another program makes it, too.
const ROLE_TRIES_MAX: usize = 8;
/// Run by a superuser, it gives what there is to another role, `'actions'`. It stands in
/// `docs/operations.md`, too.
const HAND_OVER: &str = include_str!("roles/hand_over.sql");

/// What every session of a reader starts with beside the others' settings.
pub(super) const READER_SESSION: [(&str, &str); 2] =
    [("role", TENANT_ROLE), ("default_transaction_read_only", "on")];

pub(super) type Reader = sqlx::Transaction<'static, sqlx::Postgres>;

impl Postgres {
    /// Begins to read for a tenant. A statement that forgets its tenant finds rows of this one; one
    /// that came without this, none.
    pub(super) async fn for_tenant(&self, tenant: TenantId) -> Result<Reader, StoreError> {
        let mut tx =
            self.readers.begin_with("begin read only").await.map_err(StoreError::unavailable)?;
        // The role as well: a pooler in between may not have passed on what the session starts with.
        let text = "select set_config('role', $1, true), set_config('actions.tenant', $2, true)";
        sqlx::query(text)
            .bind(TENANT_ROLE)
            .bind(tenant.0.to_string())
            .execute(&mut *tx)
            .await
            .map_err(read_error)?;
        Ok(tx)
    }

    /// Refuses a role that no rule for rows holds back, and one from which they would hide rows
    /// because somebody else owns the tables.
    pub(super) async fn check_own_role(&self) -> Result<(), OpenError> {
        let OwnRole { name, database, is_superuser, bypasses_rules, stranger } =
            sqlx::query_as(include_str!("roles/own_role.sql"))
                .fetch_one(&self.pool)
                .await
                .map_err(OpenError::Unreachable)?;
        if is_superuser {
            let database = quoted(&database);
            return Err(OpenError::Superuser { role: name, database });
        }
        let role = quoted(&name);
        if bypasses_rules {
            return Err(OpenError::BypassesRules { role });
        }
        if let Some(owner) = stranger {
            let heir = format!("'{}'", role.replace('\'', "''"));
            let statements = HAND_OVER.replace("'actions';", &format!("{heir};"));
            return Err(OpenError::Stranger { role, owner, statements });
        }
        Ok(())
    }

    /// Makes the role of the tenants' readers where it is missing, and lets this role become it.
    pub(super) async fn ensure_tenant_role(
        &self,
        connection: &mut PgConnection,
    ) -> Result<(), OpenError> {
        let mut refusal = None;
        let mut is_there = false;
        for _ in 0..ROLE_TRIES_MAX {
            let found: Option<TenantRole> = sqlx::query_as(include_str!("roles/tenant_role.sql"))
                .fetch_optional(&mut *connection)
                .await
                .map_err(OpenError::Unreachable)?;
            is_there = found.is_some();
            match found {
                Some(TenantRole { is_more: true, .. }) => return Err(OpenError::TenantRoleIsMore),
                Some(TenantRole { may_become: true, .. }) => return Ok(()),
                Some(_) | None => {}
            }
            // Roles are the whole server's, so another database's program may do the same at this
            // moment: who is refused looks again.
            let made = sqlx::raw_sql(include_str!("roles/create_tenant_role.sql"))
                .execute(&mut *connection)
                .await;
            refusal = made.err();
            if refusal.as_ref().is_some_and(is_forbidden) {
                break;
            }
        }
        let role: String = sqlx::query_scalar("select current_user::text")
            .fetch_one(connection)
            .await
            .map_err(OpenError::Unreachable)?;
        let role = quoted(&role);
        let created = if is_there { "" } else { "create role actions_tenant nologin; " };
        let statements = format!("{created}grant actions_tenant to {role};");
        Err(OpenError::TenantRole { role, statements, source: refusal })
    }
}

#[derive(Debug, FromRow)]
struct OwnRole {
    name: String,
    database: String,
    is_superuser: bool,
    bypasses_rules: bool,
    stranger: Option<String>,
}

#[derive(Debug, FromRow)]
struct TenantRole {
    /// It may more than it is for, or belongs to a role that may.
    is_more: bool,
    may_become: bool,
}

/// Whether trying again is of no use.
fn is_forbidden(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|refusal| refusal.code()).as_deref() == Some("42501")
}

/// A name as statements have it.
fn quoted(name: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let is_word = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
        && name.chars().all(|letter| is_plain(letter) || letter == '_');
    if is_word { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_quoted_where_it_has_to_be() {
        assert_eq!(quoted("actions_1"), "actions_1");
        assert_eq!(quoted("My \"db\""), r#""My ""db""""#);
        assert_eq!(quoted("1st"), r#""1st""#);
    }
}
