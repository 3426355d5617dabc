//! Texts with places for an event's data.
//!
//! Templates are written by tenants, so they are data, not programs: no loader, no macros, no
//! assignments, no repetition, a short list of filters, fuel, and a cap on what they write. The
//! compiler follows expressions and conditions by recursion and nothing can interrupt an
//! operator, so a template's tokens are counted before it is compiled. A missing variable is an
//! error, because a mail to "Dear ," helps nobody.

use std::borrow::Cow;
use std::io;
use std::ops::Deref;

use minijinja::machinery::{Token, tokenize};
use minijinja::value::{Kwargs, Serde, Value as Dynamic};
use minijinja::{AutoEscape, Environment, ErrorKind, Output, State, UndefinedBehavior, filters};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::runtime::{Handle, RuntimeFlavor};

use actions_domain::execution::Outcome;
use actions_domain::ports::handler::{Call, TEMPLATE_MARK};
use actions_domain::secret::{PREVIOUS, wipe};

use crate::config::reject;

/// Instructions of one rendering, with data of ordinary size.
const FUEL: u64 = 20_000;
/// Instructions times bytes of what the template sees: one instruction may read or copy it all.
const WORK_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// More than this is rendered where it delays nobody else.
const LIGHT_BYTES_MAX: u64 = 16 * 1024;
/// What one rendering may write.
const OUTPUT_BYTES_MAX: usize = 256 * 1024;
/// A template's source.
const SOURCE_BYTES_MAX: usize = 64 * 1024;
/// Tokens of one expression.
const TOKENS_MAX: usize = 128;
/// `~` and `+` of one expression: each may copy the data once more.
const JOINS_MAX: usize = 8;
/// Open statements, and every `elif` of a template: the parser nests those too.
const NESTING_MAX: usize = 48;

/// A template of a definition. Its schema says so, and so its source comes without secrets: they
/// are among its variables.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub(crate) struct Template(String);

impl Deref for Template {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl JsonSchema for Template {
    fn schema_name() -> Cow<'static, str> {
        "Template".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", (TEMPLATE_MARK): true })
    }
}

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
    check_tokens(source)?;
    let env = environment(Escape::Plain);
    env.template_from_str(source).map(|_| ()).map_err(|error| sentence(&error))
}

/// Renders a template.
///
/// # Errors
/// The outcome to answer with: the same template and data would fail again.
pub(crate) fn render(source: &str, context: &Value, escape: Escape) -> Result<String, Outcome> {
    check_tokens(source).map_err(|message| reject("template.invalid", message))?;
    let bytes = weight(context);
    let mut env = environment(escape);
    env.set_fuel(Some(FUEL.min(WORK_BYTES_MAX / bytes)));
    let template = env
        .template_from_str(source)
        .map_err(|error| reject("template.invalid", sentence(&error)))?;
    let rendered = || {
        let mut written = Capped(Vec::new());
        template.render_captured_to(Dynamic::from(Serde(context)), &mut written)?;
        Ok(written.0)
    };
    let rendered = if bytes > LIGHT_BYTES_MAX { aside(rendered) } else { rendered() };
    let written = rendered.map_err(|error: minijinja::Error| {
        let code = if error.kind() == ErrorKind::UndefinedError {
            "template.undefined"
        } else {
            "template.failed"
        };
        reject(code, sentence(&error))
    })?;
    String::from_utf8(written).map_err(|error| reject("template.failed", error.to_string()))
}

/// Does what may take a second without holding up the other tasks of this thread. A runtime of
/// one thread has nowhere to move them.
fn aside<T>(work: impl FnOnce() -> T) -> T {
    let flavor = Handle::try_current().map(|runtime| runtime.runtime_flavor());
    if matches!(flavor, Ok(RuntimeFlavor::MultiThread)) {
        tokio::task::block_in_place(work)
    } else {
        work()
    }
}

/// About the bytes of a value as JSON. Never 0.
fn weight(value: &Value) -> u64 {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 4,
        Value::String(text) => 2 + text.len() as u64,
        Value::Array(items) => 2 + items.iter().map(|item| 1 + weight(item)).sum::<u64>(),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| 4 + name.len() as u64 + weight(value);
            2 + fields.iter().map(field).sum::<u64>()
        }
    }
}

/// What a template of a definition sees: `event`, `data`, `tenant`, `execution`, `action`, and
/// `secrets` with those that the config names.
pub(crate) fn context(call: &Call) -> Map<String, Value> {
    let event = call.event.as_ref().and_then(|event| serde_json::to_value(event.envelope()).ok());
    let mut context = Map::new();
    context.insert("event".to_owned(), event.unwrap_or(Value::Null));
    context.insert("data".to_owned(), call.input.clone());
    let tenant = json!({ "id": call.tenant.uuid, "slug": call.tenant.slug });
    context.insert("tenant".to_owned(), tenant);
    let execution = json!({ "id": call.execution, "attempt": call.attempt });
    context.insert("execution".to_owned(), execution);
    context.insert("action".to_owned(), Value::String(call.action.clone()));
    // Also without any, so that no data takes the place.
    context.insert("secrets".to_owned(), secrets(call));
    context
}

fn secrets(call: &Call) -> Value {
    let (mut current, mut previous) = (Map::new(), Map::new());
    for (secret, text) in call.config.secrets() {
        let members = if secret.is_previous { &mut previous } else { &mut current };
        members.insert(secret.name.to_string(), Value::String(text.expose().to_owned()));
    }
    current.insert(PREVIOUS.to_owned(), Value::Object(previous));
    Value::Object(current)
}

/// Renders a template of a definition for an attempt.
///
/// # Errors
/// As [`render`].
pub(crate) fn render_for(
    call: &Call,
    source: &Template,
    escape: Escape,
) -> Result<String, Outcome> {
    let mut context = Value::Object(context(call));
    let rendered = render(source, &context, escape);
    wipe(&mut context["secrets"]);
    rendered
}

/// What is said of an event when nobody wrote a text.
pub(crate) fn announcement(call: &Call) -> Option<String> {
    let event = call.event.as_ref()?;
    Some(format!("{} in {}", event.event_type, call.tenant.slug))
}

fn environment<'source>(escape: Escape) -> Environment<'source> {
    let mut env = Environment::empty();
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
    env.add_filter("tojson", tojson);
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

/// Without an indentation, which could have any width, and with a cap: JSON inside of JSON
/// doubles its escapes each time.
fn tojson(value: &Dynamic) -> Result<Dynamic, minijinja::Error> {
    let none = std::iter::empty::<(&str, Dynamic)>();
    let json = filters::tojson(value, None, none.collect::<Kwargs>())?;
    if json.as_str().is_some_and(|json| json.len() > OUTPUT_BYTES_MAX) {
        let message = format!("tojson makes more than {OUTPUT_BYTES_MAX} bytes");
        return Err(minijinja::Error::new(ErrorKind::InvalidOperation, message));
    }
    Ok(json)
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

/// Refuses what could exhaust stack, memory or time, by its tokens.
fn check_tokens(source: &str) -> Result<(), String> {
    if source.len() > SOURCE_BYTES_MAX {
        return Err(format!("a template has at most {SOURCE_BYTES_MAX} bytes"));
    }
    let (mut tokens, mut joins, mut nesting) = (0_usize, 0_usize, 0_usize);
    let mut begins_statement = false;
    for token in tokenize(source, false, Default::default()) {
        let (token, _) = token.map_err(|error| sentence(&error))?;
        if matches!(token, Token::VariableStart | Token::BlockStart) {
            (tokens, joins) = (0, 0);
        }
        tokens += 1;
        joins += usize::from(matches!(token, Token::Tilde | Token::Plus));
        if let Token::Ident(word) = token
            && begins_statement
        {
            nesting = match word {
                "if" | "for" | "elif" => nesting + 1,
                "endif" | "endfor" => nesting.saturating_sub(1),
                "else" => nesting,
                _ => return Err(format!("a template cannot use {{% {word} %}}, {STATEMENTS}")),
            };
        }
        begins_statement = matches!(token, Token::BlockStart);
        if matches!(token, Token::Mul) {
            return Err("a template cannot use *: it can repeat a text without end".to_owned());
        }
        if tokens > TOKENS_MAX {
            return Err(format!("an expression of a template has at most {TOKENS_MAX} tokens"));
        }
        if joins > JOINS_MAX {
            return Err(format!("an expression of a template has at most {JOINS_MAX} ~ and +"));
        }
        if nesting > NESTING_MAX {
            return Err(format!("a template nests at most {NESTING_MAX} statements, elif too"));
        }
    }
    Ok(())
}

/// Assignments could double a text until memory is full.
const STATEMENTS: &str = "only if, for and raw";

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

    /// The compiler's recursion would end the process, so none of these may reach it.
    #[test]
    fn a_template_too_deep_for_the_compiler_is_refused() {
        let deep = [
            format!("{{{{ {}a }}}}", "a+".repeat(30_000)),
            format!("{{{{ {}a }}}}", "a and ".repeat(10_000)),
            format!("{{{{ a{} }}}}", ".a".repeat(30_000)),
            format!("{{{{ a{} }}}}", "|trim".repeat(12_000)),
            format!("{{{{ a{} }}}}", "[0]".repeat(20_000)),
            format!("{{{{ {}a }}}}", "not ".repeat(15_000)),
            format!("{{{{ {}a }}}}", "-".repeat(60_000)),
            format!("{{{{ {}a }}}}", "a if a else ".repeat(5_000)),
            format!("{{% if {}a %}}{{% endif %}}", "a or ".repeat(12_000)),
            format!("{{% if a %}}{}{{% endif %}}", "{%elif a%}".repeat(6_000)),
            "{%if a%}".repeat(8_000),
            // Neither texts nor comments nor raw parts hide what comes after them.
            format!("{{# {{{{ ' #}}{{{{ '}}}}' {}a }}}}", "+a".repeat(30_000)),
            format!("{{% raw %}}{{{{ ' {{% endraw %}}{{{{ {}a }}}}", "a+".repeat(30_000)),
        ];
        for source in deep {
            let start = source.get(..40).unwrap_or_default();
            assert!(check(&source).is_err(), "{start}");
            assert_eq!(code(&source), "template.invalid", "{start}");
        }
    }

    /// The deepest that pass fit into the stack of a thread of the runtime, unoptimised too.
    #[test]
    fn a_template_at_the_limits_is_compiled() {
        let limits = [
            format!("{{{{ {}1{} }}}}", "(".repeat(60), ")".repeat(60)),
            format!("{{{{ {}1{} }}}}", "[".repeat(60), "]".repeat(60)),
            format!("{{{{ {}xs }}}}", "not ".repeat(120)),
            format!("{{{{ xs{} }}}}", "|first".to_owned() + &"|upper".repeat(59)),
            format!("{{{{ 1{} }}}}", " - 1".repeat(60)),
            "{% if xs %}".repeat(48) + "{{ ((1)) }}" + &"{% endif %}".repeat(48),
            format!("{{% if xs %}}{}x{{% endif %}}", "{% elif xs %}".repeat(47)),
            format!("{}\n{{{{ 1 }}}}", "+".repeat(200)),
        ];
        for source in limits {
            assert_eq!(check(&source), Ok(()), "{source}");
            assert!(!code(&source).starts_with("template."), "{source}: {}", code(&source));
        }
    }

    #[test]
    fn large_data_cannot_be_multiplied() {
        let data = json!({ "d": "x".repeat(1_000_000), "xs": vec![0; 20_000] });
        let code = |source: &str| match render(source, &data, Escape::Plain) {
            Ok(text) => text,
            Err(Outcome::Reject(fault)) => fault.code,
            Err(outcome) => panic!("{outcome:?}"),
        };
        let joined = |sign: &str| format!("{{{{ {}d }}}}", format!("d {sign} ").repeat(10_000));
        assert_eq!(code(&joined("~")), "template.invalid");
        assert_eq!(code(&joined("+")), "template.invalid");
        assert_eq!(code("{{ 'A' * 99999999 }}"), "template.invalid");
        assert_eq!(code("{{ (d * 100)|length }}"), "template.invalid");
        assert_eq!(code("{{ xs|tojson(indent=100000000)|length }}"), "template.failed");
        assert_eq!(code(&format!("{{{{ xs{} }}}}", "|tojson".repeat(60))), "template.failed");
        assert_eq!(code("{{ (d ~ d ~ d)|length }}"), "3000000");
        // What a loop repeats is paid by the size of the data.
        let again = "{% for x in xs %}{% if (d ~ d)|upper == d %}{% endif %}{% endfor %}";
        assert_eq!(code(again), "template.failed");
    }
}
