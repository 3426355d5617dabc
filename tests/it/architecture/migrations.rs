//! Migrations only add, so that nodes of the version before go on over the newer schema.

use super::tree;

/// Steps that change something that is there, and why the version before can live with it.
const CHANGES: [(&str, &str, &str); 10] = [
    (
        "0008_keep_needed_events",
        "create or replace function engine.drop_old_history_v1",
        "same arguments and answer; it keeps more than before",
    ),
    (
        "0013_count_by_key",
        "alter table engine.rate alter column id type int8",
        "wider, in a table without a record of anything; the function of before casts",
    ),
    (
        "0018_inline_days_and_segments",
        "create or replace function engine.day_of",
        "same argument and answer, only quicker",
    ),
    (
        "0018_inline_days_and_segments",
        "create or replace function engine.segment_of",
        "same argument and answer, only quicker",
    ),
    (
        "0020_flush_in_fewer_statements",
        "create or replace function engine.admit_v1(",
        "same arguments, answer and locks, only quicker",
    ),
    (
        "0020_flush_in_fewer_statements",
        "create or replace function engine.settle_v1(",
        "same arguments, answer and locks, only quicker",
    ),
    (
        "0020_flush_in_fewer_statements",
        "create or replace function engine.enqueue_v1(",
        "same arguments, answer and locks, only quicker",
    ),
    (
        "0025_delete_tenants",
        "create or replace function engine.refuse_audit_change_v1",
        "refuses as before, but for tenants that are gone",
    ),
    (
        "0025_delete_tenants",
        "create or replace function engine.settle_v1(",
        "same arguments, answer and locks; it leaves out what is of tenants that are gone",
    ),
    (
        "0025_delete_tenants",
        "create or replace function engine.report_v1(",
        "same arguments, answer and locks; it leaves out what is of tenants that are gone",
    ),
];

/// How a statement begins that adds something beside what is there.
const ADDITIONS: [&str; 9] = [
    "create schema ",
    "create table ",
    "create unlogged table ",
    "create index ",
    "create function ",
    "create view ",
    "insert into engine.",
    "grant select ",
    "grant usage on schema ",
];

/// What a statement does that the version before would notice. `None`: nothing.
fn change(statement: &str, is_new: impl Fn(&str) -> bool) -> Option<String> {
    let words: Vec<&str> = statement.split_whitespace().collect();
    let text = words.join(" ");
    let is_addition = ADDITIONS.iter().any(|start| text.starts_with(start));
    // A table's own migration may do with it what it likes.
    let is_of_new = match &words[..] {
        ["create", "unique", "index", _, "on", table, ..] | ["alter", "table", table, ..] => {
            is_new(table)
        }
        ["create", "trigger", _, "before", rest @ ..] => {
            let table = rest.iter().skip_while(|word| **word != "on").nth(1);
            table.is_some_and(|table| is_new(table))
        }
        // Calls of functions that make partitions.
        ["select", ..] => true,
        _ => false,
    };
    let is_column = text.starts_with("alter table ")
        && text.split(", ").all(|part| {
            let is_added = part.contains("add column ");
            is_added && (!part.contains(" not null") || part.contains(" default "))
        });
    (!is_addition && !is_of_new && !is_column).then_some(text)
}

/// The statements of a script, without comments and without the bodies of functions.
fn statements(script: &str) -> Vec<String> {
    let lines = script.lines().map(|line| line.split("--").next().unwrap_or_default());
    let text: String = lines.collect::<Vec<_>>().join("\n");
    let outside = text.split("$$").step_by(2).collect::<String>();
    let statements = outside.split(';').map(|text| text.trim().to_lowercase());
    statements.filter(|text| !text.is_empty()).collect()
}

fn changes_in(script: &str) -> Vec<String> {
    let all = statements(script);
    let makes = |table: &str| {
        let (plain, unlogged) =
            (format!("create table {table}"), format!("create unlogged table {table}"));
        all.iter().any(|text| text.starts_with(&plain) || text.starts_with(&unlogged))
    };
    all.iter().filter_map(|text| change(text, makes)).collect()
}

#[test]
fn a_migration_takes_nothing_from_the_version_before() {
    for name in tree::stems("schema/postgres", "sql") {
        for found in changes_in(&tree::read(&format!("schema/postgres/{name}.sql"))) {
            let is_known =
                CHANGES.iter().any(|(known, start, _)| *known == name && found.starts_with(start));
            assert!(
                is_known,
                "{name}: nodes of the version before are still running: expand now, contract in \
                 a later release, or say in CHANGES why they do not notice: {found}"
            );
        }
    }
    for (name, start, _) in CHANGES {
        let script = tree::read(&format!("schema/postgres/{name}.sql"));
        let is_there = changes_in(&script).iter().any(|found| found.starts_with(start));
        assert!(is_there, "{name} does not do this any more: {start}");
    }
}

#[test]
fn what_takes_something_away_is_seen() {
    for statement in [
        "drop function engine.draw_v1",
        "alter table engine.event drop column data",
        "alter table engine.event rename column data to body",
        "alter table engine.event add column size int4 not null",
        "alter table engine.event alter column data set not null",
        "alter table engine.event add constraint small check (size < 10)",
        "create unique index event_twice on engine.event (tenant)",
        "create or replace function engine.claim_v1() returns int8 language sql",
        "truncate engine.rate",
        "delete from engine.share",
        "update engine.node set alive = false",
        "revoke select on engine.event from public",
        "create trigger kept before delete on engine.event for each row execute function f()",
        "do",
    ] {
        let script = format!("-- why\n{statement} $$ body; $$;");
        assert_eq!(changes_in(&script).len(), 1, "{statement}");
    }
    let harmless = "create table engine.new (id int4); alter table engine.new add unique (id);
        create unique index new_id on engine.new (id);
        alter table engine.event add column size int4, add column kind int2 not null default 0;
        create function engine.claim_v2() returns int8 as $$ delete from engine.event; $$;";
    assert_eq!(changes_in(harmless), Vec::<String>::new());
}
