//! The command line: reads what is asked, has it done, prints the answer.

mod args;
mod args_directory;
mod args_primary;
mod args_sync;
pub mod demo;
mod directory;
mod doctor;
pub mod exit;
mod interactive;
mod offline;
mod pam;
mod place;
mod policy;
mod primary;
mod progress;
mod run;
mod service;

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

use clap::{CommandFactory as _, Parser as _};

use crate::outcome::chain;
use args::{Cli, Command};
use exit::Exit;

/// What a command has to say.
#[derive(Debug)]
pub struct Said {
    /// For people; printed to standard output.
    text: String,
    /// For programs, with `--json`.
    json: serde_json::Value,
    /// How it ended.
    exit: Exit,
    /// The text has colours of our own, and everything foreign in it is escaped already.
    coloured: bool,
    /// Standard output is taken by something else; this goes to standard error.
    aside: bool,
}

/// A command that could not be carried out: printed once, with all causes.
#[derive(Debug)]
pub struct Stopped {
    message: String,
    hint: Option<String>,
    exit: Exit,
}

impl Stopped {
    fn environment(error: &dyn std::error::Error) -> Self {
        Self { message: chain(error), hint: None, exit: Exit::Environment }
    }

    fn new(message: impl Into<String>, hint: impl Into<String>, exit: Exit) -> Self {
        Self { message: message.into(), hint: Some(hint.into()), exit }
    }
}

type Answer = Result<Said, Stopped>;

/// Carries out the command line; gives how it ended.
pub fn main() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too, and are no mistakes.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Ok };
            let _ = error.print();
            return exit;
        }
    };
    let json = cli.json;
    match carry_out(cli) {
        Ok(said) => {
            let text = match json {
                true => format!("{:#}\n", said.json),
                false if said.coloured => said.text,
                false => plain(&said.text),
            };
            match said.aside {
                true => complain(&text),
                false => print(&text),
            }
            said.exit
        }
        Err(Stopped { message, hint, exit }) => {
            if json {
                let code = exit::code(exit);
                let error = serde_json::json!({ "error": message, "hint": hint, "exit": code });
                print(&format!("{error:#}\n"));
            }
            let hint = hint.map(|hint| format!("  help: {hint}\n")).unwrap_or_default();
            complain(&plain(&format!("error: {message}\n{hint}")));
            exit
        }
    }
}

/// Names of files, accounts and policies come from anybody: what would steer a terminal, or turn the
/// direction of writing, is shown as an escape. Colour is only ever our own.
fn plain(text: &str) -> String {
    let steers = |c: char| {
        let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        (c.is_control() && c != '\n' && c != '\t') || turns
    };
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{1b}' | '\r' => out.extend(c.escape_default()),
            c if steers(c) => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

/// Standard output is data. A reader that went away is no error.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let newline = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.write_all(newline.as_bytes()));
}

/// Standard error is talk.
fn complain(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Colour on a terminal, unless NO_COLOR says otherwise.
#[expect(clippy::disallowed_methods, reason = "edge: NO_COLOR is an environment variable")]
fn colour() -> bool {
    let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !forbidden && std::io::stdout().is_terminal()
}

fn carry_out(cli: Cli) -> Answer {
    let Cli { settings, json, command } = cli;
    match command {
        Command::Policy(command) => policy::carry_out(command, &settings, colour() && !json),
        Command::PrimaryComputers(command) => primary::carry_out(&command, &settings),
        Command::Directory(command) => directory::carry_out(&command, &settings),
        Command::Doctor(command) => doctor::carry_out(&command, &settings),
        Command::Completions { shell } => {
            let mut out = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "homeport", &mut out);
            let text = String::from_utf8_lossy(&out).into_owned();
            Ok(Said {
                json: text.clone().into(),
                text,
                exit: Exit::Ok,
                coloured: false,
                aside: false,
            })
        }
        Command::Man { directory } => man(&directory),
        Command::Pam(args) => Ok(pam::attend(&settings, &args)),
        Command::Worker(args) => service::worker(&args),
        Command::Demo(args) => demo::run(args.dir, json),
        other => service::carry_out(other, &settings, json),
    }
}

#[expect(clippy::disallowed_methods, reason = "edge: writes the manual pages")]
fn man(directory: &PathBuf) -> Answer {
    std::fs::create_dir_all(directory).map_err(|error| Stopped::environment(&error))?;
    clap_mangen::generate_to(Cli::command(), directory)
        .map_err(|error| Stopped::environment(&error))?;
    let text = format!("manual pages are in {}\n", directory.display());
    Ok(Said { json: text.clone().into(), text, exit: Exit::Ok, coloured: false, aside: false })
}

/// Every command with its one-line description, for the documentation.
pub fn commands_markdown() -> String {
    let mut out = String::from("| command | what it does |\n|---|---|\n");
    let mut rows = |prefix: &str, command: &clap::Command| {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        out.push_str(&format!("| `{prefix} {}` | {about} |\n", command.get_name()));
    };
    let root = Cli::command();
    for command in root.get_subcommands().filter(|command| !command.is_hide_set()) {
        let subcommands: Vec<_> = command.get_subcommands().collect();
        // `doctor` does something by itself, and has subcommands as well.
        if subcommands.is_empty() || command.get_positionals().next().is_some() {
            rows("homeport", command);
        }
        for sub in subcommands {
            rows(&format!("homeport {}", command.get_name()), sub);
        }
    }
    out
}

/// The reference page: everything that has a closed list, from those lists.
pub fn reference_page() -> String {
    use homeport_policy::diagnostic::CODES;
    use homeport_policy::reason::REASONS;
    use homeport_policy::reference;

    let mut page = String::from(
        "# Homeport reference\n\nGenerated by `homeport policy schema --format markdown`.\n",
    );
    let mut section = |title: &str, body: &str| {
        page.push_str(&format!("\n## {title}\n\n{body}"));
    };
    section("Commands", &commands_markdown());
    section("Exit codes", &exit::markdown());
    section("Settings", &reference::markdown());
    section("Known folders", &reference::folders_markdown());
    let mut rows = String::from("| reason | meaning |\n|---|---|\n");
    for reason in REASONS {
        rows.push_str(&format!("| `{}` | {} |\n", reason.code(), reason.text()));
    }
    section("Reasons", &rows);
    let mut rows = String::from("| diagnostic | meaning |\n|---|---|\n");
    for code in CODES {
        rows.push_str(&format!("| `{code}` | {} |\n", code.meaning()));
    }
    section("Diagnostics of policy files", &rows);
    section("Metrics", &crate::report::names::markdown());
    page
}
