//! Where hostile definitions lead: every URL of `egress/urls.txt` in every field that causes a
//! connection, watched by a listener and not by the program itself.
//!
//! `scripts/test` runs these once more where every address belongs to this machine, so that the
//! listener sees what would have gone to a private network, and to a cloud's metadata.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use actions_domain::execution::Outcome;
use actions_domain::ports::handler::Handler;
use actions_handlers::egress::Lookup;
use actions_handlers::{Egress, EgressPolicy, Registry};
use async_trait::async_trait;
use serde_json::{Value, json};

use super::{find, handlers, handlers_with, job, why};

mod fields;
mod watch;

use fields::{FIELDS, Field, Takes};
use watch::Watch;

const URLS: &str = include_str!("egress/urls.txt");
/// What the list must not shrink below.
const URLS_MIN: usize = 150;
/// Leads to this machine, and is never opened by the tests that look for it.
const BAIT: &str = "127.0.0.2";

/// One line of the list.
struct Bad {
    word: &'static str,
    url: String,
    addresses: Vec<IpAddr>,
}

fn urls(port: u16) -> Vec<Bad> {
    let lines = URLS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let urls: Vec<_> = lines
        .map(|line| {
            let mut words = line.split_whitespace();
            let (word, url) = (words.next().unwrap(), words.next().unwrap());
            let url = url.replace("{port}", &port.to_string());
            let url = url.replace("\\t", "\t").replace("\\n", "\n");
            let addresses = words.next().unwrap_or_default().split(',');
            let addresses = addresses.filter_map(|raw| raw.parse().ok()).collect();
            Bad { word, url, addresses }
        })
        .collect();
    assert!(urls.len() >= URLS_MIN, "{}", urls.len());
    urls
}

impl Bad {
    /// What a field holds that is tried with this.
    fn value(&self, takes: Takes, port: u16) -> String {
        match takes {
            Takes::Url => self.url.clone(),
            // What is no plain host is tried as it is.
            Takes::Host => host_of(&self.url, port).unwrap_or(&self.url).to_owned(),
        }
    }

    /// The name that it needs an answer for.
    fn name(&self) -> String {
        let rest = self.url.trim_start_matches("http://");
        let name = rest.split([':', '/', '\\', '#']).next().unwrap_or_default();
        name.to_ascii_lowercase().replace('ü', "u")
    }
}

/// The host of a URL that is nothing but a host and the port.
fn host_of(url: &str, port: u16) -> Option<&str> {
    let host = url.strip_prefix("http://")?.strip_suffix(&format!(":{port}/"))?;
    let is_plain = !host.contains(['/', '\\', '@', '#', '?', '\t', '\n']);
    is_plain.then_some(host)
}

/// Names that lead where the list says.
#[derive(Default)]
struct Names(HashMap<String, Vec<IpAddr>>);

impl Names {
    fn of(urls: &[Bad]) -> Self {
        let named = urls.iter().filter(|bad| bad.word == "resolves");
        Self(named.map(|bad| (bad.name(), bad.addresses.clone())).collect())
    }
}

#[async_trait]
impl Lookup for Names {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        if name.trim_end_matches('.').ends_with("localhost") {
            return Ok(vec!["127.0.0.1".parse().unwrap()]);
        }
        // As the URL parser writes it.
        let name = if name == "xn--bcher-kva.test" { "bucher.test" } else { name };
        self.0.get(name).cloned().ok_or_else(|| io::Error::other("no such name"))
    }
}

fn registry(allow: &[&str], lookup: impl Lookup + 'static) -> Registry {
    crate::support::install_crypto();
    let allow = allow.iter().map(|net| net.parse().unwrap()).collect();
    handlers_with(&Egress::with_lookup(EgressPolicy::allowing(allow), Arc::new(lookup)).unwrap())
}

/// What a save would say of this field.
fn refused_when_saved(handler: &dyn Handler, field: &Field, config: &Value) -> bool {
    let report = handler.check_config(config);
    report.errors.iter().any(|note| note.pointer == field.pointer)
}

#[tokio::test]
async fn no_field_of_any_handler_leads_to_a_forbidden_address() {
    let watch = Watch::start().await;
    let urls = urls(watch.port());
    let registry = registry(&[], Names::of(&urls));
    for field in FIELDS {
        let handler = find(&registry, field.handler);
        watch.greets(field.takes == Takes::Host);
        for bad in &urls {
            let at = format!("{} {} {}", field.handler, field.pointer, bad.url.escape_debug());
            let value = bad.value(field.takes, watch.port());
            if field.takes == Takes::Host && bad.word == "port" {
                continue;
            }
            let config = field.config(&value, watch.port());
            let is_plain = field.takes == Takes::Url || value != bad.url;
            let is_known_later = bad.word == "resolves" && is_plain;
            let is_refused = refused_when_saved(handler.as_ref(), field, &config);
            assert_ne!(is_refused, is_known_later, "{at}: when it is saved");
            if !field.is_dialled {
                continue;
            }
            // A definition may be older than the gate's rules.
            let is_healthy = handler.check_health(&config).await;
            assert!(is_healthy.is_err() || field.handler == "monitoring.alert", "{at}: healthy");
            let (word, code) = why(handler.execute(&job(config, json!({}))).await);
            let expected: &[&str] = match bad.word {
                "malformed" => &["egress.url"],
                _ if !is_plain => &["egress.url"],
                _ => &["egress.forbidden"],
            };
            assert!(word == "reject" && expected.contains(&code.as_str()), "{at}: {word} {code}");
        }
    }
    assert_eq!(watch.dialled().await, [] as [IpAddr; 0]);
}

#[tokio::test]
async fn what_is_opened_is_reached_by_the_same_url_and_metadata_never_is() {
    let watch = Watch::start().await;
    let urls = urls(watch.port());
    let registry = registry(&["0.0.0.0/0", "::/0"], Names::of(&urls));
    for field in FIELDS.iter().filter(|field| field.is_dialled) {
        let handler = find(&registry, field.handler);
        watch.greets(field.takes == Takes::Host);
        for bad in &urls {
            let at = format!("{} {} {}", field.handler, field.pointer, bad.url.escape_debug());
            let value = bad.value(field.takes, watch.port());
            let is_plain = field.takes == Takes::Url || value != bad.url;
            let config = field.config(&value, watch.port());
            match bad.word {
                "loopback" if is_plain && watch.sees(&bad.url) => {}
                "special" if is_plain && watch::every_address_is_local() => {}
                "metadata" => {
                    assert!(refused_when_saved(handler.as_ref(), field, &config), "{at}");
                    let (word, _) = why(handler.execute(&job(config, json!({}))).await);
                    assert_eq!((word, watch.dialled().await), ("reject", Vec::new()), "{at}");
                    continue;
                }
                _ => continue,
            }
            assert!(!refused_when_saved(handler.as_ref(), field, &config), "{at}");
            let _ = handler.execute(&job(config, json!({}))).await;
            assert_eq!(watch.dialled().await.len(), 1, "{at}: the listener is reached");
        }
    }
    watch.greets(false);
    // And what is public needs no opening.
    if watch::every_address_is_local() {
        let registry = self::registry(&[], Names::default());
        for public in ["93.184.215.14", "[2606:4700:4700::1111]", "[64:ff9b::5db8:d70e]"] {
            let url = format!("http://{public}:{}/", watch.port());
            let config = json!({ "webhook_url": url });
            let _ = find(&registry, "webhook.http").execute(&job(config, json!({}))).await;
            assert_eq!(watch.dialled().await.len(), 1, "{public}");
        }
    }
}

/// Answers with another address each time it is asked.
struct Rebinding {
    answers: [IpAddr; 2],
    asked: Arc<Mutex<usize>>,
}

#[async_trait]
impl Lookup for Rebinding {
    async fn lookup(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        let mut asked = self.asked.lock().unwrap();
        let answer = self.answers[*asked % 2];
        *asked += 1;
        Ok(vec![answer])
    }
}

#[tokio::test]
async fn a_name_that_changes_its_answer_leads_nowhere_else() {
    let watch = Watch::start().await;
    let port = watch.port();
    for field in FIELDS.iter().filter(|field| field.is_dialled) {
        let asked = Arc::new(Mutex::new(0));
        let answers = ["127.0.0.1", BAIT].map(|raw| raw.parse().unwrap());
        let lookup = Rebinding { answers, asked: asked.clone() };
        let registry = registry(&["127.0.0.1/32"], lookup);
        let handler = find(&registry, field.handler);
        let value = match field.takes {
            Takes::Url => format!("http://rebinding.test:{port}/"),
            Takes::Host => "rebinding.test".to_owned(),
        };
        let config = field.config(&value, port);
        let at = format!("{} {}", field.handler, field.pointer);
        watch.greets(field.takes == Takes::Host);

        assert!(!refused_when_saved(handler.as_ref(), field, &config), "{at}");
        assert_eq!(*asked.lock().unwrap(), 0, "{at}: saving asks nobody");
        let _ = handler.execute(&job(config.clone(), json!({}))).await;
        assert_eq!(watch.dialled().await, [answers[0]], "{at}");
        assert_eq!(*asked.lock().unwrap(), 1, "{at}: what was checked is what was dialled");
        let refused = why(handler.execute(&job(config, json!({}))).await);
        assert_eq!(refused, ("reject", "egress.forbidden".to_owned()), "{at}");
        assert_eq!(watch.dialled().await, [] as [IpAddr; 0], "{at}");
        assert_eq!(*asked.lock().unwrap(), 2, "{at}");
    }
}

#[tokio::test]
async fn no_answer_sends_a_call_somewhere_else() {
    let watch = Watch::start().await;
    let port = watch.port();
    let bait = format!("http://{BAIT}:{port}/");
    let locations = [
        bait.clone(),
        format!("//{BAIT}:{port}/"),
        format!("\\\\{BAIT}:{port}\\"),
        format!("http:{bait}"),
        format!("http://user@{BAIT}:{port}/"),
        format!("http://localhost:{port}/"),
        "file:///etc/passwd".to_owned(),
        format!("gopher://{BAIT}:{port}/_x"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "//".to_owned(),
        "%".to_owned(),
        String::new(),
    ];
    let registry = registry(&["127.0.0.1/32"], Names::default());
    for field in FIELDS.iter().filter(|field| field.is_dialled && field.takes == Takes::Url) {
        let handler = find(&registry, field.handler);
        let config = field.config(&format!("http://127.0.0.1:{port}/"), port);
        for status in [301, 302, 303, 307, 308] {
            for location in &locations {
                let at = format!("{} {} {status} {location}", field.handler, field.pointer);
                watch.answer(&format!("HTTP/1.1 {status} Found\r\nlocation: {location}\r\n"));
                let outcome = handler.execute(&job(config.clone(), json!({}))).await;
                assert!(!matches!(outcome, Outcome::Done(_)), "{at}: {outcome:?}");
                assert_eq!(watch.dialled().await, ["127.0.0.1".parse::<IpAddr>().unwrap()], "{at}");
            }
        }
        // Neither a promise of the protocol nor a page makes a call go elsewhere, now or later.
        watch.answer(&format!(
            "HTTP/1.1 200 OK\r\nalt-svc: h2=\"{BAIT}:{port}\"; ma=86400, h3=\"{BAIT}:{port}\"\r\n\
             refresh: 0; url={bait}\r\nlink: <{bait}>; rel=preload\r\n"
        ));
        for _ in 0..2 {
            let _ = handler.execute(&job(config.clone(), json!({}))).await;
            let dialled = watch.dialled().await;
            assert_eq!(dialled, ["127.0.0.1".parse::<IpAddr>().unwrap()], "{}", field.handler);
        }
    }
}

/// Texts that a config or an input may hold, by handler: `config/pointer` and `input/pointer`.
fn texts_of(handler: &dyn Handler) -> BTreeSet<String> {
    let descriptor = handler.descriptor();
    let mut found = BTreeSet::new();
    for (part, schema) in
        [("config", &descriptor.config_schema), ("input", &descriptor.input_schema)]
    {
        collect_texts(schema, schema, part, &mut found);
    }
    found
}

fn collect_texts(root: &Value, schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let target = root.pointer(reference.trim_start_matches('#')).unwrap();
        return collect_texts(root, target, path, found);
    }
    for choice in ["anyOf", "oneOf", "allOf"] {
        for one in schema.get(choice).and_then(Value::as_array).into_iter().flatten() {
            collect_texts(root, one, path, found);
        }
    }
    let types = match schema.get("type") {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    // Of a fixed list of words none is an address.
    let is_free = schema.get("enum").is_none() && schema.get("const").is_none();
    if types.contains(&"string") && is_free {
        found.insert(path.to_owned());
    }
    if let Some(items) = schema.get("items") {
        collect_texts(root, items, path, found);
    }
    if let Some(others) = schema.get("additionalProperties").filter(|others| others.is_object()) {
        collect_texts(root, others, &format!("{path}/*"), found);
    }
    for (name, property) in
        schema.get("properties").and_then(Value::as_object).into_iter().flatten()
    {
        collect_texts(root, property, &format!("{path}/{name}"), found);
    }
}

#[test]
fn every_text_of_every_handler_is_known_to_lead_somewhere_or_nowhere() {
    let mut known: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (handler, texts) in fields::QUIET {
        known.entry(handler).or_default().extend(texts.split_whitespace().map(ToOwned::to_owned));
    }
    for field in FIELDS {
        known.entry(field.handler).or_default().insert(format!("config{}", field.pointer));
    }
    let registry = handlers();
    let found: BTreeMap<&str, BTreeSet<String>> =
        registry.list().map(|one| (one.descriptor().id, texts_of(one.as_ref()))).collect();
    let mut changed = Vec::new();
    for (handler, texts) in &found {
        let none = BTreeSet::new();
        let known = known.get(handler).unwrap_or(&none);
        let new = texts.difference(known).map(|text| format!("{handler} +{text}"));
        let gone = known.difference(texts).map(|text| format!("{handler} -{text}"));
        changed.extend(new.chain(gone));
    }
    let changed = changed.join("\n");
    assert!(
        changed.is_empty(),
        "egress/fields.rs has to say which of these lead to a connection:\n{changed}"
    );
    let gone: Vec<_> = known.keys().filter(|handler| !found.contains_key(*handler)).collect();
    assert!(gone.is_empty(), "there are no such handlers: {gone:?}");
}

/// Puts a text at `config/a/b` or `input/a/b` of an attempt.
fn put(config: &mut Value, input: &mut Value, path: &str, text: &str) {
    let (part, rest) = path.split_once('/').unwrap();
    let mut place = if part == "config" { config } else { input };
    for name in rest.split('/') {
        place = &mut place[if name == "*" { "x-any" } else { name }];
    }
    *place = json!(text);
}

#[tokio::test]
async fn a_text_that_leads_nowhere_makes_no_connection_whatever_it_holds() {
    let watch = Watch::start().await;
    let port = watch.port();
    let names = HashMap::from([("bait.test".to_owned(), vec![BAIT.parse().unwrap()])]);
    let registry = registry(&["127.0.0.0/8"], Names(names));
    let bait: IpAddr = BAIT.parse().unwrap();
    let mut tried = 0;
    for (handler, texts) in fields::QUIET {
        let handler = find(&registry, handler);
        let field = FIELDS.iter().find(|field| field.handler == handler.descriptor().id);
        watch.greets(field.is_some_and(|field| field.takes == Takes::Host));
        for text in texts.split_whitespace() {
            for lure in [format!("http://{BAIT}:{port}/"), "bait.test".to_owned(), BAIT.to_owned()]
            {
                let mut input = json!({});
                let mut config = match field {
                    Some(field) if field.takes == Takes::Url => {
                        field.config(&format!("http://127.0.0.1:{port}/"), port)
                    }
                    Some(field) => field.config("127.0.0.1", port),
                    // What leads nowhere at all waits for nobody either.
                    None if handler.descriptor().id != "worker.pull" => json!({}),
                    None => continue,
                };
                put(&mut config, &mut input, text, &lure);
                let _ = handler.check_health(&config).await;
                let _ = handler.execute(&job(config, input)).await;
                let dialled = watch.dialled().await;
                assert!(!dialled.contains(&bait), "{} {text}", handler.descriptor().id);
                tried += 1;
            }
        }
    }
    assert!(tried > 200, "{tried}");
}

#[tokio::test]
async fn a_region_is_part_of_a_host_and_nothing_more() {
    let watch = Watch::start().await;
    let port = watch.port();
    let registry = registry(&["0.0.0.0/0", "::/0"], Names::default());
    let handler = find(&registry, "sms.aws_sns");
    let urls = urls(port);
    let others = ["/", "#", "?", "@", "\\"].map(|end| format!("x@127.0.0.1:{port}{end}"));
    let regions = urls.iter().map(|bad| bad.url.clone());
    let hosts = urls.iter().filter_map(|bad| host_of(&bad.url, port)).map(ToOwned::to_owned);
    for region in regions.chain(hosts.filter(|host| host.contains('.'))).chain(others) {
        let config = json!({
            "key": "k", "secret": "s", "to": "+15550101", "message": "hello", "aws_region": region,
        });
        let report = handler.check_config(&config);
        assert_eq!(report.errors[0].pointer, "/aws_region", "{region}");
        let refused = why(handler.execute(&job(config, json!({}))).await);
        assert_eq!(refused, ("reject", "config.invalid".to_owned()), "{region}");
    }
    assert_eq!(watch.dialled().await, [] as [IpAddr; 0]);
}

#[tokio::test]
async fn a_mail_host_is_called_on_the_ports_of_mail_only() {
    let registry = registry(&["127.0.0.0/8"], Names::default());
    for field in FIELDS.iter().filter(|field| field.takes == Takes::Host) {
        let handler = find(&registry, field.handler);
        for port in [22, 80, 443, 445, 1023] {
            let config = field.config("127.0.0.1", port);
            assert!(refused_when_saved(handler.as_ref(), field, &config), "{port}");
            let unwell = handler.check_health(&config).await.unwrap_err();
            assert!(unwell.contains("is not open for mail"), "{port}: {unwell}");
            let refused = why(handler.execute(&job(config, json!({}))).await);
            assert_eq!(refused, ("reject", "egress.forbidden".to_owned()), "{port}");
        }
    }
}
