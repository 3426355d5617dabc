//! Who may start by the limits of tenants, actions and subscriptions, and who waits for that.
//!
//! A gate knows this node's share of a limit and the starts that were drawn for it. When that is
//! not enough it asks for more; it also says that it is still there, so that the others get
//! what it does not need.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::after;
use super::entries::Slot;
use crate::Timestamp;
use crate::execution::Priority;
use crate::throttle::{Draw, Drawn, Limits, Scope, Share, ShareAsk};

/// How often shares are compared with those of other nodes.
const COMPARED_EVERY: Duration = Duration::from_secs(1);
/// How often a gate asks that has too little.
const HUNGRY_EVERY: Duration = Duration::from_millis(100);
/// How often a gate gives back what others wait for.
const GIVEN_BACK_EVERY: Duration = Duration::from_millis(20);
/// After this long without use, a share is given up.
const UNUSED_MAX: Duration = Duration::from_secs(10);
/// Starts that were drawn and not used for so long are forgotten, but not before the next one
/// comes: who waits for two rates needs a start of both at one time.
const STOCK_MAX: Duration = Duration::from_secs(2);

/// Where an item stands among those that wait for one action: urgent lanes first, then order of
/// arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    lane: std::cmp::Reverse<Priority>,
    serial: u64,
}

impl Turn {
    pub(super) fn new(lane: Priority, serial: u64) -> Self {
        Self { lane: std::cmp::Reverse(lane), serial }
    }
}

/// All gates. A scope without limits has one only while something runs there.
#[derive(Debug, Default)]
pub(super) struct Gates {
    /// Nothing more starts here: shares are only given back.
    is_draining: bool,
    gates: HashMap<Scope, Gate>,
    /// Gates to look at: something has changed there.
    touched: BTreeSet<Scope>,
    /// When to look at a gate even if nothing changes.
    agenda: BTreeSet<(Timestamp, Scope)>,
}

#[derive(Debug, Default)]
struct Gate {
    limits: Limits,
    /// Permits that are out.
    busy: u32,
    /// Items that were called from the line and have not had their turn yet. They hold nothing:
    /// until then a pause or a smaller share may send them back.
    called: u32,
    share: Holding,
    stock: Stock,
    parked: BTreeMap<Turn, Slot>,
    looked_at_again: Option<Timestamp>,
}

/// This node's share of a limit.
#[derive(Debug, Default)]
struct Holding {
    amount: u32,
    cap: u32,
    /// What the others believe that this node could use.
    told: u32,
    /// The limit that a question under way was asked about, zero for none.
    asked: Option<u32>,
    answered_at: Option<Timestamp>,
    used_at: Option<Timestamp>,
}

/// Starts that were drawn and not used yet.
#[derive(Debug, Default)]
struct Stock {
    count: u32,
    drawn_at: Option<Timestamp>,
    is_asked: bool,
    more_at: Option<Timestamp>,
}

/// What keeps an item from starting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bar {
    Paused,
    Concurrency { max: u32 },
    Rate,
}

impl Gates {
    /// Changes limits and answers who is called by that.
    pub(super) fn set(&mut self, scope: Scope, limits: Limits) -> Vec<Slot> {
        let gate = self.gates.entry(scope).or_default();
        let former = std::mem::replace(&mut gate.limits, limits);
        if limits.concurrency.is_some_and(|max| former.concurrency.is_none_or(|known| max < known))
        {
            // Others may have heard of it too, and have starts of their own.
            gate.share.cap = gate.share.cap.min(gate.busy);
            gate.share.answered_at = None;
        }
        if limits.rate != former.rate {
            gate.stock.count = gate.stock.count.min(limits.rate.burst());
            gate.stock.more_at = None;
        }
        if !limits.rate.is_limited() {
            gate.stock = Stock { is_asked: gate.stock.is_asked, ..Stock::default() };
        }
        self.call(scope)
    }

    /// Takes in this node's share, and answers who is called by that.
    pub(super) fn receive_share(&mut self, share: Share, now: Timestamp) -> Vec<Slot> {
        let Some(gate) = self.gates.get_mut(&share.scope) else { return Vec::new() };
        let asked = gate.share.asked.take();
        // An answer about another limit gives no new starts, and is asked for again at once.
        let is_current = asked.is_none_or(|max| max == gate.limits.concurrency.unwrap_or(0));
        gate.share.answered_at = is_current.then_some(now);
        gate.share.amount = share.amount;
        let most = if self.is_draining || !is_current { gate.busy } else { u32::MAX };
        gate.share.cap = share.cap.min(gate.limits.concurrency.unwrap_or(u32::MAX)).min(most);
        self.call(share.scope)
    }

    /// Takes in what was drawn, and answers who is called by that.
    pub(super) fn receive_drawn(&mut self, drawn: Drawn, now: Timestamp) -> Vec<Slot> {
        let Some(gate) = self.gates.get_mut(&drawn.scope) else { return Vec::new() };
        gate.stock.is_asked = false;
        gate.stock.more_at = Some(after(now, drawn.again_in));
        if gate.limits.rate.is_limited() {
            gate.stock.count = gate.stock.count.saturating_add(drawn.count);
            gate.stock.drawn_at = Some(now);
        }
        self.call(drawn.scope)
    }

    /// Nothing more starts on this node: what it holds of limits is for the others.
    pub(super) fn drain(&mut self) {
        self.is_draining = true;
        for (scope, gate) in &mut self.gates {
            gate.share.cap = gate.share.cap.min(gate.busy);
            if gate.is_limited() {
                self.touched.insert(*scope);
            }
        }
    }

    /// What keeps the next item of a scope from starting.
    pub(super) fn bar(&self, scope: Scope) -> Option<Bar> {
        self.gates.get(&scope).and_then(Gate::bar)
    }

    /// Takes a permit. The gate has to be open.
    pub(super) fn take(&mut self, scope: Scope) {
        self.gates.entry(scope).or_default().take();
        self.touch(scope);
    }

    /// Whether the only attempt of the whole node may start. Nothing else runs, so only a share of
    /// nothing stops it.
    pub(super) fn is_open_alone(&self, scope: Scope) -> bool {
        let Some(gate) = self.gates.get(&scope) else { return true };
        match gate.bar() {
            None => true,
            Some(Bar::Concurrency { .. }) => gate.share.cap > 0 && gate.has_starts(),
            Some(Bar::Paused | Bar::Rate) => false,
        }
    }

    pub(super) fn park(&mut self, scope: Scope, turn: Turn, slot: Slot) {
        self.gates.entry(scope).or_default().parked.insert(turn, slot);
        self.touch(scope);
    }

    pub(super) fn unpark(&mut self, scope: Scope, turn: Turn) {
        if let Some(gate) = self.gates.get_mut(&scope) {
            gate.parked.remove(&turn);
        }
    }

    /// Somebody who was called has had its turn, or will have none.
    pub(super) fn answer_call(&mut self, scope: Scope) {
        if let Some(gate) = self.gates.get_mut(&scope) {
            gate.called = gate.called.saturating_sub(1);
        }
    }

    /// Gives a permit back and answers who is called by that.
    pub(super) fn leave(&mut self, scope: Scope) -> Vec<Slot> {
        if let Some(gate) = self.gates.get_mut(&scope) {
            gate.busy = gate.busy.saturating_sub(1);
            if self.is_draining {
                gate.share.cap = gate.share.cap.min(gate.busy);
            }
        }
        self.call(scope)
    }

    /// Looks at a gate with the next [`Gates::asks`].
    pub(super) fn touch(&mut self, scope: Scope) {
        if self.gates.get(&scope).is_some_and(Gate::is_limited) {
            self.touched.insert(scope);
        }
    }

    /// Calls from the line as many as may start.
    pub(super) fn call(&mut self, scope: Scope) -> Vec<Slot> {
        let Some(gate) = self.gates.get_mut(&scope) else { return Vec::new() };
        let mut called = Vec::new();
        while gate.called < gate.room()
            && let Some((_, slot)) = gate.parked.pop_first()
        {
            gate.called += 1;
            called.push(slot);
        }
        if gate.is_limited() {
            self.touched.insert(scope);
        } else if gate.busy == 0 && gate.called == 0 {
            self.gates.remove(&scope);
        }
        called
    }

    /// What this node needs of its limits, where it has not asked yet. `waiting` tells what
    /// stands in a scope's line outside of its gate.
    pub(super) fn asks(
        &mut self,
        now: Timestamp,
        waiting: impl Fn(Scope) -> usize,
    ) -> (Vec<ShareAsk>, Vec<Draw>) {
        while let Some((at, scope)) = self.agenda.first().copied()
            && at <= now
        {
            self.agenda.pop_first();
            self.touched.insert(scope);
        }
        let (mut asks, mut draws) = (Vec::new(), Vec::new());
        while let Some(scope) = self.touched.pop_first() {
            let Some(gate) = self.gates.get_mut(&scope) else { continue };
            let waiting = if self.is_draining { 0 } else { gate.parked.len() + waiting(scope) };
            let waiting = u32::try_from(waiting).unwrap_or(u32::MAX).saturating_add(gate.called);
            gate.forget_stock(now);
            asks.extend(gate.ask(scope, waiting, self.is_draining, now));
            draws.extend(gate.draw(scope, waiting, now));
            let again = gate.look_again(waiting);
            if gate.looked_at_again != again {
                let former = std::mem::replace(&mut gate.looked_at_again, again);
                former.map(|at| self.agenda.remove(&(at, scope)));
            }
            self.agenda.extend(again.map(|at| (at, scope)));
            if !gate.is_limited() && gate.busy == 0 && gate.called == 0 {
                self.gates.remove(&scope);
            }
        }
        (asks, draws)
    }

    /// When to come back at the latest.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        self.agenda.first().map(|(at, _)| *at)
    }
}

impl Gate {
    /// Whether anybody has to be asked about it.
    fn is_limited(&self) -> bool {
        let is_known = self.share.amount > 0 || self.share.told > 0 || self.share.asked.is_some();
        is_known || self.limits != Limits::default()
    }

    fn bar(&self) -> Option<Bar> {
        if self.limits.is_paused {
            return Some(Bar::Paused);
        }
        if let Some(max) = self.limits.concurrency
            && self.busy >= self.share.cap
        {
            return Some(Bar::Concurrency { max });
        }
        (!self.has_starts()).then_some(Bar::Rate)
    }

    /// How many may start now.
    fn room(&self) -> u32 {
        if self.limits.is_paused {
            return 0;
        }
        let places = self.places();
        if self.limits.rate.is_limited() { places.min(self.stock.count) } else { places }
    }

    fn places(&self) -> u32 {
        match self.limits.concurrency {
            Some(_) => self.share.cap.saturating_sub(self.busy),
            None => u32::MAX,
        }
    }

    fn forget_stock(&mut self, now: Timestamp) {
        if self.stock_ends_at().is_some_and(|at| at <= now) {
            self.stock.count = 0;
        }
    }

    fn stock_ends_at(&self) -> Option<Timestamp> {
        let drawn_at = self.stock.drawn_at.filter(|_| self.stock.count > 0)?;
        Some(after(drawn_at, STOCK_MAX.max(self.limits.rate.period())))
    }

    fn has_starts(&self) -> bool {
        !self.limits.rate.is_limited() || self.stock.count > 0
    }

    fn take(&mut self) {
        self.busy += 1;
        self.stock.count = self.stock.count.saturating_sub(1);
    }

    /// What cannot be given up: it runs, or may start at any moment.
    fn keep(&self) -> u32 {
        self.busy.max(self.share.cap)
    }

    fn is_hungry(&self, waiting: u32) -> bool {
        let max = self.limits.concurrency.unwrap_or(0);
        waiting > 0 && !self.limits.is_paused && self.busy >= self.share.cap && self.share.cap < max
    }

    fn ask(
        &mut self,
        scope: Scope,
        waiting: u32,
        is_draining: bool,
        now: Timestamp,
    ) -> Option<ShareAsk> {
        if self.busy > 0 || waiting > 0 {
            self.share.used_at = Some(now);
        }
        if self.share_due(waiting).is_none_or(|at| at > now) {
            return None;
        }
        let Some(max) = self.limits.concurrency else {
            // There is no limit any more: nobody needs a share of it.
            self.share = Holding { asked: Some(0), ..Holding::default() };
            return Some(ShareAsk { scope, max: 0, keep: 0, want: 0, hold: 0 });
        };
        let is_unused = self.busy == 0
            && waiting == 0
            && self.share.used_at.is_none_or(|at| after(at, UNUSED_MAX) <= now);
        if is_unused {
            self.share.cap = 0;
        }
        let waiting = if self.limits.is_paused { 0 } else { waiting };
        self.share.asked = Some(max);
        self.share.told = self.busy.saturating_add(waiting).min(max);
        Some(ShareAsk {
            scope,
            max,
            keep: self.keep(),
            want: self.share.told,
            hold: if is_unused || is_draining { 0 } else { self.share.amount },
        })
    }

    /// When the share is to be asked about, if it is.
    fn share_due(&self, waiting: u32) -> Option<Timestamp> {
        let is_over = self.share.amount == 0 && self.share.told == 0;
        if self.share.asked.is_some() || (self.limits.concurrency.is_none() && is_over) {
            return None;
        }
        let pause = if self.share.cap < self.share.amount && self.busy < self.share.amount {
            GIVEN_BACK_EVERY
        } else if self.is_hungry(waiting) {
            HUNGRY_EVERY
        } else if self.share.amount > 0 || self.share.told > 0 {
            COMPARED_EVERY
        } else {
            return None;
        };
        Some(self.share.answered_at.map_or(Timestamp::MIN_UTC, |at| after(at, pause)))
    }

    fn draw(&mut self, scope: Scope, waiting: u32, now: Timestamp) -> Option<Draw> {
        if self.draw_due(waiting).is_none_or(|at| at > now) {
            return None;
        }
        self.stock.is_asked = true;
        let rate = self.limits.rate;
        Some(Draw { scope, rate, want: waiting.min(rate.burst()).min(self.places()) })
    }

    fn draw_due(&self, waiting: u32) -> Option<Timestamp> {
        let is_short = waiting > 0 && !self.stock.is_asked && self.bar() == Some(Bar::Rate);
        is_short.then(|| self.stock.more_at.unwrap_or(Timestamp::MIN_UTC))
    }

    fn look_again(&self, waiting: u32) -> Option<Timestamp> {
        let stock = self.stock_ends_at();
        self.share_due(waiting).into_iter().chain(self.draw_due(waiting)).chain(stock).min()
    }
}
