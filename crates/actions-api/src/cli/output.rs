//! What commands print. Data goes to stdout, everything else to stderr.
//!
//! The format never depends on whether the output is a terminal; only colour and width do.

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};
use serde_json::Value;

use super::error::CliError;
use super::exact;
use crate::config::Environment;

/// How data is printed. JSON is stable, text is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    #[default]
    Table,
    /// A table with every column, never cut.
    Wide,
    Json,
    /// One JSON value a line.
    Jsonl,
    Yaml,
    /// Ids or names alone, one a line.
    Name,
    None,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum When {
    #[default]
    Auto,
    Always,
    Never,
}

/// A column: its title and where its value is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    title: &'static str,
    pointer: &'static str,
    wide: bool,
}

impl Column {
    /// The same column, not only in wide tables.
    pub(crate) fn everywhere(self) -> Self {
        Self { wide: false, ..self }
    }
}

/// A column of every table.
pub(crate) const fn column(title: &'static str, pointer: &'static str) -> Column {
    Column { title, pointer, wide: false }
}

/// A column of wide tables only.
pub(crate) const fn wide(title: &'static str, pointer: &'static str) -> Column {
    Column { title, pointer, wide: true }
}

/// Cells wider than this are cut on a terminal, unless `-o wide` was asked for.
const CELL_CHARS_MAX: usize = 80;

/// How this process prints.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    pub(crate) format: Format,
    pub(crate) headers: bool,
    pub(crate) quiet: bool,
    fields: Vec<String>,
    is_terminal: bool,
    colored: bool,
}

impl Output {
    pub(crate) fn new(
        format: Format,
        headers: bool,
        quiet: bool,
        fields: Vec<String>,
        color: When,
        environment: &Environment,
    ) -> Self {
        let is_terminal = io::stdout().is_terminal();
        let colored = match color {
            When::Always => true,
            When::Never => false,
            When::Auto if environment.find("NO_COLOR").is_some() => false,
            When::Auto if environment.find("CLICOLOR_FORCE").is_some_and(|v| v != "0") => true,
            When::Auto => is_terminal,
        };
        Self { format, headers, quiet, fields, is_terminal, colored }
    }

    /// Prints a list. `name` is where an item's name is.
    pub(crate) fn list(
        &self,
        columns: &[Column],
        name: &str,
        items: &[Value],
    ) -> Result<(), CliError> {
        match self.format {
            Format::Table | Format::Wide => write(&self.table(columns, items)),
            Format::Json => self.json(&Value::Array(self.picked(items))),
            Format::Jsonl => {
                self.picked(items).iter().try_for_each(|item| write(&item.to_string()))
            }
            Format::Yaml => self.yaml(&Value::Array(self.picked(items))),
            Format::Name => {
                items.iter().try_for_each(|item| self.print(&shown(item.pointer(name))))
            }
            Format::None => Ok(()),
        }
    }

    /// Prints one thing as `title  value` lines, or as data.
    pub(crate) fn one(&self, columns: &[Column], name: &str, item: &Value) -> Result<(), CliError> {
        match self.format {
            Format::Table | Format::Wide => {
                let width = columns.iter().map(|column| column.title.len()).max().unwrap_or(0);
                let wanted = columns.iter().filter(|c| self.format == Format::Wide || !c.wide);
                for column in wanted {
                    let Some(value) = item.pointer(column.pointer).filter(|v| !v.is_null()) else {
                        continue;
                    };
                    self.print(&format!("{:width$}  {}", column.title, shown(Some(value))))?;
                }
                Ok(())
            }
            Format::Json | Format::Jsonl | Format::Yaml | Format::None => self.data(item),
            Format::Name => self.print(&shown(item.pointer(name))),
        }
    }

    /// Prints a text where a person reads, and the data that it tells of elsewhere.
    pub(crate) fn text_or_data(
        &self,
        text: &str,
        name: &str,
        data: &Value,
    ) -> Result<(), CliError> {
        match self.format {
            Format::Table | Format::Wide => self.print(text),
            Format::Name => self.print(&shown(data.pointer(name))),
            Format::Json | Format::Jsonl | Format::Yaml | Format::None => self.data(data),
        }
    }

    /// Prints the server's own text where JSON is wanted, without touching a token of it: a tree
    /// would alter long numbers. Answers whether it did.
    pub(crate) fn exact(&self, json: &str) -> Result<bool, CliError> {
        let line = match self.format {
            Format::Json if self.fields.is_empty() => exact::pretty(json),
            Format::Jsonl if self.fields.is_empty() => json.trim().to_owned(),
            Format::Json
            | Format::Jsonl
            | Format::Table
            | Format::Wide
            | Format::Yaml
            | Format::Name
            | Format::None => return Ok(false),
        };
        write(&line)?;
        Ok(true)
    }

    /// Whether data is wanted rather than text for people.
    pub(crate) fn wants_data(&self) -> bool {
        matches!(self.format, Format::Json | Format::Jsonl | Format::Yaml)
    }

    /// Text for people to stdout. Strangers' words may be in it.
    pub(crate) fn print(&self, text: &str) -> Result<(), CliError> {
        write(&tame(text))
    }

    /// Data to stdout, to the byte: what a program reads, or checks a hash of.
    pub(crate) fn verbatim(&self, text: &str) -> Result<(), CliError> {
        write(text)
    }

    /// One line to stderr, unless `--quiet`.
    pub(crate) fn note(&self, line: &str) {
        if !self.quiet {
            // Nobody is left to be told that stderr is gone.
            let _ = writeln!(io::stderr().lock(), "{}", tame(line));
        }
    }

    fn data(&self, item: &Value) -> Result<(), CliError> {
        let item = self.picked_one(item);
        match self.format {
            Format::Yaml => self.yaml(&item),
            Format::Jsonl => write(&item.to_string()),
            Format::None => Ok(()),
            Format::Table | Format::Wide | Format::Json | Format::Name => self.json(&item),
        }
    }

    fn json(&self, value: &Value) -> Result<(), CliError> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| CliError::failed(error.to_string()))?;
        write(&text)
    }

    fn yaml(&self, value: &Value) -> Result<(), CliError> {
        let text =
            serde_saphyr::to_string(value).map_err(|error| CliError::failed(error.to_string()))?;
        write(text.trim_end())
    }

    fn picked(&self, items: &[Value]) -> Vec<Value> {
        items.iter().map(|item| self.picked_one(item)).collect()
    }

    /// The item with the fields that `--fields` names.
    fn picked_one(&self, item: &Value) -> Value {
        if self.fields.is_empty() {
            return item.clone();
        }
        let pick = |field: &String| {
            let pointer = format!("/{}", field.replace('.', "/"));
            (field.clone(), item.pointer(&pointer).cloned().unwrap_or(Value::Null))
        };
        Value::Object(self.fields.iter().map(pick).collect())
    }

    fn table(&self, columns: &[Column], items: &[Value]) -> String {
        let is_wide = self.format == Format::Wide;
        let columns: Vec<_> = columns.iter().filter(|column| is_wide || !column.wide).collect();
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        if is_wide || !self.is_terminal {
            table.set_content_arrangement(ContentArrangement::Disabled);
        } else {
            table.set_content_arrangement(ContentArrangement::Dynamic);
        }
        if self.colored {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        if self.headers {
            table.set_header(columns.iter().map(|column| {
                let cell = Cell::new(column.title.to_uppercase());
                if self.colored { cell.add_attribute(Attribute::Bold) } else { cell }
            }));
        }
        for item in items {
            table.add_row(columns.iter().map(|column| self.cell(item.pointer(column.pointer))));
        }
        // The first column needs no space before it.
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
    }

    fn cell(&self, value: Option<&Value>) -> Cell {
        let mut text = shown(value);
        if self.format == Format::Table && self.is_terminal && text.chars().count() > CELL_CHARS_MAX
        {
            text = text.chars().take(CELL_CHARS_MAX - 1).chain(['…']).collect();
        }
        let color = match text.as_str() {
            "completed" | "healthy" | "true" => Some(Color::Green),
            "failed" | "timeout" | "unhealthy" => Some(Color::Red),
            "retrying" | "blocked" | "paused" => Some(Color::Yellow),
            _ => None,
        };
        match color.filter(|_| self.colored) {
            Some(color) => Cell::new(text).fg(color),
            None => Cell::new(text),
        }
    }
}

/// Data to stdout, as it is.
fn write(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()?;
    Ok(())
}

/// The same text, with nothing in it that a terminal obeys.
pub(crate) fn tame(text: &str) -> String {
    let is_obeyed = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    text.chars().map(|c| if is_obeyed(c) { ' ' } else { c }).collect()
}

/// A value in one line. Control characters would move the cursor of whoever looks.
pub(crate) fn shown(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) if items.iter().all(Value::is_string) => {
            items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
        }
        Some(other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_))) => {
            other.to_string()
        }
    };
    if text.is_empty() {
        return "-".to_owned();
    }
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A text that ends with its size where it is longer than so many characters.
pub(crate) fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}… ({} bytes in all)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}

/// `1 event`, `2 events`.
pub(crate) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Whether somebody can be asked.
pub(crate) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::tame;

    #[test]
    fn a_strangers_words_move_no_cursor() {
        let said = "503 \u{1b}[2J\u{1b}]0;owned\u{7}\r\u{9b}31m\u{8}\n\tnext";
        assert_eq!(tame(said), "503  [2J ]0;owned   31m \n\tnext", "{said:?}");
    }
}
