//! What every `ApiKeys` must do: names that are taken while a key holds, tokens that end when they
//! should, and a version that grows whenever somebody may do less.

use actions_domain::Timestamp;
use actions_domain::api_key::{ApiKey, ApiKeyName, StoredToken, TOKEN_RANDOM_BYTES, Token};
use actions_domain::authorization::Role;
use actions_domain::id::{ApiKeyId, TenantId};
use actions_domain::limits::{API_KEY_TOKENS_MAX, API_KEYS_ENDED_MAX};
use actions_domain::ports::api_keys::{ApiKeyChanges, ApiKeysError};
use chrono::{DateTime, TimeDelta};

use super::given;
use super::stores::{Ports, Stores};

contract! { ApiKeys:
    what_was_created_is_listed_and_found_by_its_token,
    a_name_is_taken_while_its_key_holds,
    a_lookup_belongs_to_one_token,
    a_revoked_key_keeps_its_time,
    a_rotation_lets_older_tokens_hold_for_a_while,
    a_shorter_overlap_ends_older_tokens_earlier,
    so_many_tokens_hold_at_once,
    the_version_tells_what_was_taken_away,
    uses_are_noted_and_never_go_back,
    keys_of_other_tenants_are_not_touched,
    of_what_has_ended_the_newest_stays,
    nothing_that_is_kept_shows_a_token,
}

const ADMIN: TenantId = TenantId::ADMIN;

fn at(seconds: i64) -> Timestamp {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap() + TimeDelta::microseconds(7)
}

fn token() -> Token {
    let (left, right) = (given::uuid(), given::uuid());
    let mut random = [0; TOKEN_RANDOM_BYTES];
    random[..16].copy_from_slice(left.as_bytes());
    random[16..32].copy_from_slice(right.as_bytes());
    random.rotate_left(8);
    Token::mint(&random)
}

fn key(name: &str, token: &Token, now: Timestamp) -> ApiKey {
    ApiKey {
        id: ApiKeyId(given::uuid()),
        tenant: ADMIN,
        name: ApiKeyName::parse(name).unwrap(),
        role: Role::IngestOnly,
        created_by: "token:\"boot\"".to_owned(),
        created_at: now,
        expires_at: None,
        last_used_at: None,
        revoked_at: None,
        lookup: token.lookup(),
        others_end_at: None,
    }
}

async fn create(ports: &Ports, name: &str) -> (ApiKey, Token) {
    let token = token();
    let key = key(name, &token, at(0));
    ports.api_keys.create_api_key(&key, &token.stored(), None).await.unwrap();
    (key, token)
}

async fn kept(ports: &Ports, token: &Token) -> Option<StoredToken> {
    ports.api_keys.find_token(&token.lookup()).await.unwrap().map(|(_, kept)| kept)
}

async fn changes(ports: &Ports, since: Option<i64>) -> ApiKeyChanges {
    ports.api_keys.api_key_changes(since).await.unwrap()
}

async fn what_was_created_is_listed_and_found_by_its_token(stores: &Stores) {
    let ports = stores.open().await;
    let (first, first_token) = create(&ports, "first").await;
    let second_token = token();
    let second = ApiKey {
        expires_at: Some(at(60)),
        role: Role::PlatformAdmin,
        ..key("second", &second_token, at(1))
    };
    ports.api_keys.create_api_key(&second, &second_token.stored(), None).await.unwrap();
    let other = stores.open().await;
    let mut expected = [first.clone(), second.clone()];
    expected.sort_by_key(|key| key.id);
    assert_eq!(other.api_keys.api_keys(ADMIN).await.unwrap(), expected, "by id, so by age");
    for (key, token) in [(first, first_token), (second, second_token)] {
        let found = other.api_keys.find_token(&token.lookup()).await.unwrap();
        assert_eq!(found, Some((key, token.stored())));
    }
    assert_eq!(kept(&other, &token()).await, None);
    let (id, now) = (ApiKeyId(given::uuid()), at(2));
    let missing = other.api_keys.revoke_api_key(ADMIN, id, now, None).await;
    assert!(matches!(missing, Err(ApiKeysError::NotFound { what: "API key" })), "{missing:?}");
    let new = token();
    let missing = other.api_keys.rotate_api_key(ADMIN, id, &new.stored(), now, now, None).await;
    assert!(matches!(missing, Err(ApiKeysError::NotFound { what: "API key" })), "{missing:?}");
    let nobodys = ApiKey { tenant: TenantId(999), ..key("third", &new, at(1)) };
    let missing = other.api_keys.create_api_key(&nobodys, &new.stored(), None).await;
    assert!(matches!(missing, Err(ApiKeysError::NotFound { what: "tenant" })), "{missing:?}");
}

async fn a_name_is_taken_while_its_key_holds(stores: &Stores) {
    let ports = stores.open().await;
    let (revoked, _) = create(&ports, "a").await;
    let again = async |name: &str, now: Timestamp, expires_at: Option<Timestamp>| {
        let token = token();
        let key = ApiKey { expires_at, ..key(name, &token, now) };
        ports.api_keys.create_api_key(&key, &token.stored(), None).await
    };
    let taken = again("a", at(1), None).await;
    assert!(matches!(taken, Err(ApiKeysError::Exists { .. })), "{taken:?}");
    ports.api_keys.revoke_api_key(ADMIN, revoked.id, at(2), None).await.unwrap();
    again("a", at(3), Some(at(10))).await.unwrap();
    let taken = again("a", at(9), None).await;
    assert!(matches!(taken, Err(ApiKeysError::Exists { .. })), "{taken:?}");
    again("a", at(10), None).await.unwrap();
    assert_eq!(ports.api_keys.api_keys(ADMIN).await.unwrap().len(), 3);
}

async fn a_lookup_belongs_to_one_token(stores: &Stores) {
    let ports = stores.open().await;
    let (first, first_token) = create(&ports, "first").await;
    let other = key("other", &first_token, at(1));
    let taken = ports.api_keys.create_api_key(&other, &first_token.stored(), None).await;
    assert!(matches!(taken, Err(ApiKeysError::Taken)), "{taken:?}");
    let stored = first_token.stored();
    let taken = ports.api_keys.rotate_api_key(ADMIN, first.id, &stored, at(9), at(1), None).await;
    assert!(matches!(taken, Err(ApiKeysError::Taken)), "{taken:?}");
    assert_eq!(ports.api_keys.api_keys(ADMIN).await.unwrap(), [first]);
    assert_eq!(kept(&ports, &first_token).await, Some(first_token.stored()), "nothing has ended");
}

async fn a_revoked_key_keeps_its_time(stores: &Stores) {
    let ports = stores.open().await;
    let (key, token) = create(&ports, "a").await;
    let revoked = ports.api_keys.revoke_api_key(ADMIN, key.id, at(5), None).await.unwrap();
    assert_eq!(revoked, ApiKey { revoked_at: Some(at(5)), ..key.clone() });
    assert_eq!(ports.api_keys.revoke_api_key(ADMIN, key.id, at(9), None).await.unwrap(), revoked);
    let found = ports.api_keys.find_token(&token.lookup()).await.unwrap();
    assert_eq!(found, Some((revoked, token.stored())), "so that a refusal can be explained");
    let new = token.stored();
    let late = ports.api_keys.rotate_api_key(ADMIN, key.id, &new, at(20), at(10), None).await;
    assert!(matches!(late, Err(ApiKeysError::NotFound { .. })), "{late:?}");
}

async fn a_rotation_lets_older_tokens_hold_for_a_while(stores: &Stores) {
    let ports = stores.open().await;
    let (key, old) = create(&ports, "a").await;
    let new = token();
    let rotated = ports
        .api_keys
        .rotate_api_key(ADMIN, key.id, &new.stored(), at(60), at(0), None)
        .await
        .unwrap();
    let expected = ApiKey { lookup: new.lookup(), others_end_at: Some(at(60)), ..key.clone() };
    assert_eq!(rotated, expected);
    assert_eq!(kept(&ports, &old).await.unwrap().ends_at, Some(at(60)));
    let found = ports.api_keys.find_token(&new.lookup()).await.unwrap();
    assert_eq!(found, Some((expected.clone(), new.stored())));
    assert_eq!(ports.api_keys.api_keys(ADMIN).await.unwrap(), [expected]);
    // What has ended is forgotten when the key is rotated again.
    let newer = token();
    ports
        .api_keys
        .rotate_api_key(ADMIN, key.id, &newer.stored(), at(90), at(70), None)
        .await
        .unwrap();
    assert_eq!(kept(&ports, &old).await, None);
    assert_eq!(kept(&ports, &new).await.unwrap().ends_at, Some(at(90)));
}

async fn a_shorter_overlap_ends_older_tokens_earlier(stores: &Stores) {
    let ports = stores.open().await;
    let (key, oldest) = create(&ports, "a").await;
    let rotate = async |until: i64, now: i64| {
        let new = token();
        let stored = new.stored();
        ports
            .api_keys
            .rotate_api_key(ADMIN, key.id, &stored, at(until), at(now), None)
            .await
            .unwrap();
        new
    };
    let older = rotate(100, 1).await;
    let newest = rotate(500, 2).await;
    assert_eq!(kept(&ports, &oldest).await.unwrap().ends_at, Some(at(100)), "never later");
    assert_eq!(kept(&ports, &older).await.unwrap().ends_at, Some(at(500)));
    rotate(5, 3).await;
    for token in [&oldest, &older, &newest] {
        assert_eq!(kept(&ports, token).await.unwrap().ends_at, Some(at(5)));
    }
    rotate(4, 4).await;
    for token in [&oldest, &older, &newest] {
        assert_eq!(kept(&ports, token).await, None, "a clock that is behind lets none in");
    }
}

async fn so_many_tokens_hold_at_once(stores: &Stores) {
    let ports = stores.open().await;
    let (key, oldest) = create(&ports, "a").await;
    let rotate = async |until: i64, now: i64| {
        let stored = token().stored();
        ports.api_keys.rotate_api_key(ADMIN, key.id, &stored, at(until), at(now), None).await
    };
    for _ in 1..API_KEY_TOKENS_MAX {
        rotate(100, 1).await.unwrap();
    }
    let version = changes(&ports, None).await.version;
    let refused = rotate(100, 1).await;
    assert!(matches!(refused, Err(ApiKeysError::TooManyTokens)), "{refused:?}");
    assert_eq!(changes(&ports, None).await.version, version, "nothing was done");
    assert_eq!(kept(&ports, &oldest).await.unwrap().ends_at, Some(at(100)));
    rotate(1, 1).await.expect("ending the others makes room");
    for _ in 1..API_KEY_TOKENS_MAX {
        rotate(200, 150).await.unwrap();
    }
}

async fn the_version_tells_what_was_taken_away(stores: &Stores) {
    let (ports, other) = (stores.open().await, stores.open().await);
    let start = changes(&other, None).await;
    assert_eq!(start.keys, []);
    let (rotated, _) = create(&ports, "rotated").await;
    let (revoked, _) = create(&ports, "revoked").await;
    create(&ports, "untouched").await;
    ports.api_keys.note_api_key_uses(&[(rotated.id, at(1))]).await.unwrap();
    assert_eq!(changes(&other, Some(start.version)).await, start, "nobody may do less");
    let stored = token().stored();
    ports.api_keys.rotate_api_key(ADMIN, rotated.id, &stored, at(9), at(2), None).await.unwrap();
    let after = changes(&other, Some(start.version)).await;
    assert!(after.version > start.version);
    assert_eq!(after.keys, [rotated.id]);
    ports.api_keys.revoke_api_key(ADMIN, revoked.id, at(3), None).await.unwrap();
    let last = changes(&other, Some(after.version)).await;
    assert!(last.version > after.version);
    assert_eq!(last.keys, [revoked.id]);
    ports.api_keys.revoke_api_key(ADMIN, revoked.id, at(4), None).await.unwrap();
    assert_eq!(changes(&other, None).await.version, last.version, "it was revoked before");
    let mut both = changes(&other, Some(start.version)).await.keys;
    both.sort_unstable();
    let mut expected = vec![rotated.id, revoked.id];
    expected.sort_unstable();
    assert_eq!(both, expected);
    assert_eq!(changes(&other, Some(last.version)).await.keys, []);
}

async fn uses_are_noted_and_never_go_back(stores: &Stores) {
    let ports = stores.open().await;
    let (a, _) = create(&ports, "a").await;
    let (b, _) = create(&ports, "b").await;
    let gone = ApiKeyId(given::uuid());
    ports
        .api_keys
        .note_api_key_uses(&[(b.id, at(60)), (gone, at(60)), (a.id, at(30))])
        .await
        .unwrap();
    ports.api_keys.note_api_key_uses(&[(a.id, at(90)), (b.id, at(59))]).await.unwrap();
    ports.api_keys.note_api_key_uses(&[]).await.unwrap();
    let all = ports.api_keys.api_keys(ADMIN).await.unwrap();
    let used = |id| all.iter().find(|key| key.id == id).unwrap().last_used_at;
    assert_eq!((used(a.id), used(b.id)), (Some(at(90)), Some(at(60))));
}

async fn keys_of_other_tenants_are_not_touched(stores: &Stores) {
    let ports = stores.open().await;
    let slug = "acme".parse().unwrap();
    let acme =
        ports.definitions.create_tenant(given::uuid(), &slug, "Acme", None).await.unwrap().id;
    let (theirs, _) = create(&ports, "a").await;
    let token = token();
    let own = ApiKey { tenant: acme, ..key("a", &token, at(0)) };
    ports
        .api_keys
        .create_api_key(&own, &token.stored(), None)
        .await
        .expect("names are the tenant's own");
    assert_eq!(ports.api_keys.api_keys(acme).await.unwrap(), [own]);
    let refused = ports.api_keys.revoke_api_key(acme, theirs.id, at(1), None).await;
    assert!(matches!(refused, Err(ApiKeysError::NotFound { .. })), "{refused:?}");
    let stored = super::api_keys::token().stored();
    let refused = ports.api_keys.rotate_api_key(acme, theirs.id, &stored, at(1), at(1), None).await;
    assert!(matches!(refused, Err(ApiKeysError::NotFound { .. })), "{refused:?}");
    assert_eq!(ports.api_keys.api_keys(ADMIN).await.unwrap(), [theirs]);
}

async fn of_what_has_ended_the_newest_stays(stores: &Stores) {
    let ports = stores.open().await;
    let holding = create(&ports, "holding").await.0;
    let mut ended = Vec::new();
    for number in 0..=i64::try_from(API_KEYS_ENDED_MAX).unwrap() {
        let token = token();
        let end = at(1_000 + number);
        let key = ApiKey { expires_at: Some(end), ..key(&format!("k{number}"), &token, at(0)) };
        ports.api_keys.create_api_key(&key, &token.stored(), None).await.unwrap();
        ended.push((key.id, token));
    }
    let token = token();
    let last = key("last", &token, at(10_000));
    ports.api_keys.create_api_key(&last, &token.stored(), None).await.unwrap();
    let left = ports.api_keys.api_keys(ADMIN).await.unwrap();
    assert_eq!(left.len(), API_KEYS_ENDED_MAX + 2);
    let is_left = |id| left.iter().any(|key| key.id == id);
    assert!(is_left(holding.id) && is_left(last.id) && is_left(ended[1].0));
    assert!(!is_left(ended[0].0), "it ended before all others");
    assert_eq!(kept(&ports, &ended[0].1).await, None, "with its token");
}

async fn nothing_that_is_kept_shows_a_token(stores: &Stores) {
    let ports = stores.open().await;
    let (_, token) = create(&ports, "a").await;
    let (key, stored) = ports.api_keys.find_token(&token.lookup()).await.unwrap().unwrap();
    let secret = &token.expose()[15..];
    assert!(!format!("{key:?} {stored:?}").contains(secret));
    assert!(!stored.digest.as_bytes().windows(8).any(|part| secret.as_bytes().starts_with(part)));
}
