//! The one table of exit codes.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did what was asked.
    Ok,
    /// A mistake in this program.
    Internal,
    /// The command line makes no sense.
    Usage,
    /// The policy has errors, or was rejected.
    Policy,
    /// Settings, directory, state or a file cannot be used.
    Environment,
    /// Something was refused, or the brake holds it; what is told as done is done.
    Refused,
    /// A step failed; nothing is lost.
    Failed,
}

/// Every exit code with its meaning, for the documentation.
pub const TABLE: &[(Exit, u8, &str)] = &[
    (
        Exit::Ok,
        0,
        "done, or nothing to do; also with open conflicts, and with shares that are away if no path names them",
    ),
    (Exit::Internal, 1, "a mistake in Homeport; please report it"),
    (Exit::Usage, 2, "the command line makes no sense, or names no user or open conflict"),
    (Exit::Policy, 3, "the policy has errors, or was rejected"),
    (Exit::Environment, 4, "settings, directory, state or a file cannot be used"),
    (
        Exit::Refused,
        5,
        "something was refused, or is held until a person releases it, and was not touched",
    ),
    (Exit::Failed, 6, "something failed, or a named share is away; nothing is lost"),
];

/// The number that the shell sees.
pub fn code(exit: Exit) -> u8 {
    TABLE.iter().find(|(known, _, _)| *known == exit).map_or(1, |(_, code, _)| *code)
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(code(exit))
    }
}

/// The table in Markdown.
pub fn markdown() -> String {
    let mut out = String::from("| code | meaning |\n|---|---|\n");
    for (_, code, meaning) in TABLE {
        out.push_str(&format!("| {code} | {meaning} |\n"));
    }
    out
}
