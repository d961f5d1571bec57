//! Writes LDIF (RFC 2849): content records for an export, change records for a person to review.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Where lines are folded, in characters; what other programs fold at.
const LINE_CHARS_MAX: usize = 76;

/// The first line of a file.
pub const VERSION: &str = "version: 1\n";

/// Adds one `name: value` line; a value that is no safe text goes in as base64.
pub fn attribute(out: &mut String, name: &str, value: &[u8]) {
    let line = match std::str::from_utf8(value) {
        Ok(text) if is_safe(text) => format!("{name}: {text}"),
        _ => format!("{name}:: {}", STANDARD.encode(value)),
    };
    // A safe line is ASCII, so that it may be cut anywhere.
    let (first, rest) = line.split_at(line.len().min(LINE_CHARS_MAX));
    out.push_str(first);
    for part in rest.as_bytes().chunks(LINE_CHARS_MAX - 1) {
        out.push_str("\n ");
        out.push_str(&String::from_utf8_lossy(part));
    }
    out.push('\n');
}

/// Adds a comment line; what would end the line is left out.
pub fn comment(out: &mut String, text: &str) {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    out.push_str("# ");
    out.push_str(&text);
    out.push('\n');
}

/// SAFE-STRING of RFC 2849, without a space at the end, which editors take away.
fn is_safe(text: &str) -> bool {
    let starts_well = !text.starts_with([' ', ':', '<']);
    let is_safe_byte = |byte: u8| byte.is_ascii() && !matches!(byte, 0 | b'\n' | b'\r');
    starts_well && !text.ends_with(' ') && text.bytes().all(is_safe_byte)
}
