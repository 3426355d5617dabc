//! Definitions as files hold them: YAML, checked with the place of every mistake.
//!
//! A file holds `actions`, each with its own `subscriptions`; subscriptions may also stand
//! beside the actions and name theirs.

use actions_app::commands::apply_definitions::{DefinitionEntry, DefinitionSet};
use actions_domain::action::ActionSpec;
use actions_domain::subscription::SubscriptionSpec;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_saphyr::Spanned;

mod beside;
#[cfg(test)]
mod tests;

use beside::{Beside, Key};

use crate::plain::plain;

/// Mistakes that are looked for. Each costs a reading of the file.
const MISTAKES_MAX: usize = 50;
/// Most bytes of one file.
const FILE_BYTES_MAX: usize = 16 << 20;

/// A set of definitions, and the line of each action in its file.
#[derive(Debug, Clone, Default)]
pub(crate) struct DefinitionFile {
    pub(crate) set: DefinitionSet,
    pub(crate) lines: Vec<u64>,
}

/// A mistake in a file. Lines and columns count from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) line: u64,
    pub(crate) column: u64,
    pub(crate) message: String,
}

impl Mistake {
    /// `file:line:column: message`, as editors and compilers write it.
    pub(crate) fn at(&self, file: &str) -> String {
        format!("{file}:{}:{}: {}", self.line, self.column, self.message)
    }
}

/// The member of an action.
#[derive(Debug)]
pub(crate) struct Subscriptions;

impl Key for Subscriptions {
    const NAME: &'static str = "subscriptions";
}

/// The member of a subscription that stands by itself.
#[derive(Debug)]
pub(crate) struct Action;

impl Key for Action {
    const NAME: &'static str = "action";
}

pub(crate) type WrittenAction = Beside<ActionSpec, Vec<SubscriptionSpec>, Subscriptions>;
pub(crate) type WrittenSubscription = Beside<SubscriptionSpec, String, Action>;

/// What a file holds, before its parts are put together.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Written {
    #[serde(default)]
    pub(crate) actions: Vec<Spanned<WrittenAction>>,
    #[serde(default)]
    pub(crate) subscriptions: Vec<Spanned<WrittenSubscription>>,
}

impl DefinitionFile {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// Every mistake that can be found without the server, in the order of the file.
    pub(crate) fn parse(text: &str) -> Result<Self, Vec<Mistake>> {
        match parse_yaml(text) {
            Ok(written) => Self::put_together(written, text),
            Err(first) => Err(with_others(text, first)),
        }
    }

    /// Checks what was read out of `text`.
    pub(crate) fn put_together(written: Written, text: &str) -> Result<Self, Vec<Mistake>> {
        let mut file = Self::default();
        let mut mistakes = Vec::new();
        for action in written.actions {
            let (line, column) = (action.referenced.line(), action.referenced.column());
            for error in action.value.value.check() {
                let place = find_key(text, line, error.pointer());
                let (line, column) = place.unwrap_or((line, column));
                mistakes.push(Mistake { line, column, message: error.to_string() });
            }
            let (action, subscriptions) = (action.value.value, action.value.extra);
            if let Some(first) = file.line_of(action.name.as_str()) {
                let message = format!("{} is defined already in line {first}", action.name);
                mistakes.push(Mistake { line, column, message });
            }
            let subscriptions = subscriptions.unwrap_or_default();
            file.set.actions.push(DefinitionEntry { action, subscriptions });
            file.lines.push(line);
        }
        for subscription in written.subscriptions {
            let (line, column) = (subscription.referenced.line(), subscription.referenced.column());
            if let Err(message) = file.attach(subscription.value) {
                mistakes.push(Mistake { line, column, message });
            }
        }
        mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
        if mistakes.is_empty() { Ok(file) } else { Err(mistakes) }
    }

    fn line_of(&self, name: &str) -> Option<u64> {
        let index = self.set.actions.iter().position(|entry| entry.action.name.as_str() == name)?;
        self.lines.get(index).copied()
    }

    /// Puts a subscription that stands by itself to its action.
    fn attach(&mut self, subscription: WrittenSubscription) -> Result<(), String> {
        let Some(action) = subscription.extra else {
            return Err("a subscription names its action: `action: NAME`".to_owned());
        };
        let entry = self.set.actions.iter_mut().find(|entry| entry.action.name.as_str() == action);
        let entry = entry.ok_or_else(|| {
            format!(
                "the file has no action {action}; a subscription stands in the file of its action"
            )
        })?;
        entry.subscriptions.push(subscription.value);
        Ok(())
    }
}

/// Reads a file of definitions, and answers how many actions it has.
///
/// # Errors
/// Every mistake, with its place.
#[doc(hidden)]
pub fn check_definition_file(text: &str) -> Result<usize, Vec<String>> {
    let file = DefinitionFile::parse(text);
    let told = |mistakes: Vec<Mistake>| mistakes.iter().map(|one| one.at("file")).collect();
    file.map(|file| file.set.actions.len()).map_err(told)
}

/// Where the definitions of a file begin.
#[derive(Deserialize)]
struct Places {
    #[serde(default)]
    actions: Vec<Spanned<serde_json::Value>>,
    #[serde(default)]
    subscriptions: Vec<Spanned<serde_json::Value>>,
}

/// The first mistake and those of the other definitions: a parser stops at a mistake, so the
/// definition that has it is left out and the rest is read again.
fn with_others(text: &str, first: Mistake) -> Vec<Mistake> {
    let Ok(places) = parse_yaml::<Places>(text) else { return vec![first] };
    let all = places.actions.iter().chain(&places.subscriptions);
    let mut starts: Vec<u64> = all.map(|one| one.referenced.line()).collect();
    starts.sort_unstable();
    let mut lines: Vec<&str> = text.lines().collect();
    let mut mistakes = Vec::new();
    let mut found = Err(first);
    loop {
        match found {
            Err(mistake) if leave_out(&mut lines, &starts, mistake.line) => mistakes.push(mistake),
            // It belongs to no definition, or to what leaving one out has left behind.
            Err(mistake) => {
                if mistakes.is_empty() {
                    mistakes.push(mistake);
                }
                break;
            }
            Ok(Written { actions, .. }) => {
                // Subscriptions beside the actions may name one that was left out.
                let rest = Written { actions, subscriptions: Vec::new() };
                mistakes.extend(DefinitionFile::put_together(rest, text).err().unwrap_or_default());
                break;
            }
        }
        if mistakes.len() >= MISTAKES_MAX {
            break;
        }
        found = parse_yaml::<Written>(&lines.join("\n"));
    }
    mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
    mistakes
}

/// Empties the lines of the definition that a line belongs to, without moving the others.
/// Answers whether it had any.
fn leave_out(lines: &mut [&str], starts: &[u64], line: u64) -> bool {
    let next = starts.partition_point(|start| *start <= line);
    let place = |at: Option<&u64>| at.and_then(|line| usize::try_from(line - 1).ok());
    let Some(start) = place(next.checked_sub(1).and_then(|last| starts.get(last))) else {
        return false;
    };
    let end = place(starts.get(next)).unwrap_or(lines.len()).min(lines.len());
    let mut had_any = false;
    for line in lines.get_mut(start..end).unwrap_or_default() {
        // What begins in the first column is the name of a list.
        if line.starts_with([' ', '-']) {
            had_any |= !line.trim().is_empty();
            *line = "";
        }
    }
    had_any
}

/// Lists and objects inside one another, in a file of definitions.
const NESTING_MAX: usize = 64;

/// Reads YAML into a type, with the place of the first mistake.
pub(crate) fn parse_yaml<T: DeserializeOwned>(text: &str) -> Result<T, Mistake> {
    parse_nested_yaml(text, NESTING_MAX)
}

/// The same, of lists and objects at most so many levels deep.
pub(crate) fn parse_nested_yaml<T: DeserializeOwned>(
    text: &str,
    nesting_max: usize,
) -> Result<T, Mistake> {
    if text.len() > FILE_BYTES_MAX {
        let message = format!("the file is larger than {FILE_BYTES_MAX} bytes");
        return Err(Mistake { line: 1, column: 1, message });
    }
    // `country: no` is a text to everybody who has not read YAML 1.1, and so is `zip: 0123`.
    let options = serde_saphyr::options! {
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        with_snippet: false,
        budget: serde_saphyr::budget! { max_depth: nesting_max },
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let place = error.location().map(|location| (location.line(), location.column()));
        let (line, column) = place.unwrap_or((1, 1));
        let message = error.without_snippet().to_string();
        Mistake { line, column, message: plain(&without_place(&message)) }
    })
}

/// The parser's own mention of the place would only repeat ours.
fn without_place(message: &str) -> String {
    let marks = [" at line ", "\n", " (line "];
    let end = marks.into_iter().filter_map(|mark| message.find(mark)).min();
    message[..end.unwrap_or(message.len())].trim_end_matches([':', ' ']).to_owned()
}

/// Finds the line of a member below the item that starts at line `from`, by the last name in
/// its pointer.
pub(crate) fn find_key(text: &str, from: u64, pointer: &str) -> Option<(u64, u64)> {
    let key = pointer.rsplit('/').find(|part| part.parse::<usize>().is_err())?;
    let start = usize::try_from(from.saturating_sub(1)).ok()?;
    let indent = |line: &str| line.len() - line.trim_start_matches([' ', '-']).len();
    let base = text.lines().nth(start).map(indent)?;
    for (index, line) in text.lines().enumerate().skip(start) {
        let column = indent(line);
        if index > start && !line.trim().is_empty() && column < base {
            return None;
        }
        if line[column..].strip_prefix(key).is_some_and(|rest| rest.starts_with(':')) {
            return Some((index as u64 + 1, column as u64 + 1));
        }
    }
    None
}
