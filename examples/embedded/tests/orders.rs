//! The shop as its customers see it.

// Tells lints that helpers are tests too.
#![cfg(test)]

use std::path::PathBuf;
use std::process::Command;

use actions::Event;
use actions_domain::execution::Status;
use actions_domain::ports::history::ExecutionQuery;
use embedded::{Order, Shop};

/// A file of its own for each test, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("embedded-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.join("shop.db")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_leads_to_a_receipt() {
    let scratch = Scratch::new("receipt");
    let shop = Shop::open(&scratch.file()).await.unwrap();
    let answer = shop.place("ada@example.com", 42.0).await.unwrap();
    assert!(answer.contains("\"sent_to\":\"ada@example.com\""), "{answer}");
    shop.actions.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_rolled_back_never_happened() {
    let scratch = Scratch::new("rollback");
    let shop = Shop::open(&scratch.file()).await.unwrap();
    let mut tx = shop.pool.begin().await.unwrap();
    let order = Order { id: 1, email: "ada@example.com".to_owned(), total: 1.0 };
    let event = Event::new("orders.placed", &order);
    let id = shop.actions.emit_in(&mut tx, event).await.unwrap();
    tx.rollback().await.unwrap();

    // Whatever comes afterwards is done, so the rolled back event would have been too.
    shop.place("bob@example.com", 2.0).await.unwrap();
    shop.actions.run_until_idle().await.unwrap();
    let tenant = shop.actions.tenant().id;
    let found = shop.actions.app().ports.history.find_event(tenant, id).await.unwrap();
    assert_eq!(found, None);
    shop.actions.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_waits_for_its_service() {
    let scratch = Scratch::new("restart");
    let shop = Shop::open(&scratch.file()).await.unwrap();
    shop.actions.stop().await.unwrap();
    // The engine is gone; the database is not.
    let reopened = actions::Actions::builder().sqlite(scratch.file()).build().await.unwrap();
    let order = Order { id: 7, email: "eve@example.com".to_owned(), total: 3.0 };
    let sent = reopened.emit("orders.placed", &order).await.unwrap();
    assert_eq!(sent.executions.len(), 1, "the action of the last run is still there");
    // This process has no such function, and says so instead of pretending.
    let executions = reopened.wait(&sent).await.unwrap();
    assert_eq!(executions[0].error.as_ref().unwrap().code, "function.unknown");
    reopened.stop().await.unwrap();
}

/// Runs a program of this package in a folder of its own, and answers what it prints.
fn run(program: &str, scratch: &Scratch) -> String {
    let ended = Command::new(program).current_dir(&scratch.0).output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    String::from_utf8(ended.stdout).unwrap()
}

#[test]
fn the_program_places_an_order_and_shows_what_came_of_it() {
    let scratch = Scratch::new("program");
    for _ in 0..2 {
        let said = run(env!("CARGO_BIN_EXE_embedded"), &scratch);
        assert!(said.contains("\"sent_to\":\"ada@example.com\""), "{said}");
    }
    assert!(scratch.file().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shortest_program_welcomes_its_user() {
    let scratch = Scratch::new("hello");
    run(env!("CARGO_BIN_EXE_hello"), &scratch);
    let file = scratch.0.join("app.db");
    let actions = actions::Actions::builder().sqlite(file).build().await.unwrap();
    let query = ExecutionQuery {
        tenant: actions.tenant().id,
        action: None,
        statuses: vec![Status::Completed],
        before: None,
        limit: 10,
    };
    let found = actions.app().ports.history.list_executions(query).await.unwrap();
    assert_eq!(found.len(), 1);
    actions.stop().await.unwrap();
}
