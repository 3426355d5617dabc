//! What every `Accounts` must do: names that are taken, changes that end sessions, and sessions that
//! end for everybody at once.

use actions_domain::Timestamp;
use actions_domain::account::{
    Account, AccountChange, AccountName, PasswordHash, Session, SignedIn, StoredSession,
};
use actions_domain::api_key::{TOKEN_RANDOM_BYTES, Token};
use actions_domain::authorization::Role;
use actions_domain::id::{AccountId, SessionId, TenantId};
use actions_domain::limits::{ACCOUNT_SESSIONS_MAX, SESSION_KEPT, SESSION_LIFETIME};
use actions_domain::ports::accounts::AccountsError;
use actions_domain::ports::api_keys::ApiKeyChanges;
use chrono::{DateTime, TimeDelta};

use super::given;
use super::stores::{Ports, Stores};

contract! { Accounts:
    what_was_created_is_listed_and_found,
    a_name_belongs_to_one_account_of_a_tenant,
    each_change_is_made_once_and_ends_the_sessions,
    what_was_judged_by_an_older_revision_is_refused,
    a_session_is_found_by_its_token_and_ends_once,
    the_oldest_session_makes_room,
    what_has_ended_long_ago_is_forgotten,
    uses_of_sessions_are_noted_and_never_go_back,
    the_version_tells_which_sessions_ended,
    accounts_of_other_tenants_are_not_touched,
    nothing_that_is_kept_shows_a_token_or_a_hash,
}

const ADMIN: TenantId = TenantId::ADMIN;

fn at(seconds: i64) -> Timestamp {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap() + TimeDelta::microseconds(7)
}

fn hash(text: &str) -> PasswordHash {
    PasswordHash::from_record(format!("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ${text}"))
}

fn account(name: &str) -> Account {
    Account {
        id: AccountId(given::uuid()),
        tenant: ADMIN,
        name: AccountName::parse(name).unwrap(),
        role: Role::Operator,
        created_by: "token:\"boot\"".to_owned(),
        created_at: at(0),
        password_set_at: at(0),
        disabled_at: None,
        last_login_at: None,
        revision: 0,
    }
}

async fn create(ports: &Ports, name: &str) -> Account {
    let account = account(name);
    ports.accounts.create_account(&account, &hash(name), None).await.unwrap();
    account
}

fn token() -> Token {
    let mut random = [0; TOKEN_RANDOM_BYTES];
    random[..16].copy_from_slice(given::uuid().as_bytes());
    random[16..32].copy_from_slice(given::uuid().as_bytes());
    random.rotate_left(8);
    Token::mint_session(&random)
}

fn session(account: &Account, token: &Token, now: Timestamp) -> StoredSession {
    let session = Session {
        id: SessionId(given::uuid()),
        tenant: account.tenant,
        account: account.id,
        created_at: now,
        expires_at: now + SESSION_LIFETIME,
        last_used_at: now,
        ended_at: None,
        lookup: token.lookup(),
    };
    StoredSession { session, digest: token.digest() }
}

async fn begin(ports: &Ports, account: &Account, now: Timestamp) -> (StoredSession, Token) {
    let token = token();
    let stored = session(account, &token, now);
    ports.accounts.create_session(account, &stored, None).await.unwrap();
    (stored, token)
}

/// Somebody of this tenant, logged in.
pub(super) async fn log_in(
    ports: &Ports,
    tenant: TenantId,
    name: &str,
) -> (Account, StoredSession) {
    let account = Account { tenant, ..account(name) };
    ports.accounts.create_account(&account, &hash(name), None).await.unwrap();
    let (stored, _) = begin(ports, &account, at(0)).await;
    (account, stored)
}

/// One more session that an account may begin.
pub(super) fn next_session(account: &Account) -> StoredSession {
    session(account, &token(), at(1))
}

async fn changes(ports: &Ports, since: Option<i64>) -> ApiKeyChanges {
    ports.api_keys.api_key_changes(since).await.unwrap()
}

async fn current(ports: &Ports, account: &Account) -> Option<Account> {
    let found = ports.accounts.find_account(account.tenant, &account.name).await.unwrap();
    found.map(|(account, _)| account)
}

async fn ended_at(ports: &Ports, session: &StoredSession) -> Option<Timestamp> {
    let found = ports.accounts.session(ADMIN, session.session.id).await.unwrap();
    found.unwrap().session.ended_at
}

async fn what_was_created_is_listed_and_found(stores: &Stores) {
    let ports = stores.open().await;
    let zoe = Account { role: Role::PlatformAdmin, ..account("zoe") };
    let ada = Account {
        disabled_at: Some(at(3)),
        last_login_at: Some(at(2)),
        revision: 4,
        ..account("ada@example.com")
    };
    for account in [&zoe, &ada] {
        ports.accounts.create_account(account, &hash(account.name.as_str()), None).await.unwrap();
    }
    let other = stores.open().await;
    assert_eq!(other.accounts.accounts(ADMIN).await.unwrap(), [ada.clone(), zoe.clone()]);
    for account in [ada, zoe] {
        let found = other.accounts.find_account(ADMIN, &account.name).await.unwrap();
        assert_eq!(found, Some((account.clone(), hash(account.name.as_str()))));
    }
    let nobody = AccountName::parse("nobody").unwrap();
    assert_eq!(other.accounts.find_account(ADMIN, &nobody).await.unwrap(), None);
    let nobodys = Account { tenant: TenantId(999), ..account("ada") };
    let missing = other.accounts.create_account(&nobodys, &hash("x"), None).await;
    assert!(matches!(missing, Err(AccountsError::NotFound { what: "tenant" })), "{missing:?}");
}

async fn a_name_belongs_to_one_account_of_a_tenant(stores: &Stores) {
    let ports = stores.open().await;
    let first = create(&ports, "ada").await;
    let taken = ports.accounts.create_account(&account("ada"), &hash("x"), None).await;
    assert!(matches!(taken, Err(AccountsError::Exists { .. })), "{taken:?}");
    let found = ports.accounts.find_account(ADMIN, &first.name).await.unwrap();
    assert_eq!(found, Some((first.clone(), hash("ada"))), "nothing was changed");
    ports.accounts.change_account(&first, &AccountChange::Delete, at(1), None).await.unwrap();
    let second = create(&ports, "ada").await;
    assert_eq!(ports.accounts.accounts(ADMIN).await.unwrap(), [second]);
}

async fn each_change_is_made_once_and_ends_the_sessions(stores: &Stores) {
    let ports = stores.open().await;
    let mut known = create(&ports, "ada").await;
    let steps = [
        AccountChange::Password(hash("new")),
        AccountChange::Role(Role::Viewer),
        AccountChange::Disable,
        AccountChange::Enable,
        AccountChange::LogOut,
        AccountChange::Delete,
    ];
    for (step, now) in steps.iter().zip((10..).step_by(10).map(at)) {
        let (own, token) = begin(&ports, &known, now - TimeDelta::seconds(1)).await;
        known = current(&ports, &known).await.unwrap();
        let mut expected = known.clone();
        match step {
            AccountChange::Password(_) => expected.password_set_at = now,
            AccountChange::Role(role) => expected.role = *role,
            AccountChange::Disable => expected.disabled_at = Some(now),
            AccountChange::Enable => expected.disabled_at = None,
            AccountChange::LogOut | AccountChange::Delete => {}
        }
        let is_deleted = *step == AccountChange::Delete;
        expected.revision += i64::from(!is_deleted);
        let before = changes(&ports, None).await.version;
        let changed = ports.accounts.change_account(&known, step, now, None).await.unwrap();
        assert_eq!(changed, expected, "{step:?}");
        let told = changes(&ports, Some(before)).await;
        assert_eq!(told.sessions, [own.session.id], "{step:?}");
        let again = ports.accounts.change_account(&known, step, now, None).await;
        let found = ports.accounts.find_session(&token.lookup()).await.unwrap();
        if is_deleted {
            let is_gone = matches!(again, Err(AccountsError::NotFound { what: "account" }));
            assert!(is_gone, "{again:?}");
            assert_eq!(current(&ports, &known).await, None);
            assert_eq!(found, None);
        } else {
            assert!(matches!(again, Err(AccountsError::Stale)), "{step:?}: {again:?}");
            assert_eq!(current(&ports, &known).await, Some(expected.clone()));
            assert_eq!(found.unwrap().1.session.ended_at, Some(now));
        }
        known = expected;
    }
}

async fn what_was_judged_by_an_older_revision_is_refused(stores: &Stores) {
    let ports = stores.open().await;
    let old = create(&ports, "ada").await;
    let change = AccountChange::Password(hash("new"));
    let new = ports.accounts.change_account(&old, &change, at(1), None).await.unwrap();
    // Whoever was found right by the old password gets nothing for it.
    let late = session(&old, &token(), at(2));
    let refused = ports.accounts.create_session(&old, &late, None).await;
    assert!(matches!(refused, Err(AccountsError::Stale)), "{refused:?}");
    assert_eq!(ports.accounts.sessions(ADMIN, at(2)).await.unwrap(), []);
    assert_eq!(current(&ports, &old).await.unwrap().last_login_at, None);
    begin(&ports, &new, at(3)).await;
    let gone = account("gone");
    let nobodys = session(&gone, &token(), at(2));
    let refused = ports.accounts.create_session(&gone, &nobodys, None).await;
    assert!(matches!(refused, Err(AccountsError::NotFound { what: "account" })), "{refused:?}");
}

async fn a_session_is_found_by_its_token_and_ends_once(stores: &Stores) {
    let ports = stores.open().await;
    let account = create(&ports, "ada").await;
    let (own, token) = begin(&ports, &account, at(5)).await;
    let account = Account { last_login_at: Some(at(5)), ..account };
    let other = stores.open().await;
    let found = other.accounts.find_session(&token.lookup()).await.unwrap();
    assert_eq!(found, Some((account.clone(), own.clone())));
    let signed_in = SignedIn { account: account.clone(), session: own.session.clone() };
    assert_eq!(
        other.accounts.sessions(ADMIN, at(6)).await.unwrap(),
        std::slice::from_ref(&signed_in)
    );
    let by_id = other.accounts.session(ADMIN, own.session.id).await.unwrap();
    assert_eq!(by_id, Some(signed_in));
    assert_eq!(
        other.accounts.find_session(&super::accounts::token().lookup()).await.unwrap(),
        None
    );
    let taken = session(&account, &token, at(6));
    let taken = other.accounts.create_session(&account, &taken, None).await;
    assert!(matches!(taken, Err(AccountsError::Taken)), "{taken:?}");
    let id = own.session.id;
    let ended = other.accounts.end_session(ADMIN, id, at(7), None).await.unwrap();
    assert_eq!(ended, Session { ended_at: Some(at(7)), ..own.session.clone() });
    assert_eq!(other.accounts.end_session(ADMIN, id, at(9), None).await.unwrap(), ended);
    assert_eq!(ports.accounts.sessions(ADMIN, at(8)).await.unwrap(), []);
    let found = ports.accounts.find_session(&token.lookup()).await.unwrap().unwrap();
    assert_eq!(found.1.session, ended, "so that a refusal can be explained");
    let nobodys = SessionId(given::uuid());
    let missing = ports.accounts.end_session(ADMIN, nobodys, at(9), None).await;
    assert!(matches!(missing, Err(AccountsError::NotFound { what: "session" })), "{missing:?}");
}

async fn the_oldest_session_makes_room(stores: &Stores) {
    let ports = stores.open().await;
    let (ada, bob) = (create(&ports, "ada").await, create(&ports, "bob").await);
    let (bobs, _) = begin(&ports, &bob, at(0)).await;
    let mut all = Vec::new();
    for number in 0..i64::try_from(ACCOUNT_SESSIONS_MAX).unwrap() {
        all.push(begin(&ports, &ada, at(number)).await.0);
    }
    let version = changes(&ports, None).await.version;
    begin(&ports, &ada, at(100)).await;
    assert_eq!(ended_at(&ports, &all[0]).await, Some(at(100)));
    for other in all[1..].iter().chain([&bobs]) {
        assert_eq!(ended_at(&ports, other).await, None);
    }
    assert_eq!(changes(&ports, Some(version)).await.sessions, [all[0].session.id]);
}

async fn what_has_ended_long_ago_is_forgotten(stores: &Stores) {
    let ports = stores.open().await;
    let account = create(&ports, "ada").await;
    let (ended, _) = begin(&ports, &account, at(0)).await;
    let (expired, _) = begin(&ports, &account, at(0)).await;
    ports.accounts.end_session(ADMIN, ended.session.id, at(10), None).await.unwrap();
    let kept = TimeDelta::from_std(SESSION_KEPT).unwrap();
    let is_there = async |session: &StoredSession| {
        ports.accounts.session(ADMIN, session.session.id).await.unwrap().is_some()
    };
    begin(&ports, &account, at(9) + kept).await;
    assert!(is_there(&ended).await && is_there(&expired).await);
    begin(&ports, &account, at(10) + kept).await;
    assert!(!is_there(&ended).await && is_there(&expired).await);
    begin(&ports, &account, expired.session.expires_at + kept).await;
    assert!(!is_there(&expired).await);
}

async fn uses_of_sessions_are_noted_and_never_go_back(stores: &Stores) {
    let ports = stores.open().await;
    let account = create(&ports, "ada").await;
    let (one, _) = begin(&ports, &account, at(0)).await;
    let (other, _) = begin(&ports, &account, at(50)).await;
    let (one, other) = (one.session.id, other.session.id);
    let gone = SessionId(given::uuid());
    let uses = [(other, at(40)), (gone, at(60)), (one, at(30))];
    ports.accounts.note_session_uses(&uses).await.unwrap();
    ports.accounts.note_session_uses(&[(one, at(20))]).await.unwrap();
    ports.accounts.note_session_uses(&[]).await.unwrap();
    let used =
        async |id| ports.accounts.session(ADMIN, id).await.unwrap().unwrap().session.last_used_at;
    assert_eq!((used(one).await, used(other).await), (at(30), at(50)));
}

async fn the_version_tells_which_sessions_ended(stores: &Stores) {
    let (ports, other) = (stores.open().await, stores.open().await);
    let start = changes(&other, None).await;
    let account = create(&ports, "ada").await;
    let (one, _) = begin(&ports, &account, at(0)).await;
    let (two, _) = begin(&ports, &account, at(1)).await;
    ports.accounts.note_session_uses(&[(one.session.id, at(2))]).await.unwrap();
    assert_eq!(changes(&other, Some(start.version)).await, start, "nobody may do less");
    ports.accounts.end_session(ADMIN, one.session.id, at(3), None).await.unwrap();
    let after = changes(&other, Some(start.version)).await;
    assert!(after.version > start.version);
    assert_eq!((after.sessions.as_slice(), after.keys.len()), (&[one.session.id][..], 0));
    ports.accounts.end_session(ADMIN, one.session.id, at(4), None).await.unwrap();
    assert_eq!(changes(&other, None).await.version, after.version, "it was ended before");
    let known = current(&ports, &account).await.unwrap();
    ports.accounts.change_account(&known, &AccountChange::Delete, at(5), None).await.unwrap();
    let last = changes(&other, Some(after.version)).await;
    assert_eq!(last.sessions, [two.session.id], "also where the account is gone");
}

async fn accounts_of_other_tenants_are_not_touched(stores: &Stores) {
    let ports = stores.open().await;
    let slug = "acme".parse().unwrap();
    let acme =
        ports.definitions.create_tenant(given::uuid(), &slug, "Acme", None).await.unwrap().id;
    let theirs = create(&ports, "ada").await;
    let own = Account { tenant: acme, ..account("ada") };
    let created = ports.accounts.create_account(&own, &hash("own"), None).await;
    created.expect("names are the tenant's own");
    assert_eq!(ports.accounts.accounts(acme).await.unwrap(), std::slice::from_ref(&own));
    let (session, _) = begin(&ports, &theirs, at(0)).await;
    assert_eq!(ports.accounts.sessions(acme, at(1)).await.unwrap(), []);
    let id = session.session.id;
    assert_eq!(ports.accounts.session(acme, id).await.unwrap(), None);
    let refused = ports.accounts.end_session(acme, id, at(1), None).await;
    assert!(matches!(refused, Err(AccountsError::NotFound { .. })), "{refused:?}");
    let foreign = Account { tenant: acme, ..theirs.clone() };
    let refused = ports.accounts.change_account(&foreign, &AccountChange::Delete, at(1), None);
    let refused = refused.await;
    assert!(matches!(refused, Err(AccountsError::NotFound { .. })), "{refused:?}");
    ports.accounts.change_account(&own, &AccountChange::LogOut, at(2), None).await.unwrap();
    assert_eq!(ended_at(&ports, &session).await, None);
}

async fn nothing_that_is_kept_shows_a_token_or_a_hash(stores: &Stores) {
    let ports = stores.open().await;
    let account = create(&ports, "ada").await;
    let (_, token) = begin(&ports, &account, at(0)).await;
    let (account, stored) = ports.accounts.find_session(&token.lookup()).await.unwrap().unwrap();
    let (_, kept) = ports.accounts.find_account(ADMIN, &account.name).await.unwrap().unwrap();
    let shown = format!("{account:?} {stored:?} {kept:?}");
    assert!(!shown.contains(&token.expose()[15..]) && !shown.contains("argon2"), "{shown}");
}
