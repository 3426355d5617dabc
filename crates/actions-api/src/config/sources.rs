//! Where the value of each setting comes from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::table::{ENGINE, SETTINGS, Setting};

/// Read when it exists and no other file was named. The working directory is never searched.
const FILE_DEFAULT: &str = "/etc/actions/server.toml";
/// Most bytes of a settings or secret file.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// Variables of the test suite, which starts this program with its own environment.
const TEST_PREFIX: &str = "ACTIONS_TEST_";

/// Values given on the command line, by key.
pub(crate) type Flags = BTreeMap<&'static str, String>;

/// What kind of place a value came from, the weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    File,
    /// A variable or a flag: what this process was started with.
    Environment,
}

/// A setting's value and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) text: String,
    /// `--listen`, `ACTIONS_LISTEN`, `/etc/actions/server.toml: listen`, `default`.
    pub(crate) origin: String,
    pub(crate) source: Origin,
    pub(crate) secret: bool,
}

impl Value {
    /// What is wrong with it, without showing a secret.
    pub(crate) fn complaint(&self, expected: &str) -> String {
        if self.secret {
            format!("{}: {expected}", self.origin)
        } else {
            format!("{} = {:?}: {expected}", self.origin, self.text)
        }
    }
}

/// Every setting that has a value.
#[derive(Debug, Clone, Default)]
pub(crate) struct Resolved {
    values: BTreeMap<&'static str, Value>,
}

impl Resolved {
    /// Finds the value of each setting of the engine, and everything that names no setting.
    pub(crate) fn collect(flags: &Flags, environment: &Environment) -> (Self, Vec<String>) {
        let mut problems = unknown_variables(environment);
        let named = flags.get("config").map(String::as_str);
        let named = named.or_else(|| environment.find("ACTIONS_CONFIG"));
        let file = match named {
            Some(path) => read_file(Path::new(path), &mut problems),
            None if Path::new(FILE_DEFAULT).exists() => {
                read_file(Path::new(FILE_DEFAULT), &mut problems)
            }
            None => BTreeMap::new(),
        };
        let mut values = BTreeMap::new();
        for setting in ENGINE {
            let found = from_flags(setting, flags)
                .or_else(|| from_environment(setting, environment, &mut problems))
                .or_else(|| file.get(setting.key).cloned())
                .or_else(|| from_default(setting));
            if let Some(value) = found {
                values.insert(setting.key, value);
            }
        }
        (Self { values }, problems)
    }

    pub(crate) fn find(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }
}

fn from_flags(setting: &Setting, flags: &Flags) -> Option<Value> {
    let text = flags.get(setting.key)?.clone();
    let origin = format!("--{}", setting.flag.map_or(setting.key, |(flag, _)| flag));
    Some(Value { text, origin, source: Origin::Environment, secret: setting.secret })
}

fn from_default(setting: &Setting) -> Option<Value> {
    let text = setting.default?.to_owned();
    let (origin, source) = ("default".to_owned(), Origin::Default);
    Some(Value { text, origin, source, secret: setting.secret })
}

/// The variable, or the file that it names for a secret. Both at once is a mistake.
pub(super) fn from_environment(
    setting: &Setting,
    environment: &Environment,
    problems: &mut Vec<String>,
) -> Option<Value> {
    let direct = environment.find(setting.variable);
    let file_variable = setting.file_variable();
    let path = file_variable.as_deref().and_then(|variable| environment.find(variable));
    match (direct, path) {
        (Some(_), Some(_)) => {
            let variable = setting.variable;
            problems.push(format!("{variable} and {variable}_FILE are both set; keep one"));
            None
        }
        (Some(text), None) => {
            let origin = setting.variable.to_owned();
            let source = Origin::Environment;
            Some(Value { text: text.to_owned(), origin, source, secret: setting.secret })
        }
        (None, Some(path)) => match read_limited(Path::new(path)) {
            Ok(text) => {
                let origin = format!("{}_FILE", setting.variable);
                let text = text.trim_end_matches(['\r', '\n']).to_owned();
                Some(Value { text, origin, source: Origin::Environment, secret: setting.secret })
            }
            Err(reason) => {
                problems.push(format!("{}_FILE: {path}: {reason}", setting.variable));
                None
            }
        },
        (None, None) => None,
    }
}

/// A misspelt variable would be a setting that silently does nothing.
fn unknown_variables(environment: &Environment) -> Vec<String> {
    let known: Vec<String> = SETTINGS
        .iter()
        .copied()
        .flatten()
        .flat_map(|setting| [Some(setting.variable.to_owned()), setting.file_variable()])
        .flatten()
        .collect();
    environment
        .all()
        .filter(|(name, _)| name.starts_with("ACTIONS_") && !name.starts_with(TEST_PREFIX))
        .filter(|(name, value)| !is_of_kubernetes(name, value))
        .filter(|(name, _)| !known.iter().any(|known| known == name))
        .map(|(name, _)| match closest(name, known.iter().map(String::as_str)) {
            Some(similar) => format!("{name} is no setting; did you mean {similar}?"),
            None => format!("{name} is no setting; `actions config show` lists them"),
        })
        .collect()
}

/// Kubernetes tells every container the addresses of the Services around it. Of one called
/// `actions` or `actions-…` these names begin as ours do: `ACTIONS_SERVICE_HOST`,
/// `ACTIONS_PORT=tcp://10.0.0.1:80`, `ACTIONS_PORT_80_TCP_ADDR`.
fn is_of_kubernetes(name: &str, value: &str) -> bool {
    let is_protocol = |rest: &str| {
        let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        after.len() < rest.len()
            && ["_TCP", "_UDP", "_SCTP"].iter().any(|protocol| after.starts_with(protocol))
    };
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || (name.ends_with("_PORT") && value.contains("://"))
        || name.split_once("_PORT_").is_some_and(|(_, rest)| is_protocol(rest))
}

fn read_file(path: &Path, problems: &mut Vec<String>) -> BTreeMap<String, Value> {
    let shown = PathBuf::from(path).display().to_string();
    let text = match read_limited(path) {
        Ok(text) => text,
        Err(reason) => {
            problems.push(format!("{shown}: {reason}"));
            return BTreeMap::new();
        }
    };
    let table = match text.parse::<toml::Table>() {
        Ok(table) => table,
        Err(error) => {
            let (line, column) = error.span().map_or((1, 1), |span| place(&text, span.start));
            problems.push(format!("{shown}:{line}:{column}: {}", error.message()));
            return BTreeMap::new();
        }
    };
    let mut values = BTreeMap::new();
    for (key, value) in table {
        let line = line_of(&text, &key);
        let Some(setting) = ENGINE.iter().find(|setting| setting.key == key) else {
            let similar = closest(&key, ENGINE.iter().map(|setting| setting.key));
            let hint = similar.map(|similar| format!("; did you mean {similar}?"));
            problems
                .push(format!("{shown}:{line}: {key} is no setting{}", hint.unwrap_or_default()));
            continue;
        };
        match flat(&value) {
            Some(text) => {
                let origin = format!("{shown}:{line}: {key}");
                let source = Origin::File;
                values.insert(key, Value { text, origin, source, secret: setting.secret });
            }
            None => problems
                .push(format!("{shown}:{line}: {key} must be a text, a number or a list of texts")),
        }
    }
    values
}

/// The text that a flag or variable would have had.
fn flat(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Array(items) => {
            let texts: Option<Vec<&str>> = items.iter().map(toml::Value::as_str).collect();
            Some(texts?.join(","))
        }
        toml::Value::Float(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_)
        | toml::Value::Table(_) => None,
    }
}

fn read_limited(path: &Path) -> Result<String, String> {
    let length = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > FILE_BYTES_MAX {
        return Err(format!("larger than {FILE_BYTES_MAX} bytes"));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

/// Line and column of a byte, both from 1.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

fn line_of(text: &str, key: &str) -> usize {
    let is_it = |line: &str| line.trim_start().trim_start_matches(['"', '[']).starts_with(key);
    text.lines().position(is_it).map_or(1, |index| index + 1)
}

/// The known name that differs least, when it is close at all: one letter in three.
fn closest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // What all variables begin with makes none of them similar.
    let own = |name: &str| name.trim_start_matches("ACTIONS_").chars().count();
    known
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= (own(name) / 3).clamp(1, 3))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}
