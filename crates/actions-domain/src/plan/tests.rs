use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::compile::{PlanStep, compile, describe};
use super::context::{Context, ContextError, ContextKey, ContextValue, KeyUse};
use super::diagnostic::Diagnostic;
use super::metadata::{ActionMetadata, Declare, Draft, MetadataErrors, Mutability, Reading};
use crate::flow::checked::Flow;
use crate::flow::graph::{Does, Edge, FlowGraph, Reason, StepName};
use crate::limits::{FLOW_EDGES_MAX, FLOW_STEPS_MAX};
use crate::work::KeyMode;

const JOKE: ContextKey<String> = ContextKey::new("joke");
const EMAIL: ContextKey<String> = ContextKey::new("emailText");

fn step_name(raw: &str) -> StepName {
    StepName::parse(raw).unwrap()
}

fn key(name: &str) -> KeyUse {
    KeyUse { name: name.to_owned(), type_name: "text".to_owned() }
}

/// A step that needs and produces keys of one type.
fn step(name: &str, requires: &[&str], produces: &[&str], after: &[&str]) -> PlanStep {
    let mut draft: Draft<Reading> = ActionMetadata::read_only("act");
    for name in requires {
        draft = draft.requires(key(name));
    }
    for name in produces {
        draft = draft.produces(key(name));
    }
    PlanStep {
        name: step_name(name),
        metadata: draft.build().unwrap(),
        arguments: Value::Null,
        after: after.iter().map(|name| step_name(name)).collect(),
    }
}

fn edges(graph: &FlowGraph) -> Vec<String> {
    let edge = |edge: &Edge| {
        let reasons: Vec<_> = edge.reasons.iter().map(ToString::to_string).collect();
        format!("{} > {} ({})", edge.from, edge.to, reasons.join(", "))
    };
    graph.edges.iter().map(edge).collect()
}

fn wrong(steps: &[PlanStep], seeded: &[KeyUse]) -> Vec<String> {
    let diagnostics = compile("plan", steps, seeded).unwrap_err();
    diagnostics.iter().map(|wrong| format!("{}: {wrong}", wrong.code())).collect()
}

struct GenerateJoke;

impl Declare for GenerateJoke {
    fn declare(&self, _arguments: &Value) -> Result<ActionMetadata, MetadataErrors> {
        ActionMetadata::read_only("joke.generate").produces(JOKE).build()
    }
}

struct SendEmail;

impl Declare for SendEmail {
    fn declare(&self, _arguments: &Value) -> Result<ActionMetadata, MetadataErrors> {
        ActionMetadata::mutate("email.send")
            .affinity("email:recipient:{to}")
            .requires(JOKE)
            .produces(EMAIL)
            .writes("mailbox")
            .build()
    }
}

fn dad_joke() -> [PlanStep; 2] {
    let to = json!({ "to": "michaelmannion@me.com", "subject": "Your joke" });
    [
        PlanStep::new(step_name("generate"), &GenerateJoke, Value::Null).unwrap(),
        PlanStep::new(step_name("email"), &SendEmail, to).unwrap(),
    ]
}

#[test]
fn the_joke_comes_before_the_email_however_the_steps_are_ordered() {
    let [generate, email] = dad_joke();
    let forward = compile("dad-joke", &[generate.clone(), email.clone()], &[]).unwrap();
    let backward = compile("dad-joke", &[email, generate], &[]).unwrap();
    assert_eq!(forward, backward);
    assert_eq!(forward.digest(), backward.digest());
    let flow = Flow::check(backward).unwrap();
    assert_eq!(describe(&flow), "1. generate\n2. email after generate (context:joke)\n");
}

#[test]
fn an_affinity_is_filled_in_with_arguments_and_keeps_places_of_the_context() {
    let [generate, email] = dad_joke();
    let graph = compile("dad-joke", &[generate, email], &[]).unwrap();
    let key = |graph: &FlowGraph, step: &str| {
        let Does::Action(call) = &graph.steps[step].does else { panic!("{step}") };
        call.key.clone().unwrap()
    };
    assert_eq!(key(&graph, "email").text, "email:recipient:michaelmannion@me.com");
    assert_eq!(key(&graph, "email").mode, KeyMode::Mutate);

    let fetch = ActionMetadata::read_only("orders.latest").affinity("customer:{id}");
    let fetch = fetch.produces(self::key("latestOrder")).build().unwrap();
    let cancel = ActionMetadata::mutate("orders.cancel").affinity("order:{latestOrder.orderId}");
    let cancel = cancel.requires(self::key("latestOrder")).build().unwrap();
    let plan_step = |name, metadata, arguments| PlanStep {
        name: step_name(name),
        metadata,
        arguments,
        after: BTreeSet::new(),
    };
    // What looks like a token or a place in an argument is neither.
    let steps = [
        plan_step("cancel", cancel, Value::Null),
        plan_step("fetch", fetch, json!({ "id": "a:b{c}" })),
    ];
    let graph = compile("cancel-order", &steps, &[]).unwrap();
    assert_eq!(key(&graph, "fetch").text, "customer:a_b_c_");
    assert_eq!(key(&graph, "fetch").mode, KeyMode::Read);
    assert_eq!(key(&graph, "cancel").text, "order:{context.latestOrder.orderId}");
}

#[test]
fn the_builders_say_what_an_action_does_to_its_affinity() {
    let read = ActionMetadata::read_only("a").build().unwrap();
    let create = ActionMetadata::create("a").affinity("order:{id}").build().unwrap();
    let mutate = ActionMetadata::mutate("a").affinity("order:{id}").writes("stock");
    let mutate = mutate.build().unwrap();
    let mutability = |metadata: &ActionMetadata| metadata.declared().mutability;
    assert_eq!(mutability(&read), Mutability::ReadOnly);
    assert_eq!(mutability(&create), Mutability::Create);
    assert_eq!(mutability(&mutate), Mutability::Mutate);
    assert_eq!(read.declared().affinity, None);
    assert_eq!(mutate.declared().affinity.as_deref(), Some("order:{id}"));
    let text = serde_json::to_string(&mutate).unwrap();
    assert_eq!(serde_json::from_str::<ActionMetadata>(&text).unwrap(), mutate);
}

#[test]
fn metadata_that_lacks_something_is_refused_when_it_is_read() {
    let codes = |declaration: Value| {
        let declaration = serde_json::from_value::<super::metadata::Declaration>(declaration);
        let errors = ActionMetadata::try_from(declaration.unwrap()).unwrap_err();
        errors.0.iter().map(super::metadata::MetadataError::code).collect::<Vec<_>>()
    };
    // Nobody said what it does, so it changes something.
    assert_eq!(codes(json!({ "action": "a" })), ["metadata.affinity_missing"]);
    assert_eq!(
        codes(json!({ "action": "a", "mutability": "create" })),
        ["metadata.affinity_missing"]
    );
    for affinity in ["order", "order:", "order:{id", "order:{}", "order:{a:b}", "o:}", "o:{a..b}"] {
        assert_eq!(
            codes(json!({ "action": "a", "affinity": affinity })),
            ["metadata.affinity"],
            "{affinity}"
        );
    }
    let key = |name: &str, kind: &str| json!({ "name": name, "type": kind });
    assert_eq!(
        codes(json!({
            "action": "",
            "mutability": "read_only",
            "writes": ["orders"],
            "requires": [key("a b", "text"), key("k", "text")],
            "produces": [key("k", "number")],
            "cost": 0,
            "timeout_seconds": 0,
            "retry": { "max_retries": 1, "backoff": "fixed", "initial_delay_ms": 1 },
        })),
        [
            "metadata.action",
            "metadata.read_only_writes",
            "metadata.context_key",
            "metadata.context_type",
            "metadata.cost",
            "metadata.timeout",
            "metadata.retry",
        ]
    );
}

#[test]
fn one_action_may_be_done_several_times_in_one_plan() {
    let joke = |name: &str, after: &[&str]| step(name, &[], &[], after);
    let steps = [joke("third", &[]), joke("first", &[]), joke("second", &[])];
    let graph = compile("jokes", &steps, &[]).unwrap();
    assert_eq!(graph.steps.len(), 3);
    assert_eq!(edges(&graph), [] as [&str; 0]);
}

#[test]
fn a_key_that_nobody_produces_is_named_unless_it_is_seeded() {
    let steps = [step("email", &["joke"], &[], &[])];
    assert_eq!(
        wrong(&steps, &[]),
        [
            "plan.missing_producer: step email needs joke, which no step produces; let one produce it, or seed it"
        ]
    );
    let graph = compile("plan", &steps, &[key("joke")]).unwrap();
    assert_eq!(graph.seeds, BTreeSet::from(["joke".to_owned()]));
    assert_eq!(edges(&graph), [] as [&str; 0]);
}

#[test]
fn of_several_producers_one_has_to_come_last() {
    let both = |after: &[&str]| {
        [
            step("draft", &[], &["text"], &[]),
            step("polish", &[], &["text"], after),
            step("send", &["text"], &[], &[]),
        ]
    };
    assert_eq!(
        wrong(&both(&[]), &[]),
        [
            "plan.ambiguous_producer: step send needs text, which draft, polish produce in no particular order; say which of them comes last"
        ]
    );
    let graph = compile("plan", &both(&["draft"]), &[]).unwrap();
    assert_eq!(edges(&graph), ["draft > polish (explicit)", "polish > send (context:text)"]);
}

#[test]
fn a_step_may_replace_what_it_needs() {
    let steps = [
        step("send", &["text"], &[], &[]),
        step("polish", &["text"], &["text"], &["draft"]),
        step("draft", &[], &["text"], &[]),
    ];
    let graph = compile("plan", &steps, &[]).unwrap();
    assert_eq!(
        edges(&graph),
        ["draft > polish (explicit, context:text)", "polish > send (context:text)"]
    );
}

#[test]
fn a_step_that_comes_before_the_producer_reads_what_was_seeded() {
    let steps = [step("read", &["text"], &[], &[]), step("write", &[], &["text"], &["read"])];
    let graph = compile("plan", &steps, &[key("text")]).unwrap();
    assert_eq!(edges(&graph), ["read > write (explicit)"]);
}

#[test]
fn what_was_told_to_come_later_cannot_produce_what_is_needed_before() {
    let steps = [
        step("email", &["joke"], &[], &[]),
        step("wait", &[], &[], &["email"]),
        step("generate", &[], &["joke"], &["wait"]),
    ];
    assert_eq!(
        wrong(&steps, &[]),
        [
            "plan.contradiction: step email needs joke from generate, which was told to come after it (email → wait → generate)"
        ]
    );
}

#[test]
fn a_circle_is_named_with_its_reasons_and_without_what_hangs_on_it() {
    let steps = [
        step("a", &["from_c"], &["from_a"], &[]),
        step("b", &["from_a"], &["from_b"], &[]),
        step("c", &["from_b"], &["from_c"], &[]),
        step("before", &[], &["seed"], &[]),
        step("after", &["from_c"], &[], &["before"]),
    ];
    assert_eq!(
        wrong(&steps, &[]),
        [
            "plan.cycle: steps wait for each other: a → b → c → a (context:from_a, context:from_b, context:from_c)"
        ]
    );
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let mut numbers = step("numbers", &[], &[], &[]);
    let draft = ActionMetadata::read_only("act");
    let typed = KeyUse { name: "shared".to_owned(), type_name: "number".to_owned() };
    numbers.metadata = draft.requires(typed).build().unwrap();
    let mut place = step("place", &[], &[], &[]);
    let draft = ActionMetadata::mutate("act").affinity("order:{nobody}");
    place.metadata = draft.build().unwrap();
    let steps = [
        step("twice", &[], &[], &[]),
        step("twice", &[], &[], &[]),
        step("lost", &[], &[], &["twize"]),
        step("own", &["mine"], &["mine"], &[]),
        step("itself", &[], &[], &["itself"]),
        step("hungry", &["nothing"], &[], &[]),
        step("texts", &[], &["shared"], &[]),
        numbers,
        step("left", &["of_right"], &["of_left"], &[]),
        step("right", &["of_left"], &["of_right"], &[]),
        place,
    ];
    let seed = KeyUse { name: "not a key".to_owned(), type_name: "text".to_owned() };
    assert_eq!(
        wrong(&steps, &[seed]),
        [
            "plan.duplicate_step: 2 steps are called twice; the name of a step is not that of its action, so give each its own",
            "plan.unknown_dependency: step lost comes after twize, and there is no such step; do you mean twice?",
            "plan.self_dependency: step itself waits for itself (explicit)",
            "plan.self_dependency: step own waits for itself (context:mine)",
            "plan.missing_producer: step hungry needs nothing, which no step produces; let one produce it, or seed it",
            "plan.type_mismatch: shared has several types: number in step numbers, text in step texts",
            "plan.cycle: steps wait for each other: left → right → left (context:of_left, context:of_right)",
            "plan.affinity_place: the affinity of step place has a place {nobody}, which is neither an argument nor a key that it requires",
            "plan.seed_name: \"not a key\" cannot be seeded: a key of the context is a letter or '_', then letters, digits or '_'",
        ]
    );
    let steps: Vec<PlanStep> =
        (0..=FLOW_STEPS_MAX).map(|n| step(&format!("s{n}"), &[], &[], &[])).collect();
    assert_eq!(compile("plan", &steps, &[]).unwrap_err()[0].code(), "plan.too_many_steps");
    let keys: Vec<String> = (0..=FLOW_EDGES_MAX).map(|n| format!("k{n}")).collect();
    let steps = [step("greedy", &texts(&keys), &[], &[])];
    assert_eq!(compile("plan", &steps, &[]).unwrap_err()[0].code(), "plan.too_many_links");
    assert_eq!(wrong(&[], &[]), ["flow.no_steps: a workflow needs at least one step"]);
}

#[test]
fn a_context_gives_what_was_put_and_says_what_is_missing() {
    const COUNT: ContextKey<i64> = ContextKey::new("count");
    const COUNT_AS_TEXT: ContextKey<String> = ContextKey::new("count");
    let mut context = Context::default();
    assert!(matches!(context.get(COUNT), Err(ContextError::Missing { key: "count" })));
    context.put(COUNT, &3).unwrap();
    assert_eq!(context.get(COUNT).unwrap(), 3);
    assert!(context.contains(COUNT_AS_TEXT));
    let error = context.get(COUNT_AS_TEXT).unwrap_err();
    assert_eq!(error.to_string(), "count in the context is no text");
    // What no store can keep is refused before a step has done its work.
    assert!(matches!(context.put(JOKE, &"\0".to_owned()), Err(ContextError::Refused { .. })));
    assert_eq!(context.into_put().keys().collect::<Vec<_>>(), ["count"]);
    assert_eq!(Vec::<String>::type_name(), "list of text");
}

fn texts(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

/// Steps `s0` to `s11`, each with keys out of a few and explicit dependencies.
fn any_steps() -> impl Strategy<Value = Vec<PlanStep>> {
    let keys = || proptest::collection::btree_set(0_usize..8, 0..3);
    let one = (keys(), keys(), proptest::collection::btree_set(0_usize..14, 0..2), 0_usize..30);
    proptest::collection::vec(one, 1..12).prop_map(|raw| {
        let each = raw.into_iter().enumerate().map(|(index, (requires, produces, after, twin))| {
            let named = |keys: BTreeSet<usize>| -> Vec<String> {
                keys.into_iter().map(|key| format!("k{key}")).collect()
            };
            let (requires, produces) = (named(requires), named(produces));
            let after: Vec<String> = after.into_iter().map(|step| format!("s{step}")).collect();
            // Now and then two steps have one name.
            let index = if twin == 0 { 0 } else { index };
            step(&format!("s{index}"), &texts(&requires), &texts(&produces), &texts(&after))
        });
        each.collect()
    })
}

/// By what one step comes after another one.
#[derive(Debug, Clone, Copy)]
enum By {
    Key,
    Word,
    Either,
}

impl By {
    fn is_key(self, nth: usize) -> bool {
        match self {
            Self::Key => true,
            Self::Word => false,
            Self::Either => nth.is_multiple_of(2),
        }
    }
}

/// A step that produces a key of its own and comes after others.
fn after_others(index: usize, others: &BTreeSet<usize>, by: By) -> PlanStep {
    let mut made = step(&format!("s{index}"), &[], &[], &[]);
    let mut draft = ActionMetadata::read_only("act").produces(key(&format!("k{index}")));
    for (nth, other) in others.iter().enumerate() {
        if by.is_key(nth) {
            draft = draft.requires(key(&format!("k{other}")));
        } else {
            made.after.insert(step_name(&format!("s{other}")));
        }
    }
    made.metadata = draft.build().unwrap();
    made
}

/// For each step, the earlier ones that it comes after.
fn sound_order() -> impl Strategy<Value = Vec<BTreeSet<usize>>> {
    let picks = proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..4), 1..30);
    picks.prop_map(|raw| {
        let each = raw.iter().enumerate().map(|(index, picks)| {
            let earlier = picks.iter().filter(|_| index > 0);
            earlier.map(|pick| usize::from(*pick) % index.max(1)).collect()
        });
        each.collect()
    })
}

proptest! {
    /// Whatever the steps are, their order changes neither the workflow nor what is said of it.
    #[test]
    fn the_order_of_steps_changes_nothing(
        (steps, shuffled) in any_steps().prop_flat_map(|steps| {
            (Just(steps.clone()), Just(steps).prop_shuffle())
        }),
        seeds in proptest::collection::btree_set(0_usize..8, 0..8),
    ) {
        let seeds: Vec<KeyUse> = seeds.iter().map(|seed| key(&format!("k{seed}"))).collect();
        let mut backward = seeds.clone();
        backward.reverse();
        let one = compile("plan", &steps, &seeds);
        let other = compile("plan", &shuffled, &backward);
        prop_assert_eq!(&one, &other);
        if let (Ok(one), Ok(other)) = (one, other) {
            prop_assert_eq!(one.digest(), other.digest());
        }
    }

    /// A sound plan is compiled, and whoever needs a key comes after who produces it.
    #[test]
    fn a_sound_plan_runs_producers_first(order in sound_order()) {
        let steps: Vec<PlanStep> = (order.iter().enumerate().rev())
            .map(|(index, others)| after_others(index, others, By::Either))
            .collect();
        let graph = compile("plan", &steps, &[]).unwrap();
        let forward: Vec<PlanStep> = steps.iter().rev().cloned().collect();
        prop_assert_eq!(&compile("plan", &forward, &[]).unwrap(), &graph);
        let flow = Flow::check(graph).unwrap();
        let order = flow.order();
        let place = |name: &StepName| order.iter().position(|known| *known == name).unwrap();
        for step in &steps {
            for need in &step.metadata.declared().requires {
                let from = step_name(&need.name.replace('k', "s"));
                prop_assert!(place(&from) < place(&step.name));
                let reason = Reason::Context(need.name.clone());
                let mut edges = flow.graph().edges.iter();
                let edge = edges.find(|edge| edge.from == from && edge.to == step.name);
                prop_assert!(edge.is_some_and(|edge| edge.reasons.contains(&reason)));
            }
            for from in &step.after {
                prop_assert!(place(from) < place(&step.name));
            }
        }
    }

    /// A circle planted into a sound plan is found, is one, and has no shortcut.
    #[test]
    fn a_planted_circle_is_reported_in_its_shortest_form(
        mut order in sound_order(),
        picks in proptest::collection::btree_set(0_usize..30, 2..7),
        by in prop_oneof![Just(By::Key), Just(By::Word)],
    ) {
        let picked: Vec<usize> = picks.into_iter().filter(|pick| *pick < order.len()).collect();
        prop_assume!(picked.len() >= 2);
        // Each waits for the one before, and the first for the last.
        for (at, step) in picked.iter().enumerate() {
            order[*step].insert(picked[(at + picked.len() - 1) % picked.len()]);
        }
        let steps: Vec<PlanStep> = (order.iter().enumerate())
            .map(|(index, others)| after_others(index, others, by))
            .collect();
        let diagnostics = compile("plan", &steps, &[]).unwrap_err();
        let [Diagnostic::Cycle { steps: cycle, .. }] = diagnostics.as_slice() else {
            panic!("{diagnostics:?}");
        };
        prop_assert!(cycle.len() <= picked.len());
        prop_assert_eq!(cycle.first(), cycle.iter().min());
        let number = |name: &StepName| name.as_str()[1..].parse::<usize>().unwrap();
        let is_way = |from: &StepName, to: &StepName| order[number(to)].contains(&number(from));
        for (at, from) in cycle.iter().enumerate() {
            for (other, to) in cycle.iter().enumerate() {
                let is_next = other == (at + 1) % cycle.len();
                prop_assert_eq!(is_way(from, to), is_next, "{} to {}", from, to);
            }
        }
    }
}
