use serde_json::{Value, json};

use super::{Job, JobProblem, chain, flow};
use crate::flow::graph::{Does, Needs, StepName};
use crate::flow::written;

fn etl() -> Vec<Job> {
    vec![
        Job::new("extract", "etl.extract").with(json!({ "day": "{{ event.day }}" })),
        Job::new("clean", "etl.clean").after(["extract"]).each("{{ steps.extract.output }}", 10),
        Job::new("left", "etl.left").after(["clean"]),
        Job::new("right", "etl.right").after(["clean"]),
        Job::new("first", "etl.first").after_any(["left", "right"]),
        Job::new("report", "etl.report").after(["left", "right", "first"]).gathering(),
    ]
}

fn document() -> Value {
    let output = |name: &str| format!("{{{{ steps[\"{name}\"].output }}}}");
    json!({ "action": "etl", "steps": [
        { "extract": { "action": "etl.extract", "with": { "day": "{{ event.day }}" } } },
        { "clean": { "action": "etl.clean", "after": "extract", "each": "{{ steps.extract.output }}", "limit": 10 } },
        { "left": { "action": "etl.left", "after": "clean" } },
        { "right": { "action": "etl.right", "after": "clean" } },
        { "first-any": { "gate": "any", "after": ["left", "right"] } },
        { "first": { "action": "etl.first", "after": "first-any" } },
        { "report": {
            "action": "etl.report",
            "after": ["left", "right", "first"],
            "with": { "left": output("left"), "right": output("right"), "first": output("first") },
        } },
    ] })
}

#[test]
fn jobs_in_rust_and_in_yaml_are_one_workflow() {
    let built = flow("etl", etl()).unwrap();
    let read = written::read(&document()).unwrap().flow;
    assert_eq!(built.graph(), read.graph());
    assert_eq!(built.digest(), read.digest());
    let mut turned = etl();
    turned.reverse();
    assert_eq!(flow("etl", turned).unwrap().digest(), built.digest());
}

#[test]
fn a_chain_hands_on_what_each_job_left_behind() {
    let jobs = ["a", "b", "c"].map(|name| Job::new(name, "act"));
    let built = flow("chain", chain(jobs)).unwrap();
    let order: Vec<&str> = built.order().into_iter().map(StepName::as_str).collect();
    assert_eq!(order, ["a", "b", "c"]);
    let Does::Action(call) = &built.graph().steps["b"].does else { panic!("{built:?}") };
    assert_eq!(call.input, json!({ "a": "{{ steps[\"a\"].output }}" }));
}

#[test]
fn the_first_of_several_is_enough_where_it_says_so() {
    let built = flow("etl", etl()).unwrap();
    assert_eq!(built.graph().steps["first-any"].does, Does::Gate { needs: Needs::Any });
}

#[test]
fn jobs_that_do_not_fit_together_are_refused() {
    let problems = |jobs: Vec<Job>| flow("jobs", jobs).unwrap_err();
    let twice = problems(vec![Job::new("a", "act"), Job::new("a", "act")]);
    assert!(matches!(twice.as_slice(), [JobProblem::Duplicate { .. }]), "{twice:?}");
    let unknown = problems(vec![Job::new("a", "act").after(["b"])]);
    assert!(unknown[0].to_string().starts_with("there is no step b"), "{unknown:?}");
    let circle =
        problems(vec![Job::new("a", "act").after(["b"]), Job::new("b", "act").after(["a"])]);
    assert_eq!(circle[0].to_string(), "steps wait for each other: a → b → a");
    let names = problems(vec![Job::new("9", "act"), Job::new("a", "no name")]);
    assert!(matches!(names.as_slice(), [JobProblem::Name(_), JobProblem::Action(_)]), "{names:?}");
}
