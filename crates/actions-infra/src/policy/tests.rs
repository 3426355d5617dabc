use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actions_domain::Timestamp;
use actions_domain::authorization::{Permission, Role};
use actions_domain::limits::POLICY_TRUST_MAX;
use actions_domain::ports::authorizer::{Authorizer, Question, Verdict};
use actions_domain::ports::clock::Clock;
use async_trait::async_trait;
use chrono::DateTime;
use serde_json::{Value, json};

use super::{PolicyService, Questions};

/// Time is what the test says; whoever sleeps is woken at once where it is impatient.
struct Held(Mutex<Timestamp>, bool);

#[async_trait]
impl Clock for Held {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    async fn sleep(&self, _: Duration) {
        if !self.1 {
            std::future::pending::<()>().await;
        }
    }
}

#[derive(Default)]
struct Script {
    /// What is answered next. Nothing: it never answers.
    answers: Mutex<VecDeque<Result<(u16, String), String>>>,
    asked: Mutex<Vec<Value>>,
}

#[async_trait]
impl Questions for Script {
    async fn post(&self, body: Vec<u8>) -> Result<(u16, Vec<u8>), String> {
        self.asked.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
        let answer = self.answers.lock().unwrap().pop_front();
        match answer {
            Some(answer) => answer.map(|(status, body)| (status, body.into_bytes())),
            None => std::future::pending().await,
        }
    }
}

struct Case {
    script: Arc<Script>,
    clock: Arc<Held>,
    service: PolicyService,
}

fn case(is_impatient: bool) -> Case {
    let script = Arc::new(Script::default());
    let start = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    let clock = Arc::new(Held(Mutex::new(start), is_impatient));
    let service = PolicyService::new(script.clone(), clock.clone());
    Case { script, clock, service }
}

impl Case {
    fn answers(&self, status: u16, body: &str) {
        self.script.answers.lock().unwrap().push_back(Ok((status, body.to_owned())));
    }

    fn asked(&self) -> usize {
        self.script.asked.lock().unwrap().len()
    }
}

fn question() -> Question {
    Question {
        principal: "key:ci".to_owned(),
        principal_kind: "api_key",
        principal_tenant: "acme".to_owned(),
        role: Role::Developer,
        permission: Permission::WriteDefinitions,
        tenant: "acme".to_owned(),
        route: Some("POST /v1/tenants/{tenant}/actions".to_owned()),
        path: Some("/v1/tenants/acme/actions".to_owned()),
        request_id: "r1".to_owned(),
    }
}

#[tokio::test]
async fn only_a_plain_yes_is_a_yes() {
    let deny = |reason: Option<&str>| Ok(Verdict::Deny { reason: reason.map(str::to_owned) });
    for (body, expected) in [
        (r#"{"result": true}"#, Ok(Verdict::Allow)),
        (r#"{"result": {"allow": true, "reason": "because"}}"#, Ok(Verdict::Allow)),
        (r#"{"result": false}"#, deny(None)),
        (r#"{"result": {"allow": false, "reason": "a\nfreeze"}}"#, deny(Some("a freeze"))),
        (r#"{"result": {"allow": false, "reason": 7}}"#, deny(None)),
        (r#"{"result": {}}"#, deny(None)),
        (r#"{"decision_id": "x"}"#, deny(None)),
        ("{}", deny(None)),
        ("", Err(())),
        ("true", Err(())),
        (r#"{"result": "true"}"#, Err(())),
        (r#"{"result": 1}"#, Err(())),
        (r#"{"result": null}"#, Err(())),
        (r#"{"result": [true]}"#, Err(())),
        (r#"{"result": {"allow": "yes"}}"#, Err(())),
        (r#"{"result": {"allow": null}}"#, Err(())),
    ] {
        let case = case(false);
        case.answers(200, body);
        assert_eq!(case.service.decide(&question()).await.map_err(|_| ()), expected, "{body}");
    }
    for status in [201, 204, 302, 404, 500] {
        let case = case(false);
        case.answers(status, r#"{"result": true}"#);
        assert!(case.service.decide(&question()).await.is_err(), "{status}");
    }
}

#[tokio::test]
async fn a_service_that_says_nothing_is_not_waited_for() {
    let case = case(true);
    let error = case.service.decide(&question()).await.unwrap_err();
    assert!(error.to_string().contains("in time"), "{error}");
}

#[tokio::test]
async fn it_is_told_all_that_it_may_judge_by() {
    let case = case(false);
    case.answers(200, "{}");
    case.service.decide(&question()).await.unwrap();
    assert_eq!(
        case.script.asked.lock().unwrap()[0],
        json!({ "input": {
            "principal": "key:ci",
            "principal_kind": "api_key",
            "principal_tenant": "acme",
            "role": "developer",
            "permission": "write_definitions",
            "tenant": "acme",
            "route": "POST /v1/tenants/{tenant}/actions",
            "path": "/v1/tenants/acme/actions",
            "request_id": "r1",
        }})
    );
}

#[tokio::test]
async fn a_yes_counts_for_a_moment_and_for_the_same_question_alone() {
    let case = case(false);
    let yes = || case.answers(200, r#"{"result": true}"#);
    yes();
    let other_request = Question { request_id: "r2".to_owned(), ..question() };
    for question in [question(), other_request.clone(), question()] {
        assert_eq!(case.service.decide(&question).await, Ok(Verdict::Allow));
    }
    assert_eq!(case.asked(), 1);
    let others = [
        Question { principal: "key:other".to_owned(), ..question() },
        Question { principal_kind: "account", ..question() },
        Question { principal_tenant: "admin".to_owned(), ..question() },
        Question { role: Role::TenantAdmin, ..question() },
        Question { permission: Permission::Execute, ..question() },
        Question { tenant: "other".to_owned(), ..question() },
        Question { route: None, ..question() },
        Question { path: Some("/v1/tenants/acme/actions/x".to_owned()), ..question() },
    ];
    for (number, other) in others.iter().enumerate() {
        case.answers(200, "{}");
        let denied = case.service.decide(other).await;
        assert_eq!(denied, Ok(Verdict::Deny { reason: None }), "{other:?}");
        assert_eq!(case.asked(), 2 + number);
    }
    // A no is asked for again.
    case.answers(200, "{}");
    case.service.decide(&others[0]).await.unwrap();
    assert_eq!(case.asked(), 2 + others.len());
    *case.clock.0.lock().unwrap() += POLICY_TRUST_MAX;
    case.answers(200, "{}");
    assert_eq!(case.service.decide(&question()).await, Ok(Verdict::Deny { reason: None }));
}

#[tokio::test]
async fn what_was_allowed_counts_no_more_when_it_cannot_be_asked() {
    let case = case(false);
    case.answers(200, r#"{"result": true}"#);
    assert_eq!(case.service.decide(&question()).await, Ok(Verdict::Allow));
    case.answers(500, "");
    let other = Question { principal: "key:other".to_owned(), ..question() };
    assert!(case.service.decide(&other).await.is_err());
    case.answers(503, "");
    assert!(case.service.decide(&question()).await.is_err());
}
