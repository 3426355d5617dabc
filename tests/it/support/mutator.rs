//! Makes hostile inputs out of ordinary ones, always the same ones: a case is known by its number,
//! and can be made again.
//!
//! `ACTIONS_TEST_CASES=100` makes a hundred times as many; `ACTIONS_TEST_CASE=17` makes one.

use serde_json::{Map, Value, json};

/// What happens to a text more than this long is of no interest: limits refuse it unread.
const BYTES_MAX: usize = 200_000;
/// Slower is a way to hold up others, also for a busy machine and a program that is not optimised.
const SECONDS_MAX: u64 = 10;

/// Throws the same numbers for the same seed (`SplitMix64`).
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// 0 to `end`, without it.
    pub fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { usize::try_from(self.number() % end as u64).unwrap() }
    }

    pub fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    pub fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

/// Runs `try_one` with the cases of a target. Says which one it was when it panics.
pub fn each_case(target: &'static str, cases: u64, mut try_one: impl FnMut(Chance)) {
    for case in numbers(cases) {
        let told = Told::begin(target, case);
        try_one(Chance::new(seed_of(target, case)));
        told.end();
    }
}

/// As [`each_case`], for what waits.
pub async fn each_case_of(target: &'static str, cases: u64, mut try_one: impl AsyncFnMut(Chance)) {
    for case in numbers(cases) {
        let told = Told::begin(target, case);
        try_one(Chance::new(seed_of(target, case))).await;
        told.end();
    }
}

fn numbers(cases: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var_os(name)?.to_str()?.parse::<u64>().ok();
    match number("ACTIONS_TEST_CASE") {
        Some(case) => case..case + 1,
        None => 0..cases * number("ACTIONS_TEST_CASES").unwrap_or(1),
    }
}

fn seed_of(target: &str, case: u64) -> u64 {
    let hash = target.bytes().fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    Chance::new(hash ^ case).number()
}

/// Tells the case's number when the test ends within it.
struct Told {
    target: &'static str,
    case: u64,
    began: tokio::time::Instant,
}

impl Told {
    fn begin(target: &'static str, case: u64) -> Self {
        Self { target, case, began: tokio::time::Instant::now() }
    }

    fn end(self) {
        let took = self.began.elapsed();
        assert!(took.as_secs() < SECONDS_MAX, "it took {took:?}");
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}: ACTIONS_TEST_CASE={} makes it again", self.target, self.case);
        }
    }
}

/// Texts that have broken somebody's program before.
pub const NAUGHTY: &[&str] = &[
    "",
    " ",
    "\0",
    "\t",
    "\r\n",
    "\u{7f}",
    "\u{85}",
    "\u{a0}",
    "\u{feff}",
    "\u{202e}",
    "\u{2028}",
    "\u{fffd}",
    "\u{ffff}",
    "\u{10ffff}",
    "é",
    "e\u{301}",
    "ß",
    "ﬀ",
    "İ",
    "ı",
    "🦀",
    "👩‍👩‍👧‍👦",
    "田中さん",
    "null",
    "undefined",
    "true",
    "NaN",
    "Infinity",
    "-0",
    "0x1F",
    "1e309",
    "-1e309",
    "1e-400",
    "00",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "-1",
    "0.1",
    "99999999999999999999999999999999999999",
    "..",
    "../../etc/passwd",
    "%2e%2e%2f",
    "%00",
    "%",
    "%zz",
    "~",
    "~1",
    "~0",
    "/",
    "//",
    "\\",
    "'",
    "\"",
    "`",
    "''",
    "\"\"",
    "' or 1=1 --",
    "'; drop table events; --",
    "\\u0000",
    "\\ud800",
    "{{7*7}}",
    "{{ data }}",
    "${7*7}",
    "#{x}",
    "<script>alert(1)</script>",
    "<!--",
    "]]>",
    "$(id)",
    "`id`",
    "| id",
    "; id",
    "=1+1",
    "@x",
    "*",
    "**",
    "?",
    "[",
    "]",
    "(",
    ")",
    "{",
    "}",
    "(?:",
    "(a+)+$",
    "a{1000}",
    "\\p{L}",
    "^$",
    "|",
    "-",
    "--",
    "_",
    ":",
    ";",
    ",",
    ".",
    "&",
    "=",
    "+",
    "#",
    "!",
    "<",
    ">",
    "9999-12-31T23:59:59Z",
    "0000-00-00T00:00:00Z",
    "-262143-01-01T00:00:00Z",
    "2016-12-31T23:59:60Z",
    "1d",
    "-1s",
    "99999999999999999999d",
    "* * * * *",
    "*/0 * * * *",
    "pg_catalog",
    "con",
    "__proto__",
    "constructor",
    "toString",
    "admin",
    "acme",
    "00000000-0000-0000-0000-000000000000",
];

/// Changes an ordinary text in a few places.
pub fn mutated(chance: &mut Chance, seeds: &[&str], words: &[&str]) -> Vec<u8> {
    let mut text = chance.pick(seeds).as_bytes().to_vec();
    // Mostly in one or two: what differs too much is refused at its first letter.
    let often = chance.below(6) + 1;
    for _ in 0..=chance.below(often) {
        mutate(chance, &mut text, seeds, words);
        text.truncate(BYTES_MAX);
    }
    if std::env::var_os("ACTIONS_TEST_CASE").is_some() {
        eprintln!("{}", text.escape_ascii());
    }
    text
}

/// As [`mutated`], and UTF-8 again.
pub fn mutated_text(chance: &mut Chance, seeds: &[&str], words: &[&str]) -> String {
    String::from_utf8_lossy(&mutated(chance, seeds, words)).into_owned()
}

fn mutate(chance: &mut Chance, text: &mut Vec<u8>, seeds: &[&str], words: &[&str]) {
    let (start, end) = {
        let (one, other) = (chance.below(text.len() + 1), chance.below(text.len() + 1));
        (one.min(other), one.max(other))
    };
    match chance.below(11) {
        0 if !text.is_empty() => {
            let at = chance.below(text.len());
            text[at] ^= 1 << chance.below(8);
        }
        1 if !text.is_empty() => {
            let at = chance.below(text.len());
            text[at] = [0, 1, 0x7F, 0x80, 0xFF, b'"', b'\\', b'{', b'['][chance.below(9)];
        }
        2 => drop(text.drain(start..end.min(start + 16))),
        3 => text.truncate(start),
        4 => {
            let part = text[start..end.min(start + 32)].to_vec();
            text.splice(start..start, part);
        }
        // Deep and long: what a parser follows by recursion, or copies.
        5 if chance.one_in(4) => {
            let part = text[start..end.min(start + 4)].to_vec();
            let part = if part.is_empty() { chance.pick(words).as_bytes().to_vec() } else { part };
            text.splice(start..start, part.repeat(1 << chance.below(15)));
        }
        6 => {
            let other = chance.pick(seeds).as_bytes();
            let from = chance.below(other.len() + 1);
            text.splice(start..end, other[from..].iter().copied());
        }
        7 => {
            let is_digit = |byte: &u8| byte.is_ascii_digit();
            if let Some(at) = text.iter().position(is_digit) {
                let length = text[at..].iter().take_while(|byte| is_digit(byte)).count();
                let number =
                    chance.pick(&["0", "-1", "1e400", "4294967296", "0.5", "9223372036854775808"]);
                text.splice(at..at + length, number.bytes());
            }
        }
        8 => {
            let word = chance.pick(NAUGHTY);
            text.splice(start..start, word.bytes());
        }
        _ => {
            let word = chance.pick(words);
            let end = if chance.one_in(2) { start } else { end.min(start + word.len()) };
            text.splice(start..end, word.bytes());
        }
    }
}

/// Changes a tree in a few places: other kinds, missing members, more members, extreme values.
pub fn mutated_tree(chance: &mut Chance, seed: &Value) -> Value {
    let mut tree = seed.clone();
    for _ in 0..=chance.below(4) {
        mutate_tree(chance, &mut tree, 0);
    }
    tree
}

fn mutate_tree(chance: &mut Chance, tree: &mut Value, depth: usize) {
    let goes_down = depth < 8 && !chance.one_in(3);
    match tree {
        Value::Object(fields) if goes_down && !fields.is_empty() => {
            let at = chance.below(fields.len());
            let name = fields.keys().nth(at).unwrap().clone();
            match chance.below(8) {
                0 => drop(fields.remove(&name)),
                1 => {
                    let value = fields.remove(&name).unwrap();
                    fields.insert(chance.pick(NAUGHTY).to_owned(), value);
                }
                2 => drop(fields.insert(chance.pick(NAUGHTY).to_owned(), odd(chance, 0))),
                _ => mutate_tree(chance, fields.get_mut(&name).unwrap(), depth + 1),
            }
        }
        Value::Array(items) if goes_down && !items.is_empty() => {
            let at = chance.below(items.len());
            match chance.below(6) {
                0 => drop(items.remove(at)),
                1 => {
                    let again = vec![items[at].clone(); 1 << chance.below(11)];
                    items.splice(at..at, again);
                }
                2 => items.push(odd(chance, 0)),
                _ => mutate_tree(chance, &mut items[at], depth + 1),
            }
        }
        other @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_)) => *other = odd(chance, 0),
    }
}

/// A value that nobody expects.
fn odd(chance: &mut Chance, depth: usize) -> Value {
    match chance.below(13) {
        0 => Value::Null,
        1 => json!(chance.one_in(2)),
        2 => json!([0, -1, 1, i64::MAX, i64::MIN][chance.below(5)]),
        3 => json!(u64::MAX),
        4 => json!([0.5, -0.0, 1e308, f64::MIN_POSITIVE][chance.below(4)]),
        5 => json!("x".repeat(1 << chance.below(16))),
        6 if depth < 3 => {
            Value::Array((0..chance.below(4)).map(|_| odd(chance, depth + 1)).collect())
        }
        7 if depth < 3 => {
            let field =
                |chance: &mut Chance| (chance.pick(NAUGHTY).to_owned(), odd(chance, depth + 1));
            let fields: Map<_, _> = (0..chance.below(4)).map(|_| field(chance)).collect();
            Value::Object(fields)
        }
        8 => {
            let deep = (0..chance.below(80)).fold(json!(1), |inner, _| json!([inner]));
            json!({ "deep": deep })
        }
        _ => json!(chance.pick(NAUGHTY)),
    }
}
