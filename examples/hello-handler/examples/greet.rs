//! The handler inside an engine, in memory: one event, and what became of it.

use std::io::Write;

use actions::{Actions, library::Error};
use hello_handler::Hello;
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let actions = Actions::builder().memory().handler(Hello::new()).build().await?;
    let spec = json!({
        "name": "greet",
        "action_type": "custom",
        "handler": "hello.greet",
        "config": { "greeting": "Welcome" },
        "event_patterns": ["users.created"],
    });
    actions.define(serde_json::from_value(spec)?).await?;
    let sent = actions.emit("users.created", &json!({ "name": "Ada" })).await?;
    for execution in actions.wait(&sent).await? {
        let output = execution.output.map(|output| output.to_value()["text"].clone());
        let (status, text) = (execution.status.word(), output.unwrap_or_default());
        writeln!(std::io::stdout(), "{status}: {text}")?;
    }
    actions.stop().await?;
    Ok(())
}
