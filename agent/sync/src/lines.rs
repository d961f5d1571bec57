//! What a run tells while it works: events, as the documented text and as JSON.
//!
//! The text is `Reason:Result:ResultText:[Path]`, as `Win32_OfflineFilesCache.Synchronize` hands
//! it to `OnProgress`. The documentation says that the result is an HRESULT and zero for success;
//! it is written as `0x%08X`, the usual form of one, and read in decimal as well.
//!
//! A name may hold a line break, and could so forge an event of its own. So control characters and
//! line breaks of a path are written as in a URL, `%0A`, and a percent sign as `%25`; both are read
//! back. The JSON holds the path as it is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::codes::{ResultCode, code_of};
use crate::report::{Did, ItemResult, Verdict};

/// What an event tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Reason {
    /// The run begins; the first event, once.
    Begin = 0,
    /// The run is over; the last event, once, with the result of the run.
    End = 1,
    /// An item is taken up.
    ItemBegin = 2,
    /// An item is done with, with its result.
    ItemResult = 3,
}

impl Reason {
    /// Every reason, by number.
    pub const ALL: [Self; 4] = [Self::Begin, Self::End, Self::ItemBegin, Self::ItemResult];

    /// The documented number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Whether it is about one item, and so has a path.
    #[must_use]
    pub const fn is_item(self) -> bool {
        matches!(self, Self::ItemBegin | Self::ItemResult)
    }
}

/// One event. As JSON it is one line; keys without a value are left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Event {
    /// What it tells.
    pub reason: Reason,
    /// The result; `Ok` at a beginning.
    pub code: ResultCode,
    /// The code as an HRESULT, for whoever reads the JSON. The text always tells it.
    #[serde(default)]
    pub hresult: u32,
    /// The full path of the item; `None` for the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Why it was not done, in the engine's words. The text does not tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What was to be done with the item. The text does not tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Did>,
    /// File bytes that were carried, for the item or for the run. The text does not tell it.
    #[serde(default)]
    pub bytes: u64,
}

impl Event {
    /// The run begins.
    #[must_use]
    pub const fn begin() -> Self {
        Self::of_run(Reason::Begin, ResultCode::Ok, 0)
    }

    /// The run is over, with so many file bytes carried both ways.
    #[must_use]
    pub const fn end(code: ResultCode, bytes: u64) -> Self {
        Self::of_run(Reason::End, code, bytes)
    }

    /// An item is taken up.
    #[must_use]
    pub fn item_begin(path: impl Into<String>, action: Did) -> Self {
        Self {
            reason: Reason::ItemBegin,
            code: ResultCode::Ok,
            hresult: ResultCode::Ok.hresult(),
            path: Some(path.into()),
            message: None,
            action: Some(action),
            bytes: 0,
        }
    }

    /// An item is done with. `path` is its full path, and `bytes` how many were carried.
    #[must_use]
    pub fn item_result(path: impl Into<String>, item: &ItemResult, bytes: u64) -> Self {
        let code = code_of(&item.result);
        let message = match &item.result {
            Verdict::Failed { message, .. } => Some(message.clone()),
            Verdict::Skipped { why } => Some(why.text().to_owned()),
            _ => None,
        };
        Self {
            reason: Reason::ItemResult,
            code,
            hresult: code.hresult(),
            path: Some(path.into()),
            message,
            action: Some(item.action),
            bytes,
        }
    }

    const fn of_run(reason: Reason, code: ResultCode, bytes: u64) -> Self {
        let hresult = code.hresult();
        Self { reason, code, hresult, path: None, message: None, action: None, bytes }
    }

    /// The event as far as the text tells it: without message, action and bytes.
    #[must_use]
    pub fn as_told(&self) -> Self {
        let path = self.path.clone().filter(|path| self.reason.is_item() && !path.is_empty());
        Self { path, ..Self::of_run(self.reason, self.code, 0) }
    }
}

impl fmt::Display for Event {
    /// The documented text, without a line break at its end. A run has an empty path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.as_deref().filter(|_| self.reason.is_item()).unwrap_or_default();
        let (reason, code) = (self.reason.number(), self.code);
        write!(f, "{reason}:0x{:08X}:{}:[{}]", code.hresult(), code.text(), Escaped(path))
    }
}

/// A path without line breaks and control characters.
struct Escaped<'p>(&'p str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_odd = |c: char| c == '%' || c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        for part in self.0.split_inclusive(is_odd) {
            let odd = part.chars().next_back().filter(|c| is_odd(*c));
            f.write_str(part.trim_end_matches(is_odd))?;
            let mut bytes = [0; 4];
            let bytes = odd.map_or(&[][..], |odd| odd.encode_utf8(&mut bytes).as_bytes());
            bytes.iter().try_for_each(|byte| write!(f, "%{byte:02X}"))?;
        }
        Ok(())
    }
}

/// Reads a path as [`Escaped`] writes it; what is not written so stays as it is.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        let byte = match more {
            [a, b, ..] if *first == b'%' => {
                let digit = |digit: &u8| char::from(*digit).to_digit(16);
                digit(a).zip(digit(b)).and_then(|(a, b)| u8::try_from(a * 16 + b).ok())
            }
            _ => None,
        };
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &more[2..] } else { more };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

/// Why a text is no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// Parts are missing, or the brackets.
    #[error("{missing} is missing; an event is Reason:Result:ResultText:[Path]")]
    Incomplete {
        /// What is missing.
        missing: &'static str,
    },
    /// There is no such reason.
    #[error("{reason:?} is no reason; 0 Begin, 1 End, 2 ItemBegin, 3 ItemResult")]
    Reason {
        /// What stands there.
        reason: String,
    },
    /// The result is no number of 32 bits.
    #[error("{result:?} is no result; write an HRESULT such as 0x80070005, or 0")]
    Result {
        /// What stands there.
        result: String,
    },
    /// The result is one that is never reported.
    #[error("0x{hresult:08X} is no result of Homeport")]
    UnknownResult {
        /// The HRESULT.
        hresult: u32,
    },
    /// The event of a run names an item.
    #[error("the event is about the run, and names {path:?}")]
    UnexpectedPath {
        /// The path.
        path: String,
    },
}

/// Reads the documented text of an event.
///
/// The words of the result are not compared: they may be in another language. They end at the
/// first `:[`, and the path at the last `]`, so a path may hold both.
///
/// # Errors
/// If parts are missing, or reason or result are none.
pub fn parse(text: &str) -> Result<Event, LineError> {
    let missing = |missing| move || LineError::Incomplete { missing };
    let (reason, rest) = text.split_once(':').ok_or_else(missing("Result"))?;
    let (result, rest) = rest.split_once(':').ok_or_else(missing("ResultText"))?;
    let (_words, rest) = rest.split_once(":[").ok_or_else(missing("[Path]"))?;
    let path = rest.strip_suffix(']').ok_or_else(missing("the closing bracket"))?;
    let reason = read_reason(reason)?;
    let code = read_result(result)?;
    if !reason.is_item() && !path.is_empty() {
        return Err(LineError::UnexpectedPath { path: path.to_owned() });
    }
    let path = (!path.is_empty()).then(|| unescaped(path));
    Ok(Event { path, ..Event::of_run(reason, code, 0) })
}

fn read_reason(text: &str) -> Result<Reason, LineError> {
    let found = Reason::ALL.into_iter().find(|reason| reason.number().to_string() == text);
    found.ok_or_else(|| LineError::Reason { reason: text.to_owned() })
}

/// Reads an HRESULT in hexadecimal or decimal; scripts often write one as a negative number.
fn read_result(text: &str) -> Result<ResultCode, LineError> {
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    // The parsers of numbers would take a plus sign as well.
    let hresult = match hex {
        Some(digits) if digits.starts_with('+') => None,
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None if text.starts_with('+') => None,
        None => text.parse().ok().or_else(|| text.parse().ok().map(i32::cast_unsigned)),
    };
    let hresult = hresult.ok_or_else(|| LineError::Result { result: text.to_owned() })?;
    ResultCode::from_hresult(hresult).ok_or(LineError::UnknownResult { hresult })
}

impl FromStr for Event {
    type Err = LineError;

    fn from_str(text: &str) -> Result<Self, LineError> {
        parse(text)
    }
}
