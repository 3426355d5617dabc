//! What to do about each problem of a written workflow.

/// One sentence for each code.
pub(super) fn of(code: &str) -> &'static str {
    match code {
        "workflow.type" => "write it in the form that the message names",
        "workflow.unknown_field" => {
            "correct the name, or take it out; unknown names are refused so that a misspelt one is noticed"
        }
        "workflow.missing" => "add it",
        "workflow.version" => "write version: 1, or leave it out",
        "workflow.step_name" | "flow.name" => {
            "use letters, digits, '_' and '-', and begin with a letter"
        }
        "workflow.duplicate_step" => "give each step its own name",
        "workflow.target" => "keep the one that says what the step does",
        "workflow.handler" => {
            "write module.name; `actions handler list` shows those that are installed"
        }
        "workflow.action" => "write the name of one of your actions",
        "workflow.config" => "put what changes from call to call into the input",
        "workflow.misplaced" => "put it where it means something, or take it out",
        "workflow.event_pattern" => {
            "write a type such as users.created, or a pattern such as users.*"
        }
        "workflow.condition" => {
            "write CEL such as event.data.tier == 'premium', or operators as JSON"
        }
        "flow.expression" => {
            "write CEL over input, steps, context and item, such as steps.check.output.is_valid"
        }
        "flow.template" => "write places such as {{ steps.check.output.id }}, each closed by }}",
        "workflow.retry_policy" | "flow.retry" => "stay within the limits of GET /v1/limits",
        "workflow.on_failure" => "take one of the words that the message names",
        "workflow.priority" => "take one of the words that the message names",
        "workflow.strategy" => "take one of the words that the message names",
        "workflow.duration" => "write a number with its unit",
        "workflow.concurrency" => "write a number, or max with key and when_full",
        "workflow.approval" => "let fewer people approve, or ask twice",
        "workflow.missing_producer" => "let a step produce it, or name it in seeds",
        "workflow.ambiguous_producer" => "let the step come after the one that is meant",
        "flow.unknown_step" => "correct the name, or add the step",
        "flow.self_dependency" => "take it out; a step that is done again has until",
        "flow.cycle" => {
            "take one of these ways out; what goes round has until, or is a workflow of its own"
        }
        "flow.no_steps" => "add a step",
        "flow.too_many_steps" | "flow.too_many_edges" | "flow.too_large" => {
            "split it into workflows that start one another"
        }
        "flow.choice" => "name each way once, and the one without a condition last",
        "flow.gate" => "let more steps lead to it, or let it need fewer",
        "flow.misplaced" => "take it out, or say it of a step that performs something",
        "flow.guards" => "let one way lead from one step to the other",
        "flow.key" => "write parts from broad to narrow, such as order:{input.id}",
        _ => "stay within what the message allows",
    }
}
