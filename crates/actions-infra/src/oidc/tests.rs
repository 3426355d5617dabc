//! What is let in, and all that is not. The provider is a map of documents, and its keys are made
//! for each test.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actions_domain::Timestamp;
use actions_domain::authorization::Role;
use actions_domain::ports::clock::Clock;
use actions_domain::ports::identities::{Identities, Identity, IdentityError};
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::Algorithm;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{Documents, Oidc, OidcOptions};

const ISSUER: &str = "https://id.example.com/realms/acme";
const KEYS: &str = "https://id.example.com/keys";
const NOW: i64 = 1_800_000_000;

#[derive(Debug)]
struct FixedClock(AtomicI64);

#[async_trait]
impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_timestamp(self.0.load(Ordering::Relaxed), 0).unwrap()
    }

    async fn sleep(&self, _: Duration) {}
}

#[derive(Default)]
struct Web {
    pages: Mutex<HashMap<String, Vec<u8>>>,
    reads: AtomicUsize,
    /// Where readers wait, while it is there.
    gate: Mutex<Option<Arc<Semaphore>>>,
}

#[async_trait]
impl Documents for Web {
    async fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let gate = self.gate.lock().unwrap().clone();
        if let Some(gate) = gate {
            gate.acquire().await.unwrap().forget();
        }
        let page = self.pages.lock().unwrap().get(url).cloned();
        page.ok_or_else(|| "nobody is there".to_owned())
    }
}

impl Web {
    fn put(&self, url: &str, page: &Value) {
        self.pages.lock().unwrap().insert(url.to_owned(), page.to_string().into_bytes());
    }

    fn publish(&self, keys: &[Value]) {
        self.put(KEYS, &json!({ "keys": keys }));
    }
}

enum Signer {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Signer {
    fn ec() -> Self {
        let random = SystemRandom::new();
        let form = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(form, &random).unwrap();
        Self::Ec(EcdsaKeyPair::from_pkcs8(form, document.as_ref(), &random).unwrap())
    }

    fn ed() -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::Ed(Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap())
    }

    fn public(&self) -> &[u8] {
        match self {
            Self::Ec(pair) => pair.public_key().as_ref(),
            Self::Ed(pair) => pair.public_key().as_ref(),
        }
    }

    fn jwk(&self, id: &str) -> Value {
        match self {
            Self::Ec(_) => {
                let (x, y) = self.public()[1..].split_at(32);
                let (x, y) = (BASE64.encode(x), BASE64.encode(y));
                json!({ "kty": "EC", "crv": "P-256", "kid": id, "use": "sig", "x": x, "y": y })
            }
            Self::Ed(_) => {
                let x = BASE64.encode(self.public());
                json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "alg": "EdDSA", "x": x })
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Ec(pair) => pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Self::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// A token of any header and claims, as texts.
    fn token(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims));
        let signature = self.sign(message.as_bytes());
        format!("{message}.{}", BASE64.encode(signature))
    }
}

struct Setup {
    web: Arc<Web>,
    clock: Arc<FixedClock>,
    oidc: Oidc,
    signer: Signer,
}

fn options() -> OidcOptions {
    OidcOptions {
        issuer: ISSUER.to_owned(),
        audience: "actions".to_owned(),
        algorithms: vec![Algorithm::ES256, Algorithm::EdDSA],
        tenant_claim: "tenant".to_owned(),
        role_claim: "/realm/roles".to_owned(),
    }
}

impl Setup {
    fn new() -> Self {
        let (web, signer) = (Arc::new(Web::default()), Signer::ec());
        web.put(
            &format!("{ISSUER}/.well-known/openid-configuration"),
            &json!({ "issuer": ISSUER, "jwks_uri": KEYS }),
        );
        web.publish(&[signer.jwk("first")]);
        let clock = Arc::new(FixedClock(AtomicI64::new(NOW)));
        let oidc = Oidc::new(options(), web.clone(), clock.clone());
        Self { web, clock, oidc, signer }
    }

    fn pass(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds, Ordering::Relaxed);
    }

    async fn ask(&self, token: &str) -> Result<Identity, IdentityError> {
        self.oidc.identify(token).await
    }

    async fn is_refused(&self, token: &str, what: &str) {
        let answer = self.ask(token).await;
        assert!(matches!(answer, Err(IdentityError::Refused { .. })), "{what}: {answer:?}");
    }

    fn good(&self) -> String {
        self.signer.token(&header(), &claims().to_string())
    }
}

fn header() -> String {
    json!({ "alg": "ES256", "kid": "first", "typ": "JWT" }).to_string()
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": "actions", "sub": "ada", "exp": NOW + 300, "nbf": NOW - 5,
        "iat": NOW - 5, "tenant": "acme", "realm": { "roles": ["offline_access", "operator"] },
    })
}

fn changed(name: &str, value: Value) -> String {
    let mut claims = claims();
    claims[name] = value;
    claims.to_string()
}

#[tokio::test]
async fn a_token_that_holds_says_who_it_is() {
    let setup = Setup::new();
    let told = setup.ask(&setup.good()).await.unwrap();
    let identity =
        Identity { subject: "ada".to_owned(), tenant: "acme".to_owned(), role: Role::Operator };
    assert_eq!(told, identity);

    let many = changed("aud", json!(["somebody", "actions"]));
    setup.ask(&setup.signer.token(&header(), &many)).await.unwrap();
    let access = r#"{"alg":"ES256","kid":"first","typ":"at+jwt"}"#;
    setup.ask(&setup.signer.token(access, &claims().to_string())).await.unwrap();
    let two = changed("realm", json!({ "roles": ["viewer", "tenant_admin", "developer"] }));
    let highest = setup.ask(&setup.signer.token(&header(), &two)).await.unwrap();
    assert_eq!(highest.role, Role::TenantAdmin);
}

#[tokio::test]
async fn claims_that_do_not_hold_let_nobody_in() {
    let setup = Setup::new();
    let wrong = [
        ("iss", json!("https://id.example.com/realms/other")),
        ("iss", json!(format!("{ISSUER}/"))),
        ("iss", json!([ISSUER])),
        ("iss", Value::Null),
        ("aud", json!("another")),
        ("aud", json!("actions2")),
        ("aud", json!(["a", "b"])),
        ("aud", json!([])),
        ("aud", json!({ "actions": true })),
        ("aud", json!(["actions", 7])),
        ("aud", Value::Null),
        ("exp", json!(NOW - 61)),
        ("exp", json!(0)),
        ("exp", json!(-1)),
        ("exp", json!(format!("{}", NOW + 300))),
        ("exp", json!(NOW as f64 + 300.5)),
        ("exp", json!(1e300)),
        ("exp", json!(true)),
        ("exp", json!([NOW + 300])),
        ("exp", Value::Null),
        ("nbf", json!(NOW + 61)),
        ("nbf", json!("soon")),
        ("nbf", json!(format!("{}", NOW - 5))),
        ("nbf", Value::Null),
        ("iat", json!(NOW + 3_600)),
        ("iat", json!("today")),
        ("sub", json!("")),
        ("sub", json!("a\nb")),
        ("sub", json!("x".repeat(256))),
        ("sub", json!(7)),
        ("sub", Value::Null),
        ("tenant", json!(7)),
        ("tenant", Value::Null),
        ("realm", json!({ "roles": [] })),
        ("realm", json!({ "roles": ["root"] })),
        ("realm", json!({ "roles": ["Operator"] })),
        ("realm", json!({ "roles": ["engine"] })),
        ("realm", json!({ "roles": ["internal"] })),
        ("realm", json!({ "roles": ["ingest_only", "worker"] })),
        ("realm", json!({ "roles": ["operator", 7] })),
        ("realm", json!("operator")),
        ("realm", Value::Null),
    ];
    for (name, value) in wrong {
        let token = setup.signer.token(&header(), &changed(name, value.clone()));
        setup.is_refused(&token, &format!("{name} {value}")).await;
    }
    for name in ["iss", "aud", "exp", "sub", "tenant", "realm"] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(name);
        setup.is_refused(&setup.signer.token(&header(), &claims.to_string()), name).await;
    }
    let whole = claims().to_string();
    for twice in [r#""exp":99999999999"#, r#""aud":"actions""#, r#""sub":"root""#] {
        let claims = format!("{{{twice},{}", &whole[1..]);
        setup.is_refused(&setup.signer.token(&header(), &claims), twice).await;
    }
    // At any depth, also where both say the same.
    let realm = claims()["realm"].to_string();
    let twice = format!("{{{inner},{inner}}}", inner = &realm[1..realm.len() - 1]);
    setup.is_refused(&setup.signer.token(&header(), &whole.replace(&realm, &twice)), &twice).await;
    for text in ["", "[]", "7", "null", "\"text\"", "{", &format!("{whole}x"), "{\"exp\":1e400}"] {
        setup.is_refused(&setup.signer.token(&header(), text), text).await;
    }
}

#[tokio::test]
async fn headers_that_ask_for_something_else_let_nobody_in() {
    let setup = Setup::new();
    let own = Signer::ec();
    let jwk = own.jwk("first");
    let claims = claims().to_string();
    let headers = [
        json!({ "alg": "none", "kid": "first" }),
        json!({ "alg": "None", "kid": "first" }),
        json!({ "alg": "ES384", "kid": "first" }),
        json!({ "alg": "RS256", "kid": "first" }),
        json!({ "alg": "HS256", "kid": "first" }),
        json!({ "alg": "EdDSA", "kid": "first" }),
        json!({ "alg": "es256", "kid": "first" }),
        json!({ "alg": ["ES256"], "kid": "first" }),
        json!({ "alg": "", "kid": "first" }),
        json!({ "kid": "first" }),
        json!({ "alg": "ES256", "kid": "second" }),
        json!({ "alg": "ES256", "kid": "../../first" }),
        json!({ "alg": "ES256", "kid": "first' or '1'='1" }),
        json!({ "alg": "ES256", "kid": 7 }),
        json!({ "alg": "ES256", "kid": "first", "crit": ["exp"] }),
        json!({ "alg": "ES256", "kid": "first", "crit": [] }),
        json!({ "alg": "ES256", "kid": "first", "zip": "DEF" }),
        json!({ "alg": "ES256", "kid": "first", "typ": "secevent+jwt" }),
        json!({ "alg": "ES256", "kid": "first", "typ": "logout+jwt" }),
    ];
    for header in headers {
        let header = header.to_string();
        setup.is_refused(&setup.signer.token(&header, &claims), &header).await;
    }
    // A key that the token brings along, or names, is nobody's.
    let offers = [
        json!({ "alg": "ES256", "kid": "first", "jwk": jwk }),
        json!({ "alg": "ES256", "jwk": jwk }),
        json!({ "alg": "ES256", "kid": "first", "jku": "https://evil.example.com/keys" }),
        json!({ "alg": "ES256", "kid": "first", "x5u": "https://evil.example.com/cert" }),
        json!({ "alg": "ES256", "kid": "first", "x5c": ["MIIB"] }),
    ];
    for header in offers {
        let header = header.to_string();
        setup.is_refused(&own.token(&header, &claims), &header).await;
    }
    for header in ["", "{}", "[]", "{\"alg\":\"ES256\"", "\u{0}"] {
        setup.is_refused(&setup.signer.token(header, &claims), header).await;
    }
}

#[tokio::test]
async fn signatures_that_are_not_the_providers_let_nobody_in() {
    let setup = Setup::new();
    let good = setup.good();
    setup.ask(&good).await.unwrap();
    let (message, signature) = good.rsplit_once('.').unwrap();
    let bytes = BASE64.decode(signature).unwrap();
    let with = |bytes: &[u8]| format!("{message}.{}", BASE64.encode(bytes));
    let flipped = |at: usize| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        with(&bytes)
    };
    // The public key as a secret: what a reader that believes `alg` would check.
    let confused = |alg: &str, secret: &[u8]| {
        let header = json!({ "alg": alg, "kid": "first" }).to_string();
        let claims = claims().to_string();
        let message = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims));
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        format!("{message}.{}", BASE64.encode(hmac::sign(&key, message.as_bytes())))
    };
    let (header, rest) = good.split_once('.').unwrap();
    let other = changed("sub", json!("root"));
    let forged = [
        with(&[]),
        with(&[0; 64]),
        with(&[0; 63]),
        with(&[255; 64]),
        with(&bytes[..63]),
        with(&[bytes.as_slice(), &[0]].concat()),
        flipped(0),
        flipped(31),
        flipped(32),
        flipped(63),
        message.to_owned(),
        format!("{message}."),
        format!("{good}."),
        format!("{good}.{signature}"),
        format!("{good} "),
        format!(" {good}"),
        format!("{good}="),
        format!("{message}.{signature}!"),
        good.replace('.', ".."),
        good.replacen('.', "", 1),
        format!("{header}.{}", rest.split_once('.').unwrap().1),
        format!("{header}.{}.{signature}", BASE64.encode(&other)),
        Signer::ec().token(&self::header(), &claims().to_string()),
        confused("HS256", setup.signer.public()),
        confused("ES256", setup.signer.public()),
        confused("HS256", b""),
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "a.b.c".to_owned(),
        "é.é.é".to_owned(),
        setup.signer.token(&self::header(), &changed("padding", json!("x".repeat(9_000)))),
    ];
    for (number, token) in forged.iter().enumerate() {
        setup.is_refused(token, &format!("number {number}: {token:.40}")).await;
    }
}

#[tokio::test]
async fn a_key_is_used_for_what_it_was_published_for() {
    let setup = Setup::new();
    let (ed, mut sealed, mut other) =
        (Signer::ed(), setup.signer.jwk("sealed"), setup.signer.jwk("other"));
    sealed["use"] = json!("enc");
    other["alg"] = json!("ES384");
    let secret = json!({ "kty": "oct", "kid": "secret", "k": "c2VjcmV0" });
    setup.web.publish(&[ed.jwk("ed"), sealed, other, secret, setup.signer.jwk("first")]);
    let claims = claims().to_string();
    let of = |alg: &str, kid: &str| json!({ "alg": alg, "kid": kid }).to_string();

    setup.ask(&ed.token(&of("EdDSA", "ed"), &claims)).await.unwrap();
    setup.ask(&setup.signer.token(&of("ES256", "first"), &claims)).await.unwrap();
    // Without a name, the only key of its kind is meant.
    setup.ask(&ed.token(r#"{"alg":"EdDSA"}"#, &claims)).await.unwrap();
    for (alg, kid) in
        [("ES256", "sealed"), ("ES256", "other"), ("ES256", "secret"), ("ES256", "ed")]
    {
        setup.is_refused(&setup.signer.token(&of(alg, kid), &claims), kid).await;
    }
}

#[tokio::test]
async fn several_keys_of_one_kind_have_to_be_named() {
    let setup = Setup::new();
    setup.web.publish(&[setup.signer.jwk("first"), Signer::ec().jwk("second")]);
    let nameless = setup.signer.token(r#"{"alg":"ES256"}"#, &claims().to_string());
    setup.is_refused(&nameless, "without a name").await;
    setup.ask(&setup.good()).await.unwrap();
}

#[tokio::test]
async fn new_keys_count_at_once_and_a_flood_of_unknown_ones_asks_once() {
    let setup = Setup::new();
    setup.ask(&setup.good()).await.unwrap();
    let reads = || setup.web.reads.load(Ordering::Relaxed);
    assert_eq!(reads(), 2, "discovery and keys");
    let next = Signer::ec();
    setup.web.publish(&[setup.signer.jwk("first"), next.jwk("second")]);
    let of_next =
        next.token(&json!({ "alg": "ES256", "kid": "second" }).to_string(), &claims().to_string());
    setup.is_refused(&of_next, "the keys were read this very moment").await;
    setup.pass(31);
    setup.ask(&of_next).await.unwrap();
    assert_eq!(reads(), 4);

    for number in 0..1_000 {
        let header = json!({ "alg": "ES256", "kid": format!("guess-{number}") }).to_string();
        setup.is_refused(&setup.signer.token(&header, &claims().to_string()), "a guess").await;
    }
    assert_eq!(reads(), 4, "asked less than half a minute ago");
    setup.ask(&setup.good()).await.unwrap();
}

#[tokio::test]
async fn a_key_that_is_taken_back_counts_no_more_when_the_keys_are_read_again() {
    let setup = Setup::new();
    setup.ask(&setup.good()).await.unwrap();
    setup.web.publish(&[Signer::ec().jwk("second")]);
    setup.pass(299);
    let claims = changed("exp", json!(NOW + 10_000));
    let token = setup.signer.token(&header(), &claims);
    setup.ask(&token).await.unwrap();
    setup.pass(1);
    setup.is_refused(&token, "its key is gone").await;
}

#[tokio::test]
async fn a_provider_that_is_away_is_missed_after_an_hour() {
    let setup = Setup::new();
    let claims = changed("exp", json!(NOW + 100_000));
    let token = setup.signer.token(&header(), &claims);
    setup.ask(&token).await.unwrap();
    setup.web.pages.lock().unwrap().clear();
    setup.pass(3_599);
    setup.ask(&token).await.unwrap();
    setup.pass(1);
    let answer = setup.ask(&token).await;
    assert!(matches!(answer, Err(IdentityError::Unavailable { .. })), "{answer:?}");
    setup.pass(-7_200);
    let answer = setup.ask(&token).await;
    assert!(matches!(answer, Err(IdentityError::Unavailable { .. })), "a clock that went back");
}

#[tokio::test]
async fn documents_that_are_none_let_nobody_in() {
    let place = format!("{ISSUER}/.well-known/openid-configuration");
    let pages = [
        (place.as_str(), json!({ "issuer": "https://evil.example.com", "jwks_uri": KEYS })),
        (&place, json!({ "issuer": ISSUER })),
        (&place, json!([])),
        (&place, json!({ "issuer": ISSUER, "jwks_uri": KEYS.replace("https", "http") })),
        (KEYS, json!({})),
        (KEYS, json!({ "keys": [] })),
        (KEYS, json!({ "keys": [{ "kty": "oct", "kid": "first", "k": "c2VjcmV0" }] })),
        (KEYS, json!({ "keys": vec![json!({ "kty": "EC" }); 101] })),
    ];
    for (url, page) in pages {
        let setup = Setup::new();
        setup.web.put(url, &page);
        let answer = setup.ask(&setup.good()).await;
        assert!(matches!(answer, Err(IdentityError::Unavailable { .. })), "{page}: {answer:?}");
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_takes_no_reading_with_it() {
    let setup = Arc::new(Setup::new());
    let gate = Arc::new(Semaphore::new(0));
    *setup.web.gate.lock().unwrap() = Some(gate.clone());
    let asking = tokio::spawn({
        let setup = setup.clone();
        async move { setup.ask(&setup.good()).await }
    });
    while setup.web.reads.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled());
    gate.add_permits(2);
    setup.ask(&setup.good()).await.unwrap();
    assert_eq!(setup.web.reads.load(Ordering::Relaxed), 2, "nobody asked again");
}

#[tokio::test]
async fn whoever_comes_while_the_keys_are_read_waits_for_them() {
    let setup = Arc::new(Setup::new());
    let gate = Arc::new(Semaphore::new(0));
    *setup.web.gate.lock().unwrap() = Some(gate.clone());
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..5 {
        let setup = setup.clone();
        callers.spawn(async move { setup.ask(&setup.good()).await });
    }
    while setup.web.reads.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    gate.add_permits(2);
    while let Some(answer) = callers.join_next().await {
        answer.unwrap().unwrap();
    }
    assert_eq!(setup.web.reads.load(Ordering::Relaxed), 2);
}
