//! The writer of a simulated node: one batch at a time, which may be late, fenced, or unanswered.

use std::collections::BTreeMap;
use std::time::Duration;

use actions_domain::dispatch::{Input, Token};
use actions_domain::execution::Status;
use actions_domain::id::NodeId;
use actions_domain::ports::store::StoreError;
use actions_domain::work::{Commit, Fence, Finish, Item, Later};

use super::faults::Planted;
use super::node::Word;
use super::world::World;

#[derive(Debug, Clone)]
pub(super) enum Write {
    Mark { fence: Fence, items: Vec<(Token, Item)> },
    Finish(Box<Finish>),
    Retry { fence: Fence, later: Box<Later> },
}

/// Why a session ends with a commit.
#[derive(Debug, Clone, Copy)]
pub(super) enum Failure {
    Fenced,
    Unknown,
}

impl World {
    pub(super) fn queue(&mut self, node: usize, write: Write) {
        if let Some(live) = &mut self.nodes[node].live {
            live.writes.push_back(write);
        }
        self.send_writes(node);
    }

    /// One batch at a time, with whatever has gathered meanwhile.
    fn send_writes(&mut self, node: usize) {
        let most = 1 + self.dice.index(12);
        let pause = self.latency();
        let Some(live) = &mut self.nodes[node].live else { return };
        if live.is_writing || live.writes.is_empty() {
            return;
        }
        live.is_writing = true;
        let writes = live.writes.drain(..most.min(live.writes.len())).collect();
        let by = live.id;
        self.tell(node, pause, Word::Write { by, writes });
    }

    /// A batch has reached the store.
    pub(super) fn write(&mut self, node: usize, session: u64, by: NodeId, writes: Vec<Write>) {
        let is_current = self.nodes[node].session == session;
        if self.is_down() {
            if is_current {
                self.tell(node, Duration::from_millis(120), Word::Write { by, writes });
            }
            return;
        }
        let is_unknown = self.is_troubled() && self.dice.chance(1);
        let is_written = !is_unknown || self.dice.chance(50);
        let mut commit = commit_of(by, &writes);
        if self.planted == Planted::SkipsWhatStarted {
            let claims = &self.ledger.claims;
            let ends = commit.finishes.iter_mut();
            ends.filter(|end| claims.superseded_at(end.item.work.id).is_some())
                .for_each(|end| end.status = Status::Skipped);
        }
        let outcome = if is_written { self.commit(&commit) } else { Ok(<_>::default()) };
        let outcome = match outcome {
            Err(StoreError::Fenced { .. }) => {
                self.ledger.met.fenced += 1;
                Err(Failure::Fenced)
            }
            Err(error) => panic!("a commit that cannot be: {error}"),
            Ok(_) if is_unknown => {
                self.ledger.met.unknown_commits += 1;
                Err(Failure::Unknown)
            }
            Ok(_) => Ok(writes),
        };
        if is_current {
            let pause = self.latency();
            self.tell(node, pause, Word::Written(outcome));
        }
    }

    pub(super) fn written(&mut self, node: usize, outcome: Result<Vec<Write>, Failure>) {
        let Ok(writes) = outcome else {
            return self.end_session(node);
        };
        if let Some(live) = &mut self.nodes[node].live {
            live.is_writing = false;
        }
        let mut committed = Vec::new();
        for write in writes {
            match write {
                Write::Mark { items, .. } => {
                    let tokens = items.iter().map(|(token, _)| *token).collect();
                    self.step(node, Input::Marked(tokens));
                }
                Write::Finish(finish) => committed.push(finish.item.work.id),
                Write::Retry { later, .. } => committed.push(later.item.work.id),
            }
        }
        self.step(node, Input::Committed(committed));
        self.send_writes(node);
    }
}

fn commit_of(node: NodeId, writes: &[Write]) -> Commit {
    let mut commit = Commit { node: Some(node), ..Commit::default() };
    let mut fences = BTreeMap::new();
    for write in writes {
        let fence = match write {
            Write::Mark { fence, items } => {
                commit.marks.extend(items.iter().map(|(_, item)| item.clone()));
                *fence
            }
            Write::Finish(finish) => {
                commit.finishes.push((**finish).clone());
                Fence { part: finish.item.part, epoch: finish.epoch }
            }
            Write::Retry { fence, later } => {
                commit.retries.push((**later).clone());
                *fence
            }
        };
        fences.insert(fence, ());
    }
    commit.fences = fences.into_keys().collect();
    commit
}
