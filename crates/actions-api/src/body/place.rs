//! Where in a JSON text a byte is: as line and column, and as a JSON pointer.

/// The byte at a parser's line and column, both from 1.
pub(super) fn offset_of(text: &str, line: usize, column: usize) -> usize {
    let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1));
    let start = starts.into_iter().nth(line.saturating_sub(1)).unwrap_or(text.len());
    (start + column).min(text.len())
}

/// Line and column of a byte, both from 1.
pub(super) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    (line, offset - start + 1)
}

enum Level {
    Object { key: Option<String>, expects_key: bool },
    Array { index: usize },
}

/// The JSON pointer of the value or key that ends at, or contains, a byte. A parser tells of a
/// last member's mistake when it is behind the object; `is_whole` says that the object itself is
/// meant.
pub(super) fn pointer_at(text: &str, offset: usize, is_whole: bool) -> String {
    let bytes = text.as_bytes();
    let mut levels: Vec<Level> = Vec::new();
    let mut at = 0;
    while at < offset.min(bytes.len()) {
        match bytes[at] {
            b'{' => levels.push(Level::Object { key: None, expects_key: true }),
            b'[' => levels.push(Level::Array { index: 0 }),
            b']' if at + 1 == offset => {}
            b'}' if at + 1 == offset && !is_whole && !is_item(&levels) => {}
            b'}' | b']' => {
                levels.pop();
            }
            b',' => match levels.last_mut() {
                Some(Level::Object { key, expects_key }) => (*key, *expects_key) = (None, true),
                Some(Level::Array { index }) => *index += 1,
                None => {}
            },
            b'"' => {
                let end = end_of_string(bytes, at);
                if let Some(Level::Object { key, expects_key: expects_key @ true }) =
                    levels.last_mut()
                {
                    *key = text.get(at..end).and_then(|raw| serde_json::from_str(raw).ok());
                    *expects_key = false;
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    let mut pointer = String::new();
    for level in levels {
        match level {
            Level::Object { key: Some(key), .. } => {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Level::Object { key: None, .. } => {}
            Level::Array { index } => {
                pointer.push('/');
                pointer.push_str(&index.to_string());
            }
        }
    }
    pointer
}

/// Whether the innermost level is an item of a list: then the item is meant.
fn is_item(levels: &[Level]) -> bool {
    matches!(levels, [.., Level::Array { .. }, _])
}

/// The byte behind the string that starts at `start`.
pub(super) fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}
