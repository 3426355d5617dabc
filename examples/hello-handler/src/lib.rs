//! A handler of your own in one file. It needs `actions-domain`, and none of the engine.

use actions_domain::action::ActionType;
use actions_domain::execution::{Fault, Outcome, Output};
use actions_domain::ports::handler::{Call, Delivery, Descriptor, Handler};
use async_trait::async_trait;
use serde_json::json;

/// Greets whoever an event names.
pub struct Hello {
    descriptor: Descriptor,
}

impl Hello {
    /// Makes the handler `hello.greet`.
    #[expect(clippy::new_without_default, reason = "an example shows one way")]
    pub fn new() -> Self {
        Self {
            descriptor: Descriptor {
                id: "hello.greet",
                aliases: &[],
                version: env!("CARGO_PKG_VERSION"),
                title: "Greet somebody",
                handler_type: "native",
                capabilities: &["async"],
                action_types: &[ActionType::Custom],
                delivery: Delivery::OnceRecorded,
                config_schema: json!({
                    "type": "object",
                    "required": ["greeting"],
                    "additionalProperties": false,
                    "properties": { "greeting": { "type": "string", "minLength": 1 } },
                }),
                input_schema: json!({
                    "type": "object",
                    "required": ["name"],
                    "properties": { "name": { "type": "string" } },
                }),
                output_schema: json!({
                    "type": "object",
                    "properties": { "text": { "type": "string" } },
                }),
            },
        }
    }
}

#[async_trait]
impl Handler for Hello {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    async fn execute(&self, call: &Call) -> Outcome {
        let greeting = call.config["greeting"].as_str().unwrap_or("Hello");
        // Whether to try again is decided where the knowledge is: here.
        match call.input["name"].as_str() {
            Some("Godot") => {
                Outcome::Retry(Fault::handler("hello.absent", "Godot has not come yet"))
            }
            Some(name) => {
                Outcome::Done(Output::new(json!({ "text": format!("{greeting}, {name}!") })))
            }
            None => Outcome::Reject(Fault::handler("hello.nameless", "the event names nobody")),
        }
    }
}
