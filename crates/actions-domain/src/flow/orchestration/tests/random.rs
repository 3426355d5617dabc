//! Any code, with answers in any order: followed again, it does the same.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::primitives::{code, fault};
use crate::Timestamp;
use crate::execution::Fault;
use crate::flow::decide::{CallResult, Command, Input, Turn};
use crate::flow::journal::{CallId, Entry};
use crate::flow::orchestration::recorded::Recorded;
use crate::flow::orchestration::replayer::Replayer;
use crate::flow::orchestration::{
    Activity, Context, Orchestration, Orchestrations, Past, all, decide, race, replay,
};
use crate::flow::run::Run;
use crate::json::Json;
use crate::retry::Jitter;

/// A piece of code.
#[derive(Debug, Clone)]
enum Piece {
    Call {
        name: u8,
        undo: bool,
    },
    Child,
    Sleep(u8),
    Signal {
        name: u8,
        within: Option<u8>,
    },
    Record,
    Status(u8),
    Id,
    Patch(u8),
    /// One after the other. A fault ends it when the flag says so.
    InOrder(Vec<Piece>, bool),
    All(Vec<Piece>),
    Race(Vec<Piece>),
}

fn any_piece() -> impl Strategy<Value = Piece> {
    let leaf = prop_oneof![
        4 => (0..3_u8, any::<bool>()).prop_map(|(name, undo)| Piece::Call { name, undo }),
        1 => Just(Piece::Child),
        2 => (0..5_u8).prop_map(Piece::Sleep),
        2 => (0..2_u8, prop::option::of(1..5_u8))
            .prop_map(|(name, within)| Piece::Signal { name, within }),
        1 => Just(Piece::Record),
        1 => (0..3_u8).prop_map(Piece::Status),
        1 => Just(Piece::Id),
        1 => (0..2_u8).prop_map(Piece::Patch),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            3 => (prop::collection::vec(inner.clone(), 1..5), any::<bool>())
                .prop_map(|(pieces, strict)| Piece::InOrder(pieces, strict)),
            2 => prop::collection::vec(inner.clone(), 1..5).prop_map(Piece::All),
            1 => prop::collection::vec(inner, 1..4).prop_map(Piece::Race),
        ]
    })
}

type Done = Pin<Box<dyn Future<Output = Result<Value, Fault>> + Send>>;

fn perform(run: Context, piece: Arc<Piece>) -> Done {
    Box::pin(async move {
        let parts = |pieces: &[Piece]| {
            let each = pieces.iter().map(|piece| perform(run.clone(), Arc::new(piece.clone())));
            each.collect::<Vec<_>>()
        };
        match piece.as_ref() {
            Piece::Call { name, undo } => {
                let activity = Activity::<Value, Value>::named(format!("act{name}"));
                let call = run.call(&activity, &json!(name));
                if *undo { call.undo("undo").await } else { call.await }
            }
            Piece::Child => run.child("other", &json!(1)).await,
            Piece::Sleep(seconds) => {
                run.sleep(Duration::from_secs((*seconds).into())).await;
                Ok(json!(run.now().timestamp()))
            }
            Piece::Signal { name, within } => {
                let wait = run.signal(&format!("signal{name}"));
                match within {
                    Some(seconds) => wait.within(Duration::from_secs((*seconds).into())).await,
                    None => wait.await,
                }
            }
            Piece::Record => run.record("time", || json!(run.now().timestamp())).await,
            Piece::Status(status) => run.set_status(status).map(|()| json!(status)),
            Piece::Id => Ok(json!(run.new_id())),
            Piece::Patch(patch) => Ok(json!(run.patched(&format!("patch{patch}")))),
            Piece::InOrder(pieces, is_strict) => {
                let mut outputs = Vec::new();
                for part in parts(pieces) {
                    match part.await {
                        Ok(output) => outputs.push(output),
                        Err(fault) if *is_strict => return Err(fault),
                        Err(fault) => outputs.push(json!(fault.code)),
                    }
                }
                Ok(json!(outputs.len()))
            }
            Piece::All(pieces) => {
                let outputs = all(parts(pieces)).await;
                Ok(json!(outputs.iter().filter(|output| output.is_ok()).count()))
            }
            Piece::Race(pieces) => {
                let (place, _) = race(parts(pieces)).await;
                Ok(json!(place))
            }
        }
    })
}

fn orchestration(piece: Piece) -> Orchestration {
    let piece = Arc::new(piece);
    code(move |run, _| perform(run, Arc::clone(&piece)))
}

/// The same numbers for the same seed (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(end).unwrap()).unwrap()
    }
}

/// Everything around a run, which answers in any order.
struct World {
    code: Orchestration,
    /// Code that is never loaded again.
    warm: Replayer,
    entries: Vec<Entry>,
    run: Run,
    now: Timestamp,
    open: Vec<CallId>,
    timers: Vec<CallId>,
    is_over: bool,
    /// Answers of which one is a failure and one is that somebody cancelled it.
    luck: usize,
}

const RUN: uuid::Uuid = uuid::Uuid::from_u128(5);

impl World {
    fn new(code: Orchestration, luck: usize) -> Self {
        let warm = Replayer::load(&code, Past { run: RUN, entries: &[] });
        Self {
            code,
            warm,
            entries: Vec::new(),
            run: Run::default(),
            now: Timestamp::UNIX_EPOCH,
            open: Vec::new(),
            timers: Vec::new(),
            is_over: false,
            luck,
        }
    }

    fn tell(&mut self, input: Input) {
        let past = Past { run: RUN, entries: &self.entries };
        let cold = decide(&self.code, past, input.clone(), self.now);
        let warm = self.warm.take(input, self.now);
        assert_eq!(cold, warm, "after {:#?}", self.entries);
        let Ok(Turn { entries, commands }) = cold else { return };
        for entry in entries {
            self.run.evolve(&entry);
            self.entries.push(entry);
        }
        for command in commands {
            match command {
                Command::Start(start) => self.open.push(start.call),
                Command::StartChild { call, .. } => self.open.push(call),
                // The answer may come before, after, or as if nobody had asked.
                Command::Cancel { .. } | Command::DeadLetter { .. } => {}
                Command::SetTimer { call, .. } => self.timers.push(call),
                Command::ClearTimer { call } => self.timers.retain(|timer| *timer != call),
                Command::Continue { .. } | Command::End => self.is_over = true,
            }
        }
    }

    /// Lets any one thing happen. Answers whether there was any.
    fn step(&mut self, numbers: &mut Numbers) {
        self.now += chrono::TimeDelta::seconds(1);
        let choice = numbers.below(10);
        if choice == 0 {
            let name = format!("signal{}", numbers.below(2));
            let payload = Json::parse("7").unwrap();
            return self.tell(Input::Signal { name, id: None, payload });
        }
        if choice == 1 && numbers.below(3) == 0 {
            self.tell(Input::Pause { reason: None });
            return self.tell(Input::Resume);
        }
        if choice == 2 && numbers.below(20) == 0 {
            return self.tell(Input::Cancel { reason: None, compensate: true });
        }
        if choice < 5 && !self.timers.is_empty() {
            let call = self.timers.swap_remove(numbers.below(self.timers.len()));
            return self.tell(Input::TimerFired { call });
        }
        if !self.open.is_empty() {
            let call = self.open.swap_remove(numbers.below(self.open.len()));
            let result = match numbers.below(self.luck) {
                0 => CallResult::Failed {
                    fault: fault("it answered 500"),
                    may_retry: true,
                    jitter: Jitter::ZERO,
                },
                1 => CallResult::Cancelled,
                _ => {
                    CallResult::Completed { output: Json::parse("1").unwrap(), context: [].into() }
                }
            };
            self.tell(Input::Ended { call, result });
        }
    }

    fn live(&mut self, numbers: &mut Numbers) {
        let input = Json::null();
        self.tell(Input::Start { input, context: [].into(), depth: 0 });
        for _ in 0..2_000 {
            if self.is_over {
                return;
            }
            self.step(numbers);
        }
        panic!("the run does not end: {:#?}", self.entries);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn code_that_is_followed_again_does_the_same(piece in any_piece(), seed in any::<u64>()) {
        let mut world = World::new(orchestration(piece), 6);
        world.live(&mut Numbers(seed));
        prop_assert!(world.run.phase().is_final());
        prop_assert_eq!(Run::replay(&world.entries), world.run);
        let past = Past { run: RUN, entries: &world.entries };
        prop_assert!(replay(&world.code, past).is_ok());
    }
}

/// Twelve steps, a signal, a timer, side effects, and an end that undoes everything in some.
async fn saga(run: Context, order: Value) -> Result<Value, Fault> {
    let act = |name: &str| Activity::<Value, Value>::named(name.to_owned());
    let id = run.record("number", || 4).await?;
    let hold = run.call(&act("reserve"), &order).undo("release").await?;
    run.call(&act("charge"), &json!([hold, id])).undo("refund").await?;
    let _: Result<Value, _> = run.signal("signal0").within(Duration::from_secs(60)).await;
    let parts = (0..6).map(|part| act(&format!("pack{part}")));
    let parts: Vec<_> = parts.collect();
    let packed = all(parts.iter().map(|part| run.call(part, &order).undo("unpack"))).await;
    packed.into_iter().collect::<Result<Vec<_>, _>>()?;
    run.sleep(Duration::from_secs(30)).await;
    let ship = [run.call(&act("courier.a"), &order), run.call(&act("courier.b"), &order)];
    let (place, shipped) = race(ship).await;
    run.child::<Value>("invoice", &json!(place)).await?;
    shipped
}

#[test]
fn a_thousand_recorded_histories_are_followed_without_a_mismatch() {
    let code = code(saga);
    let mut known = Orchestrations::default();
    known.register(code.clone()).unwrap();
    let mut completed = 0;
    for seed in 0..1_000 {
        let mut world = World::new(code.clone(), 40);
        world.live(&mut Numbers(seed));
        let recorded = Recorded { run: RUN, entries: world.entries }.to_text();
        let run = Recorded::parse(&recorded).unwrap().replay(&known);
        let run = run.unwrap_or_else(|error| panic!("{error}\n{recorded}"));
        completed += u32::from(run.phase().word() == "completed");
    }
    assert!((50..950).contains(&completed), "some complete and some do not: {completed}");
}

#[test]
fn recorded_histories_tell_where_the_code_was_changed() {
    let changed = code(|run, order: Value| async move {
        let act = Activity::<Value, Value>::named("reserve".to_owned());
        run.record("number", || 4).await?;
        run.call(&act, &order).await?;
        let other = Activity::<Value, Value>::named("insure".to_owned());
        run.call(&other, &order).await
    });
    let mut found = 0;
    for seed in 0..100 {
        let mut world = World::new(code(saga), 40);
        world.live(&mut Numbers(seed));
        let past = Past { run: RUN, entries: &world.entries };
        if let Err(trouble) = replay(&changed, past) {
            let text = trouble.to_string();
            assert!(text.contains("calls charge") || text.contains("fails"), "{text}");
            found += 1;
        }
    }
    assert!(found > 50, "{found}");
}
