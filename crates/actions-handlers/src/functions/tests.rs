use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use actions_domain::execution::{Fault, Outcome};
use actions_domain::ports::handler::Handler;

use super::handlers::{FunctionCall, JobRun};
use super::{Fail, FunctionContext, Functions, RegisterError};
use crate::fixture::call;

#[derive(Deserialize)]
struct User {
    email: String,
}

#[derive(Serialize)]
struct Receipt {
    sent_to: String,
    key: String,
}

fn functions() -> Functions {
    let functions = Functions::new();
    functions
        .register("welcome", |user: User, context: FunctionContext| async move {
            match user.email.as_str() {
                "bounced" => Err(Fail::reject("this address bounced before")),
                "busy" => Err(Fail::after(Duration::from_secs(9), "come back later")),
                "broken" => Err("no number".parse::<i32>().expect_err("no number").into()),
                _ => Ok(Receipt { sent_to: user.email, key: context.idempotency_key() }),
            }
        })
        .expect("a free name");
    functions
}

async fn outcome(config: Value, input: Value) -> Outcome {
    FunctionCall::new(functions()).execute(&call(config, input)).await
}

fn fault(outcome: Outcome) -> (&'static str, Fault) {
    match outcome {
        Outcome::Retry(fault) => ("retry", fault),
        Outcome::Reject(fault) => ("reject", fault),
        Outcome::Done(output) => panic!("{output:?}"),
    }
}

#[tokio::test]
async fn a_function_takes_and_gives_its_own_types() {
    let done = outcome(json!({ "function_name": "welcome" }), json!({ "email": "a@b.c" })).await;
    let Outcome::Done(output) = done else { panic!("{done:?}") };
    let key = "01900000-0000-7000-8000-000000000001";
    assert_eq!(output.data, json!({ "sent_to": "a@b.c", "key": key }));
}

#[tokio::test]
async fn a_function_decides_whether_to_try_again() {
    let ask = async |email: &str| {
        let config = json!({ "function_name": "welcome" });
        let (word, fault) = fault(outcome(config, json!({ "email": email })).await);
        (word, fault.code.clone(), fault.retry_after())
    };
    assert_eq!(ask("bounced").await, ("reject", "function.rejected".to_owned(), None));
    let later = Some(Duration::from_secs(9));
    assert_eq!(ask("busy").await, ("retry", "function.failed".to_owned(), later));
    assert_eq!(ask("broken").await, ("retry", "function.failed".to_owned(), None));
}

#[tokio::test]
async fn unknown_names_and_wrong_input_are_refused_clearly() {
    let (word, unknown) = fault(outcome(json!({ "function_name": "gone" }), json!({})).await);
    assert_eq!((word, unknown.code.as_str()), ("reject", "function.unknown"));
    assert!(unknown.message.contains("gone"));
    let config = json!({ "function_name": "welcome" });
    let (word, wrong) = fault(outcome(config, json!({ "mail": 1 })).await);
    assert_eq!((word, wrong.code.as_str()), ("reject", "input.invalid"));
    let (word, wrong) = fault(outcome(json!({}), json!({})).await);
    assert_eq!((word, wrong.code.as_str()), ("reject", "config.invalid"));
}

#[tokio::test]
async fn a_job_runs_the_function_of_its_type() {
    let config = json!({ "job_type": "welcome", "region": "eu" });
    let done = JobRun::new(functions()).execute(&call(config, json!({ "email": "a@b.c" }))).await;
    assert!(matches!(done, Outcome::Done(_)), "{done:?}");
}

#[test]
fn a_name_is_registered_once_and_missing_ones_are_only_doubtful() {
    let functions = functions();
    let again = functions.register("welcome", |_: Value, _| async { Ok::<_, Fail>(()) });
    assert_eq!(again, Err(RegisterError::Taken { name: "welcome".to_owned() }));
    let handler = FunctionCall::new(functions);
    let report = handler.check_config(&json!({ "function_name": "later" }));
    assert!(report.errors.is_empty());
    assert!(report.warnings[0].message.contains("it has: welcome"));
    assert_eq!(handler.check_config(&json!({})).errors[0].pointer, "/function_name");
}
