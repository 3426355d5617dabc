//! What a tenant finds out about another one: nothing, whatever it asks for and however it spells
//! it.
//!
//! A real server over a real store has two tenants. The administrator of one knows every id, name,
//! cursor and request key of the other, and tries them at every place where one can stand: in the
//! path of each operation that the API describes, in cursors, filters and bodies. Each question is
//! asked a second time with a twin: an id of the same form that belongs to nobody. Both answers
//! have to be the same, and no answer may hold what is marked.

use std::collections::BTreeSet;
use std::net::TcpListener;

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::api::roles::{body, described, split};
use crate::support::cluster::eventually;
use crate::support::engine::MASTER_KEY;
use crate::support::mutator::Chance;
use crate::support::postgres::fresh_database;
use crate::support::process::{Server, TOKEN};

/// In every name and every value of the tenant that is asked about.
const MARK: &str = "zebra";
const VICTIM: &str = "/v1/tenants/zebra";
const OWN: &str = "/v1/tenants/other";
/// Requests that hold something of the other tenant, at least.
const PROBES: usize = 5_000;
/// Pairs of each kind of id whose times are compared.
const PAIRS: usize = 300;
/// How far the order of two times may be from chance: five standard deviations of what 300 pairs
/// of equal distributions give, `sqrt((2n + 1) / (12 n²))`.
const LEANING_MAX: f64 = 0.12;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_another_tenant_is_told_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("actions.db").display());
    Scene::over(&url).await.nothing_is_told().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_another_tenant_is_told_on_postgres() {
    Scene::over(&fresh_database().await).await.nothing_is_told().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_id_takes_the_time_of_an_unknown_one_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("actions.db").display());
    Scene::over(&url).await.times_are_alike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_id_takes_the_time_of_an_unknown_one_on_postgres() {
    Scene::over(&fresh_database().await).await.times_are_alike().await;
}

/// Something of the other tenant, and its like that belongs to nobody.
struct Known {
    what: &'static str,
    real: String,
    twin: String,
}

impl Known {
    fn new(what: &'static str, real: &str) -> Self {
        Self { what, real: real.to_owned(), twin: twin(real) }
    }
}

/// What differs from a text in its last letters and digits only.
fn twin(text: &str) -> String {
    let mut left = 8;
    let turned: String = text
        .chars()
        .rev()
        .map(|c| match c {
            _ if left == 0 || !c.is_ascii_alphanumeric() => c,
            _ => {
                left -= 1;
                // Digits stay digits and hexadecimal letters such letters.
                match c {
                    '0'..='8' | 'a'..='e' | 'g'..='y' | 'A'..='Y' => char::from(c as u8 + 1),
                    '9' => '0',
                    'f' | 'z' => 'a',
                    'Z' => 'A',
                    c => c,
                }
            }
        })
        .collect();
    turned.chars().rev().collect()
}

struct Scene {
    server: Server,
    client: Client,
    /// Of the tenant that asks.
    token: String,
    known: Vec<Known>,
    /// Cursors of the other tenant's lists.
    cursors: Vec<String>,
}

/// What was answered, without what differs from request to request.
#[derive(Debug, PartialEq)]
struct Said {
    status: StatusCode,
    text: String,
}

/// A path, and the body that names something.
type Asked<'a> = (&'a str, &'a dyn Fn(&str) -> Value);

struct Tally {
    probes: usize,
    wrong: Vec<String>,
}

impl Scene {
    async fn over(database_url: &str) -> Self {
        let settings = vec![
            ("ACTIONS_EGRESS_ALLOW", "127.0.0.0/8".to_owned()),
            ("ACTIONS_MASTER_KEY", MASTER_KEY.to_owned()),
        ];
        let server = Server::start_with(database_url, settings).await;
        for slug in ["zebra", "other"] {
            server.create("/v1/admin/tenants", &json!({ "slug": slug })).await;
        }
        let (known, cursors) = furnish(&server, VICTIM, MARK).await;
        furnish(&server, OWN, "own").await;
        let key = json!({ "name": "asker", "role": "tenant_admin" });
        let key = server.create(&format!("{OWN}/keys"), &key).await;
        let token = key["token"].as_str().unwrap().to_owned();
        let client = Client::builder().no_proxy().build().unwrap();
        Self { server, client, token, known, cursors }
    }

    async fn ask(&self, method: &Method, path: &str, body: Option<&Value>) -> (StatusCode, String) {
        let request = self.client.request(method.clone(), self.server.url(path));
        let request = request.bearer_auth(&self.token).header("if-match", "*");
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status(), format!("{:?}", answer.headers()));
        (status, format!("{headers}\n{}", answer.text().await.unwrap()))
    }

    /// Asks with something of the other tenant and with its twin, and compares.
    async fn probe(
        &self,
        tally: &mut Tally,
        known: &Known,
        method: &Method,
        question: impl Fn(&str) -> (String, Option<Value>),
    ) {
        let mut said = Vec::new();
        for word in [&known.real, &known.twin] {
            let (path, body) = question(word);
            let (status, text) = self.ask(method, &path, body.as_ref()).await;
            let asked = format!("{word} {path}{}", body.unwrap_or_default());
            tally.look_for_marks(&format!("{method} {path}"), &asked, &text, &self.known);
            said.push(Said::of(status, &text, word));
        }
        tally.probes += 1;
        if said[0] != said[1] {
            let (path, _) = question(&known.real);
            let both = format!("{:?}\ninstead of\n{:?}", said[0], said[1]);
            tally.wrong.push(format!("{method} {path} ({}): {both}", known.what));
        }
    }

    async fn nothing_is_told(self) {
        let before = self.state_of_the_other().await;
        let mut tally = Tally { probes: 0, wrong: Vec::new() };
        self.read_own_lists(&mut tally).await;
        self.probe_paths(&mut tally).await;
        self.probe_foreign_paths(&mut tally).await;
        self.probe_lists(&mut tally).await;
        self.probe_bodies(&mut tally).await;
        let Tally { probes, wrong } = tally;
        assert!(
            wrong.is_empty(),
            "{} of {probes}:\n{}",
            wrong.len(),
            wrong[..wrong.len().min(20)].join("\n")
        );
        assert!(probes >= PROBES, "only {probes} probes");
        assert_eq!(self.state_of_the_other().await, before, "something of the other has changed");
        eprintln!("{probes} probes");
    }

    /// One's own lists, while nothing of the other has been named yet.
    async fn read_own_lists(&self, tally: &mut Tally) {
        for route in operations().iter().filter(|route| is_list(route)) {
            let path = format!("{OWN}{}?limit=1000", filled(split(route).1));
            let (_, text) = self.ask(&Method::GET, &path, None).await;
            tally.look_for_marks(&path, "", &text, &self.known);
        }
    }

    /// Ids of the other in every place of every path of one's own tenant.
    async fn probe_paths(&self, tally: &mut Tally) {
        for route in operations() {
            let (method, pattern) = split(&route);
            let body = has_body(&method).then(|| body(pattern));
            for place in places(pattern) {
                for known in &self.known {
                    for spell in SPELLINGS {
                        let path = |word: &str| {
                            let path = pattern.replace(place, &spell(word));
                            (format!("{OWN}{}", filled(&path)), body.clone())
                        };
                        self.probe(tally, known, &method, path).await;
                    }
                }
            }
        }
    }

    /// The other tenant's own paths, with all that is known of it.
    async fn probe_foreign_paths(&self, tally: &mut Tally) {
        let tenant = Known::new("tenant", MARK);
        for route in operations() {
            let (method, pattern) = split(&route);
            let body = has_body(&method).then(|| body(pattern));
            let real = self.known.iter().fold(pattern.to_owned(), |path, known| {
                path.replace(&format!("{{{}}}", known.what), &known.real)
            });
            for path in [filled(pattern), filled(&real)] {
                let question = |word: &str| (format!("/v1/tenants/{word}{path}"), body.clone());
                self.probe(tally, &tenant, &method, question).await;
            }
        }
        for route in described().iter().filter(|route| route.contains("/v1/internal/")) {
            let (method, path) = split(route);
            let body = has_body(&method).then(|| body(path));
            for known in self.known.iter().chain([&tenant]) {
                let question = |word: &str| (format!("{path}?tenant={word}"), body.clone());
                self.probe(tally, known, &method, question).await;
            }
        }
    }

    /// Cursors of the other, damaged ones, and filters that name what is the other's.
    async fn probe_lists(&self, tally: &mut Tally) {
        let lists: Vec<_> = operations().into_iter().filter(|route| is_list(route)).collect();
        let mut chance = Chance::new(7);
        for route in &lists {
            let path = format!("{OWN}{}", filled(split(route).1));
            for cursor in &self.cursors {
                for _ in 0..3 {
                    let at = chance.below(cursor.len());
                    let other = if &cursor[at..=at] == "A" { "B" } else { "A" };
                    let damaged = format!("{}{other}{}", &cursor[..at], &cursor[at + 1..]);
                    for sent in [cursor, &damaged] {
                        let path = format!("{path}?cursor={sent}");
                        let (status, text) = self.ask(&Method::GET, &path, None).await;
                        tally.look_for_marks(&path, &path, &text, &self.known);
                        tally.probes += 1;
                        if status.is_server_error() {
                            tally.wrong.push(format!("{path}: {status}"));
                        }
                    }
                }
            }
            for field in self.fields_of(&path).await {
                for known in &self.known {
                    let question = |word: &str| (format!("{path}?where={field}:{word}"), None);
                    self.probe(tally, known, &Method::GET, question).await;
                }
            }
        }
    }

    /// What a list can be asked for, by its own words.
    async fn fields_of(&self, path: &str) -> Vec<String> {
        let (_, text) = self.ask(&Method::GET, &format!("{path}?where=nothing:x"), None).await;
        let Some((_, known)) = text.split_once("known are ") else { return Vec::new() };
        let end = known.find(['"', '\\', ';']).unwrap_or(known.len());
        let named = known[..end].split(", ");
        named
            .map(|field| if field.ends_with('.') { format!("{field}x") } else { field.to_owned() })
            .collect()
    }

    /// What is the other's, named in a body.
    async fn probe_bodies(&self, tally: &mut Tally) {
        for known in &self.known {
            let set = |word: &str| {
                json!({
                    "actions": [{
                        "name": "mine",
                        "action_type": "webhook",
                        "handler": "webhook.http",
                        "config": { "webhook_url": "http://127.0.0.1:8080/", "x": word },
                    }],
                    "subscriptions": [{ "action": word, "event_pattern": "x.y" }],
                })
            };
            let secret = |word: &str| {
                let url = format!("http://127.0.0.1:8080/{{{{ secrets.{word} }}}}");
                json!({ "handler": "webhook.http", "config": { "webhook_url": url } })
            };
            let asks: [Asked<'_>; 12] = [
                ("/subscriptions", &|word| json!({ "action": word, "event_pattern": "x.y" })),
                (
                    "/schedules",
                    &|word| json!({ "name": "probe", "action": word, "every_seconds": 3600 }),
                ),
                ("/bulk", &|word| json!({ "op": "cancel", "ids": [word], "dry_run": true })),
                (
                    "/bulk",
                    &|word| json!({ "op": "cancel", "where": format!("action:{word}"), "dry_run": true }),
                ),
                (
                    "/dead-letters:discard",
                    &|word| json!({ "where": format!("action:{word}"), "reason": "none" }),
                ),
                ("/dead-letters:requeue", &|word| json!({ "where": format!("action:{word}") })),
                ("/definitions:diff", &set),
                ("/definitions:validate", &set),
                ("/handlers/webhook.http:validate", &secret),
                ("/events:explain", &|word| json!({ "type": "a.b", "subject": word })),
                (
                    "/events",
                    &|word| json!({ "id": word, "type": "never.matched", "source": "zebra" }),
                ),
                ("/keys", &|word| json!({ "name": "made", "role": "viewer", "tenant": word })),
            ];
            for (path, asked) in asks {
                let question = |word: &str| (format!("{OWN}{path}"), Some(asked(word)));
                self.probe(tally, known, &Method::POST, question).await;
            }
        }
        self.same_keys_mean_something_else(tally).await;
    }

    /// What the other sent, sent again with its ids and request keys, is new here.
    async fn same_keys_mean_something_else(&self, tally: &mut Tally) {
        let event = json!({ "id": MARK, "source": MARK, "type": "own.sent", "data": MARK });
        let post = async |base: &str, token: &str| {
            let request = self.client.post(self.server.url(&format!("{base}/events")));
            let request = request.bearer_auth(token).header("idempotency-key", "same");
            let answer = request.json(&event).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::ACCEPTED);
            answer.json::<Value>().await.unwrap()
        };
        let (theirs, ours) = (post(VICTIM, TOKEN).await, post(OWN, &self.token).await);
        tally.probes += 1;
        if ours["id"] == theirs["id"] || ours["duplicate"] == true {
            tally.wrong.push(format!("taken for the other's: {ours}"));
        }
    }

    /// All that an administrator sees of the other tenant and that its own work does not change.
    async fn state_of_the_other(&self) -> Vec<Value> {
        let mut state = Vec::new();
        let lists = ["actions", "subscriptions", "schedules", "keys", "secrets", "bulk"];
        for list in lists.into_iter().chain(["executions", "dead-letters", "audit"]) {
            state.extend(self.server.read_all(&format!("{VICTIM}/{list}")).await);
        }
        state
    }

    /// Asks for foreign ids and for their twins in turns, and compares which of two took longer:
    /// the share of all pairs in which the foreign one did (the statistic of Mann, Whitney and
    /// Wilcoxon), which is one half when nothing can be told. What the machine does besides meets
    /// both alike.
    async fn times_are_alike(self) {
        let mut told = Vec::new();
        for (kind, list) in [
            ("event", "events"),
            ("execution", "executions"),
            ("action", "actions"),
            ("subscription", "subscriptions"),
            ("schedule", "schedules"),
            ("bulk", "bulk"),
        ] {
            let known = self.known.iter().find(|known| known.what == kind).unwrap();
            let mut times = [Vec::new(), Vec::new()];
            for pair in 0..PAIRS {
                for turn in 0..2 {
                    let which = (pair + turn) % 2;
                    let word = [&known.real, &known.twin][which];
                    let path = format!("{OWN}/{list}/{word}");
                    let began = Instant::now();
                    let (status, _) = self.ask(&Method::GET, &path, None).await;
                    times[which].push(began.elapsed());
                    assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
                }
            }
            let later = times[0].iter().flat_map(|a| times[1].iter().map(move |b| a > b));
            let share = later.filter(|is_later| *is_later).count() as f64 / (PAIRS * PAIRS) as f64;
            told.push((kind, share));
        }
        eprintln!("{told:?}");
        let leaning = told.iter().filter(|(_, share)| (share - 0.5).abs() > LEANING_MAX);
        assert_eq!(leaning.count(), 0, "times tell which ids there are: {told:?}");
    }
}

impl Said {
    fn of(status: StatusCode, text: &str, word: &str) -> Self {
        let text = text.split_once('\n').unwrap().1;
        // What is made anew each time has ids and times of its own.
        if status.is_success() {
            return Self { status, text: String::new() };
        }
        let mut problem: Value = serde_json::from_str(text).unwrap_or_default();
        for member in ["request_id", "trace_id", "instance"] {
            if let Some(problem) = problem.as_object_mut() {
                problem.remove(member);
            }
        }
        let text = problem.to_string();
        let text =
            [word.to_owned(), word.to_uppercase(), word.to_lowercase(), word.replace('-', "")]
                .iter()
                .fold(text, |text, word| text.replace(word, "WORD"));
        Self { status, text }
    }
}

impl Tally {
    /// Looks for what is the other's in an answer. What was asked for may be repeated.
    fn look_for_marks(&mut self, what: &str, asked: &str, text: &str, known: &[Known]) {
        let (asked, text) = (asked.to_lowercase(), text.to_lowercase());
        let is_new = |mark: &str| text.contains(mark) && !asked.contains(mark);
        let is_named = known
            .iter()
            .filter(|known| known.real.len() >= 16)
            .any(|known| is_new(&known.real.to_lowercase()));
        if is_named || is_new(MARK) {
            self.wrong.push(format!("{what} tells of the other: {text}"));
        }
    }
}

/// Every operation of a tenant, without the tenant. What deletes comes last.
fn operations() -> Vec<String> {
    let mut all: Vec<String> = described()
        .iter()
        .filter(|route| route.contains("/v1/tenants/{tenant}/"))
        .map(|route| route.replace("/v1/tenants/{tenant}", ""))
        // Whoever pauses the whole tenant sees nothing more of it.
        .filter(|route| !route.contains("/controls:"))
        .collect();
    all.sort_by_key(|route| route.starts_with("DELETE"));
    all
}

fn has_body(method: &Method) -> bool {
    method == Method::POST || method == Method::PUT
}

fn is_list(route: &str) -> bool {
    let document: Value = serde_json::from_str(&actions::openapi_json()).unwrap();
    let (method, path) = split(route);
    let path = format!("/v1/tenants/{{tenant}}{path}");
    let parameters = &document["paths"][path][method.as_str().to_lowercase()]["parameters"];
    parameters.as_array().into_iter().flatten().any(|parameter| parameter["name"] == "cursor")
}

/// The ids in a path.
fn places(pattern: &str) -> BTreeSet<&str> {
    let starts = pattern.match_indices('{').map(|(at, _)| at);
    let ends = pattern.match_indices('}').map(|(at, _)| at + 1);
    let places = starts.zip(ends).map(|(start, end)| &pattern[start..end]);
    places
        .filter(|place| !["{version}", "{before}", "{after}", "{handler}"].contains(place))
        .collect()
}

/// A path whose other places hold something that may be there.
fn filled(pattern: &str) -> String {
    [("{version}", "1"), ("{before}", "1"), ("{after}", "1"), ("{handler}", "webhook.http")]
        .iter()
        .fold(pattern.to_owned(), |path, (place, word)| path.replace(place, word))
        .replace(['{', '}'], "")
}

/// The same id, written in other ways.
const SPELLINGS: [fn(&str) -> String; 6] = [
    str::to_owned,
    |word| word.to_uppercase(),
    |word| word.bytes().map(|byte| format!("%{byte:02x}")).collect(),
    |word| word.replace('-', ""),
    |word| format!("{word}%20"),
    |word| format!("%7B{word}%7D"),
];

/// Makes one of everything in a tenant, marked with a word.
async fn furnish(server: &Server, base: &str, mark: &str) -> (Vec<Known>, Vec<String>) {
    let create = async |path: &str, body: Value| {
        let path = format!("{base}{path}");
        let answer = server.post(&path).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
        answer.json::<Value>().await.unwrap()
    };
    let name = |what: &str| format!("{mark}-{what}");
    // Nobody listens there any more.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let action = json!({
        "name": name("action"),
        "action_type": "webhook",
        "handler": "webhook.http",
        "event_patterns": [format!("{mark}.sent")],
        "retry_policy": "no_retry",
        "config": { "webhook_url": format!("http://127.0.0.1:{port}/{mark}") },
    });
    let created = create("/actions", action.clone()).await;
    let key = create("/keys", json!({ "name": name("key"), "role": "viewer" })).await;
    let secret = format!("{}_SECRET", mark.to_uppercase());
    let put = server.url(&format!("{base}/secrets/{secret}"));
    let put = Client::new().put(put).bearer_auth(TOKEN).json(&json!({ "value": name("value") }));
    let answer = put.send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    let subscription =
        json!({ "action": name("action"), "event_pattern": format!("{mark}.other") });
    let subscription = create("/subscriptions", subscription).await;
    let schedule =
        json!({ "name": name("schedule"), "action": name("action"), "every_seconds": 86_400 });
    create("/schedules", schedule).await;
    let mut events = Vec::new();
    for data in ["first", "second"] {
        let event = json!({ "type": format!("{mark}.sent"), "data": name(data) });
        events.push(create("/events", event).await);
    }
    let waiting =
        create(&format!("/actions/{}:execute", name("action")), json!({ "delay": "30d" })).await;
    // What has neither run nor a time of its own waits elsewhere in the store.
    let mut paused = action.clone();
    paused["name"] = json!(name("paused"));
    paused["event_patterns"] = json!([format!("{mark}.paused")]);
    let pause = format!("/actions/{}:pause", name("paused"));
    create("/actions", paused).await;
    create(&pause, json!({})).await;
    let held = create("/events", json!({ "type": format!("{mark}.paused") })).await;
    let bulk = json!({ "op": "cancel", "ids": [waiting["id"]], "rate": 1, "canary": 1 });
    let bulk = create("/bulk", bulk).await;
    let groups = format!("{base}/dead-letters/groups");
    eventually("both have failed", async || {
        let groups = server.read(&groups).await;
        groups["items"][0]["count"].as_u64().is_some_and(|count| count == 2)
    })
    .await;
    let groups = server.read(&groups).await;
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{value}")).to_owned();
    let known = vec![
        Known::new("event", &text(&events[0]["id"])),
        Known::new("execution", &text(&waiting["id"])),
        Known::new("execution", &text(&events[1]["executions"][0]["id"])),
        Known::new("execution", &text(&held["executions"][0]["id"])),
        Known::new("fingerprint", &text(&groups["items"][0]["fingerprint"])),
        Known::new("subscription", &text(&subscription["id"])),
        Known::new("bulk", &text(&bulk["id"])),
        Known::new("action", &name("action")),
        Known::new("action", &text(&created["id"])),
        Known::new("schedule", &name("schedule")),
        Known::new("secret", &secret),
        Known::new("key", &name("key")),
        Known::new("key", &text(&key["id"])),
    ];
    let mut cursors = Vec::new();
    for list in ["actions", "events", "executions", "dead-letters", "audit"] {
        let page = server.read(&format!("{base}/{list}?limit=1")).await;
        cursors.extend(page["next_cursor"].as_str().map(str::to_owned));
    }
    assert!(cursors.len() >= 3, "{cursors:?}");
    (known, cursors)
}
