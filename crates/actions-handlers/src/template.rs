//! Texts with places for an event's data.
//!
//! Templates are written by tenants, so they are data, not programs: no loader, no macros, no
//! assignments, a short list of filters, fuel, and a cap on what they write. A missing variable
//! is an error, because a mail to "Dear ," helps nobody.

use std::io;

use minijinja::value::{Serde, Value as Dynamic};
use minijinja::{AutoEscape, Environment, ErrorKind, Output, State, UndefinedBehavior, filters};
use serde_json::{Map, Value, json};

use actions_domain::execution::Outcome;
use actions_domain::ports::handler::Call;

use crate::config::reject;

/// Instructions of one rendering.
const FUEL: u64 = 20_000;
/// What one rendering may write.
const OUTPUT_BYTES_MAX: usize = 256 * 1024;
/// A template's source.
const SOURCE_BYTES_MAX: usize = 64 * 1024;
/// Statements that can be written. Assignments could double a text until memory is full.
const STATEMENTS: [&str; 8] = ["if", "elif", "else", "endif", "for", "endfor", "raw", "endraw"];

/// How values are written into the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Escape {
    Plain,
    Html,
    /// `&`, `<` and `>`: without this a value could ping a whole channel.
    Slack,
}

/// Finds out whether a template can be compiled.
///
/// # Errors
/// Where and why not, as a sentence.
pub(crate) fn check(source: &str) -> Result<(), String> {
    check_statements(source)?;
    let env = environment(Escape::Plain);
    env.template_from_str(source).map(|_| ()).map_err(|error| sentence(&error))
}

/// Renders a template.
///
/// # Errors
/// The outcome to answer with: the same template and data would fail again.
pub(crate) fn render(source: &str, context: &Value, escape: Escape) -> Result<String, Outcome> {
    check_statements(source).map_err(|message| reject("template.invalid", message))?;
    let env = environment(escape);
    let template = env
        .template_from_str(source)
        .map_err(|error| reject("template.invalid", sentence(&error)))?;
    let mut written = Capped(Vec::new());
    let context = Dynamic::from(Serde(context));
    template.render_captured_to(context, &mut written).map_err(|error| {
        let code = if error.kind() == ErrorKind::UndefinedError {
            "template.undefined"
        } else {
            "template.failed"
        };
        reject(code, sentence(&error))
    })?;
    String::from_utf8(written.0).map_err(|error| reject("template.failed", error.to_string()))
}

/// What a template of a definition sees: `event`, `data`, `tenant`, `execution`, `action`.
pub(crate) fn context(call: &Call) -> Map<String, Value> {
    let event = call.event.as_ref().map(|event| {
        let attributes = &event.attributes;
        json!({
            "id": event.id,
            "type": event.event_type,
            "source": event.source,
            "subject": attributes.subject,
            "time": attributes.time.unwrap_or(event.accepted_at),
            "data": event.data.to_value(),
            "tenant_id": attributes.tenant_id,
            "organization_id": attributes.organization_id,
            "user_id": attributes.user_id,
            "correlation_id": attributes.correlation_id,
        })
    });
    let mut context = Map::new();
    context.insert("event".to_owned(), event.unwrap_or(Value::Null));
    context.insert("data".to_owned(), call.input.clone());
    let tenant = json!({ "id": call.tenant.uuid, "slug": call.tenant.slug });
    context.insert("tenant".to_owned(), tenant);
    let execution = json!({ "id": call.execution, "attempt": call.attempt });
    context.insert("execution".to_owned(), execution);
    context.insert("action".to_owned(), Value::String(call.action.clone()));
    context
}

/// Renders a template of a definition for an attempt.
///
/// # Errors
/// As [`render`].
pub(crate) fn render_for(call: &Call, source: &str, escape: Escape) -> Result<String, Outcome> {
    render(source, &Value::Object(context(call)), escape)
}

/// What is said of an event when nobody wrote a text.
pub(crate) fn announcement(call: &Call) -> Option<String> {
    let event = call.event.as_ref()?;
    Some(format!("{} in {}", event.event_type, call.tenant.slug))
}

fn environment<'source>(escape: Escape) -> Environment<'source> {
    let mut env = Environment::empty();
    env.set_fuel(Some(FUEL));
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_recursion_limit(32);
    env.add_filter("upper", filters::upper);
    env.add_filter("lower", filters::lower);
    env.add_filter("title", filters::title);
    env.add_filter("capitalize", filters::capitalize);
    env.add_filter("trim", filters::trim);
    env.add_filter("default", filters::default);
    env.add_filter("length", filters::length);
    env.add_filter("first", filters::first);
    env.add_filter("last", filters::last);
    env.add_filter("round", filters::round);
    env.add_filter("tojson", filters::tojson);
    env.add_test("defined", minijinja::tests::is_defined);
    env.add_test("none", minijinja::tests::is_none);
    match escape {
        Escape::Plain => env.set_auto_escape_callback(|_| AutoEscape::None),
        Escape::Html => {
            env.set_auto_escape_callback(|_| AutoEscape::Html);
            env.set_formatter(minijinja::escape_formatter);
        }
        Escape::Slack => {
            env.set_auto_escape_callback(|_| AutoEscape::None);
            env.set_formatter(slack_formatter);
        }
    }
    env
}

fn slack_formatter(
    out: &mut Output<'_>,
    _state: &mut State<'_, '_>,
    value: &Dynamic,
) -> Result<(), minijinja::Error> {
    if value.is_undefined() {
        return Err(ErrorKind::UndefinedError.into());
    }
    let text = slack_escaped(&value.to_string());
    out.write_str(&text).map_err(minijinja::Error::from)
}

/// Writes a text so that Slack shows it as it is.
pub(crate) fn slack_escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn check_statements(source: &str) -> Result<(), String> {
    if source.len() > SOURCE_BYTES_MAX {
        return Err(format!("a template has at most {SOURCE_BYTES_MAX} bytes"));
    }
    for block in source.split("{%").skip(1) {
        let block = block.trim_start_matches(['-', '+']).trim_start();
        let word = block.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        if !STATEMENTS.contains(&word) {
            return Err(format!("a template cannot use {{% {word} %}}, only if, for and raw"));
        }
    }
    Ok(())
}

fn sentence(error: &minijinja::Error) -> String {
    let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    let line = error.line().map(|line| format!(" (line {line})")).unwrap_or_default();
    format!("{}{detail}{line}", error.kind())
}

/// Takes so many bytes and no more.
struct Capped(Vec<u8>);

impl io::Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > OUTPUT_BYTES_MAX {
            return Err(io::Error::other(format!("writes more than {OUTPUT_BYTES_MAX} bytes")));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use actions_domain::execution::Outcome;

    use super::{Escape, check, render};

    fn code(source: &str) -> String {
        match render(source, &json!({ "user": { "name": "Ann" }, "xs": [1, 2] }), Escape::Html) {
            Ok(text) => text,
            Err(Outcome::Reject(fault)) => fault.code,
            Err(outcome) => panic!("{outcome:?}"),
        }
    }

    #[test]
    fn values_are_filled_in_and_missing_ones_are_errors() {
        assert_eq!(
            code("Hello {{ user.name|upper }}{% for x in xs %} {{ x }}{% endfor %}"),
            "Hello ANN 1 2"
        );
        assert_eq!(code("Hello {{ user.nmae }}"), "template.undefined");
        assert_eq!(code("Hello {{ nobody.name }}"), "template.undefined");
        assert_eq!(code("{{ user.nick|default('friend') }}"), "friend");
        assert_eq!(code("{{ user.name "), "template.invalid");
    }

    #[test]
    fn values_cannot_become_markup() {
        let evil = json!({ "name": "<script>&" });
        assert_eq!(render("{{ name }}", &evil, Escape::Html).expect("text"), "&lt;script&gt;&amp;");
        let ping = json!({ "name": "<!channel>" });
        let text = render("<https://a.example|{{ name }}>", &ping, Escape::Slack).expect("text");
        assert_eq!(text, "<https://a.example|&lt;!channel&gt;>");
    }

    #[test]
    fn a_template_cannot_exhaust_the_process() {
        let loops = "{% for a in xs %}".repeat(20) + "x" + &"{% endfor %}".repeat(20);
        let bombs = [
            "{{ 'A' * 1000000000 }}",
            "{{ ('A' * 200000) ~ ('A' * 200000) }}",
            "{% set x = 'aaaa' %}{% set x = x ~ x %}",
            "{% with x = 'a' %}{{ x }}{% endwith %}",
            "{%- include 'x' %}",
            "{{ 'a'|replace('a', 'aa') }}",
            "{{ range(1000000) }}",
            &loops,
        ];
        for bomb in bombs {
            assert!(code(bomb).starts_with("template."), "{bomb}");
        }
        assert!(check("{% macro x() %}{% endmacro %}").is_err());
        assert!(check(&"x".repeat(70_000)).is_err());
    }
}
