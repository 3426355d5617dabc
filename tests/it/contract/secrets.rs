//! What every `Secrets` must do: versions that follow one another, one older version for a while,
//! data keys that can be wrapped anew, and a number that grows with each change.

use actions_domain::Timestamp;
use actions_domain::id::{SecretId, TenantId};
use actions_domain::ports::secrets::{NextVersion, SecretsError, WrappedKey};
use actions_domain::secret::{MasterKeyId, Sealed, SealedSecret, Secret, SecretName, SecretPlace};
use chrono::{DateTime, TimeDelta};

use super::given;
use super::stores::{Ports, Stores};

contract! { Secrets:
    what_was_put_is_listed_and_found_as_it_was,
    versions_follow_one_another,
    of_two_writers_of_one_version_one_is_refused,
    the_version_before_stays_until_its_end,
    a_deleted_secret_is_gone_and_its_name_is_free,
    each_change_is_told_by_a_greater_version,
    data_keys_are_counted_and_found_by_their_master_key,
    a_data_key_is_replaced_only_as_it_was,
    secrets_of_other_tenants_are_not_touched,
}

const ADMIN: TenantId = TenantId::ADMIN;

fn at(seconds: i64) -> Timestamp {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap() + TimeDelta::microseconds(7)
}

fn name(raw: &str) -> SecretName {
    SecretName::parse(raw).unwrap()
}

fn key(raw: &str) -> MasterKeyId {
    MasterKeyId::parse(raw).unwrap()
}

fn first(raw: &str) -> SecretPlace {
    SecretPlace { tenant: ADMIN, id: SecretId(given::uuid()), name: name(raw), number: 1 }
}

/// The next version at this place, which may be used for ten seconds after it was replaced.
fn next(place: &SecretPlace, number: i64, seconds: i64) -> NextVersion {
    let place = SecretPlace { number, ..place.clone() };
    let sealed = Sealed {
        key: key("old"),
        wrapped: format!("key {number} of {}", place.name).into_bytes(),
        text: vec![0, 255, u8::try_from(number).unwrap()],
    };
    let previous_ends_at = at(seconds + 10);
    NextVersion {
        place,
        sealed,
        at: at(seconds),
        by: format!("key:\"{number}\""),
        previous_ends_at,
    }
}

async fn put(ports: &Ports, next: &NextVersion) -> Secret {
    ports.secrets.put_secret(next, None).await.unwrap()
}

async fn find(ports: &Ports, raw: &str) -> Option<SealedSecret> {
    ports.secrets.find_secrets(ADMIN, &[name(raw)]).await.unwrap().pop()
}

async fn what_was_put_is_listed_and_found_as_it_was(stores: &Stores) {
    let ports = stores.open().await;
    let (one, other) = (next(&first("b_2"), 1, 0), next(&first("A"), 1, 1));
    let stored = put(&ports, &one).await;
    put(&ports, &other).await;
    assert_eq!((stored.id, stored.tenant, &stored.name), (one.place.id, ADMIN, &one.place.name));
    assert_eq!((stored.created_at, stored.created_by.as_str()), (at(0), "key:\"1\""));
    assert_eq!((stored.current.number, &stored.current.key), (1, &one.sealed.key));
    assert_eq!((stored.current.created_at, stored.current.ends_at), (at(0), None));
    assert_eq!(stored.previous, None);

    let again = stores.open().await;
    let listed = again.secrets.secrets(ADMIN).await.unwrap();
    let names: Vec<_> = listed.iter().map(|secret| secret.name.as_str()).collect();
    assert_eq!(names, ["A", "b_2"], "by name");
    assert_eq!(listed[1], stored);
    let wanted = [name("b_2"), name("nothing"), name("A")];
    let mut found = again.secrets.find_secrets(ADMIN, &wanted).await.unwrap();
    found.sort_by(|one, other| one.secret.name.cmp(&other.secret.name));
    assert_eq!(found.len(), 2);
    assert_eq!(found[1], SealedSecret { secret: stored, current: one.sealed, previous: None });
    let nobodys = SecretPlace { tenant: TenantId(999), ..first("x") };
    let missing = ports.secrets.put_secret(&next(&nobodys, 1, 0), None).await;
    assert!(matches!(missing, Err(SecretsError::NotFound { what: "tenant" })), "{missing:?}");
}

async fn versions_follow_one_another(stores: &Stores) {
    let ports = stores.open().await;
    let place = first("a");
    let early = ports.secrets.put_secret(&next(&place, 2, 0), None).await;
    assert!(matches!(early, Err(SecretsError::Stale)), "there is no first one: {early:?}");
    put(&ports, &next(&place, 1, 0)).await;
    let second = put(&ports, &next(&place, 2, 1)).await;
    assert_eq!((second.current.number, second.created_at), (2, at(0)));
    assert_eq!(
        (second.current.created_at, second.current.created_by.as_str()),
        (at(1), "key:\"2\"")
    );
    let stranger = SecretPlace { id: SecretId(given::uuid()), ..place.clone() };
    for wrong in [
        next(&place, 1, 2),
        next(&place, 2, 2),
        next(&place, 4, 2),
        next(&stranger, 1, 2),
        next(&stranger, 3, 2),
    ] {
        let (number, refused) = (wrong.place.number, ports.secrets.put_secret(&wrong, None).await);
        assert!(matches!(refused, Err(SecretsError::Stale)), "{number}: {refused:?}");
    }
    assert_eq!(find(&ports, "a").await.unwrap().secret, second, "nothing was written");
}

async fn of_two_writers_of_one_version_one_is_refused(stores: &Stores) {
    let (one, other) = (stores.open().await, stores.open().await);
    for (number, seconds) in [(1, 0), (2, 1)] {
        let place = find(&one, "a").await.map_or_else(|| first("a"), |found| found.secret.place(1));
        let mut theirs = next(&place, number, seconds);
        theirs.sealed.text = b"theirs".to_vec();
        if number == 1 {
            theirs.place.id = SecretId(given::uuid());
        }
        let ours = next(&place, number, seconds);
        let (left, right) = tokio::join!(
            one.secrets.put_secret(&ours, None),
            other.secrets.put_secret(&theirs, None)
        );
        let won = if left.is_ok() { &ours } else { &theirs };
        assert!(
            matches!((&left, &right), (Ok(_), Err(SecretsError::Stale)))
                || matches!((&left, &right), (Err(SecretsError::Stale), Ok(_))),
            "{left:?} {right:?}"
        );
        assert_eq!(find(&one, "a").await.unwrap().current, won.sealed);
    }
}

async fn the_version_before_stays_until_its_end(stores: &Stores) {
    let ports = stores.open().await;
    let place = first("a");
    let versions = [1, 2, 3].map(|number| next(&place, number, number));
    put(&ports, &versions[0]).await;
    let second = put(&ports, &versions[1]).await;
    let previous = second.previous.clone().unwrap();
    assert_eq!((previous.number, previous.ends_at), (1, Some(at(12))));
    assert_eq!(second.previous_at(at(11)).map(|version| version.number), Some(1));
    assert_eq!(second.previous_at(at(12)), None);
    assert_eq!(find(&ports, "a").await.unwrap().previous, Some(versions[0].sealed.clone()));
    let third = put(&ports, &versions[2]).await;
    assert_eq!(third.previous.unwrap().number, 2, "of the older ones only the one before stays");
    assert_eq!(find(&ports, "a").await.unwrap().previous, Some(versions[1].sealed.clone()));

    // Whatever is put later forgets what has ended.
    put(&ports, &next(&first("b"), 1, 100)).await;
    let found = find(&ports, "a").await.unwrap();
    assert_eq!((found.secret.previous, found.previous), (None, None));
    let counts = ports.secrets.wrapped_counts().await.unwrap();
    assert_eq!(counts, [(key("old"), 2)], "nothing of it is kept");
    let at_once = NextVersion { previous_ends_at: at(200), ..next(&place, 4, 200) };
    assert_eq!(put(&ports, &at_once).await.previous, None);
    let found = find(&ports, "a").await.unwrap();
    assert_eq!((found.secret.current.number, found.previous), (4, None));
}

async fn a_deleted_secret_is_gone_and_its_name_is_free(stores: &Stores) {
    let ports = stores.open().await;
    let place = first("a");
    put(&ports, &next(&place, 1, 0)).await;
    put(&ports, &next(&place, 2, 1)).await;
    ports.secrets.delete_secret(ADMIN, &place.name, None).await.unwrap();
    assert_eq!(find(&ports, "a").await, None);
    assert_eq!(ports.secrets.wrapped_counts().await.unwrap(), []);
    let again = ports.secrets.delete_secret(ADMIN, &place.name, None).await;
    assert!(matches!(again, Err(SecretsError::NotFound { what: "secret" })), "{again:?}");
    let late = ports.secrets.put_secret(&next(&place, 3, 2), None).await;
    assert!(matches!(late, Err(SecretsError::Stale)), "{late:?}");
    let new = put(&ports, &next(&first("a"), 1, 3)).await;
    assert_eq!((new.current.number, new.previous), (1, None));
    assert_ne!(new.id, place.id);
}

async fn each_change_is_told_by_a_greater_version(stores: &Stores) {
    let (ports, other) = (stores.open().await, stores.open().await);
    let mut last = other.secrets.secrets_version().await.unwrap();
    let place = first("a");
    for change in 0..4 {
        match change {
            0 | 1 => drop(put(&ports, &next(&place, change + 1, change)).await),
            2 => drop(ports.secrets.put_secret(&next(&place, 9, 2), None).await),
            _ => ports.secrets.delete_secret(ADMIN, &place.name, None).await.unwrap(),
        }
        let now = other.secrets.secrets_version().await.unwrap();
        assert_eq!(now > last, change != 2, "what is refused changes nothing: {change}");
        last = now;
    }
}

async fn data_keys_are_counted_and_found_by_their_master_key(stores: &Stores) {
    let ports = stores.open().await;
    for (number, raw) in ["a", "b", "c"].into_iter().enumerate() {
        let place = first(raw);
        put(&ports, &next(&place, 1, 0)).await;
        let mut second = next(&place, 2, 1);
        if number == 0 {
            second.sealed.key = key("new");
        }
        put(&ports, &second).await;
    }
    let counts = ports.secrets.wrapped_counts().await.unwrap();
    assert_eq!(counts, [(key("new"), 1), (key("old"), 5)]);
    let (by, mut after, mut found) = ([key("old"), key("other")], None, Vec::new());
    loop {
        let page = ports.secrets.wrapped_keys(&by, after, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 2);
        after = Some((last.place.id, last.place.number));
        found.extend(page);
    }
    assert_eq!(found.len(), 5);
    for WrappedKey { place, key: by, wrapped } in &found {
        let expected = format!("key {} of {}", place.number, place.name).into_bytes();
        assert_eq!((by, wrapped, place.tenant), (&key("old"), &expected, ADMIN));
    }
    assert_eq!(ports.secrets.wrapped_keys(&[], None, 9).await.unwrap(), []);
}

async fn a_data_key_is_replaced_only_as_it_was(stores: &Stores) {
    let ports = stores.open().await;
    let place = first("a");
    let versions = [1, 2].map(|number| next(&place, number, number));
    put(&ports, &versions[0]).await;
    put(&ports, &versions[1]).await;
    let keys = ports.secrets.wrapped_keys(&[key("old")], None, 9).await.unwrap();
    for old in &keys {
        let new = WrappedKey { key: key("new"), wrapped: b"anew".to_vec(), ..old.clone() };
        assert!(ports.secrets.rewrap(old, &new).await.unwrap());
        assert!(!ports.secrets.rewrap(old, &new).await.unwrap(), "it is not that any more");
    }
    let found = find(&ports, "a").await.unwrap();
    let texts = [found.previous.unwrap(), found.current];
    for (sealed, version) in texts.iter().zip(&versions) {
        assert_eq!((&sealed.key, sealed.wrapped.as_slice()), (&key("new"), b"anew".as_slice()));
        assert_eq!(sealed.text, version.sealed.text, "the text stays as it is");
    }
    assert_eq!(found.secret.current.key, key("new"));
    assert_eq!(ports.secrets.wrapped_counts().await.unwrap(), [(key("new"), 2)]);
    ports.secrets.delete_secret(ADMIN, &place.name, None).await.unwrap();
    assert!(!ports.secrets.rewrap(&keys[0], &keys[0]).await.unwrap());
}

async fn secrets_of_other_tenants_are_not_touched(stores: &Stores) {
    let ports = stores.open().await;
    let slug = "acme".parse().unwrap();
    let acme =
        ports.definitions.create_tenant(given::uuid(), &slug, "Acme", None).await.unwrap().id;
    let ours = put(&ports, &next(&first("a"), 1, 0)).await;
    let theirs = SecretPlace { tenant: acme, ..first("a") };
    put(&ports, &next(&theirs, 1, 0)).await;
    put(&ports, &next(&theirs, 2, 50)).await;
    assert_eq!(ports.secrets.secrets(ADMIN).await.unwrap(), [ours]);
    let found = ports.secrets.find_secrets(acme, &[name("a")]).await.unwrap();
    assert_eq!((found.len(), found[0].secret.id), (1, theirs.id));
    ports.secrets.delete_secret(ADMIN, &name("a"), None).await.unwrap();
    assert_eq!(ports.secrets.secrets(acme).await.unwrap().len(), 1);
}
