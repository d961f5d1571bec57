//! `homeport demo`: the real agent on three computers of a scratch directory, narrated.
//!
//! Directory and shares are files and folders; everything else is what a fleet runs: the same
//! turns, the same worker process, the same journal.
#![expect(clippy::disallowed_methods, reason = "edge: sets the stage on disk")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use homeport_policy::unc::Unc;
use homeport_sync::Resolve;

use super::service::open;
use super::{Answer, Said, Stopped};
use crate::agent::Agent;
use crate::cli::exit::Exit;
use crate::control::{Answer as Reply, Command};
use crate::perform::perform;
use crate::plan::Occasion;
use crate::settings::Settings;
use crate::wish::Wish;

/// With `--json`, standard output is for the result alone, and the story goes to standard error.
static QUIET: AtomicBool = AtomicBool::new(false);

macro_rules! tell {
    ($($part:tt)*) => {
        match QUIET.load(Ordering::Relaxed) {
            true => eprintln!($($part)*),
            false => println!($($part)*),
        }
    };
}

const LDIF: &str = include_str!("demo_files/corp.ldif");
const POLICY: &str = include_str!("demo_files/staff.toml");
const USER: &str = "alice";

/// The stage cannot be set, or the play went wrong.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("cannot {what} {path}")]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error("the demo expected {0}")]
    Unexpected(String),
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DemoError {
    move |source| DemoError::Io { what, path: path.to_owned(), source }
}

/// Plays the demo in an empty directory.
pub(super) fn run(directory: Option<PathBuf>, json: bool) -> Answer {
    QUIET.store(json, Ordering::Relaxed);
    let root = stage(directory).map_err(|error| Stopped::environment(&error))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Stopped::environment(&error))?;
    runtime.block_on(Play { root: root.clone() }.play())?;
    tell!("\nLook around:");
    for (what, path) in [
        ("Alice's home at her desk", "DESK-1/homes/alice"),
        ("her cache and journal", "DESK-1/homes/alice/.local/share/homeport"),
        ("the file server", "server"),
        ("the policy, the directory", "policy.d"),
    ] {
        tell!("  {:<28} {}", what, root.join(path).display());
    }
    let settings = root.join("DESK-1/agent.toml");
    tell!("\nAsk it yourself:");
    for command in ["status", "plan alice", "policy explain --user alice --computer CONF-2"] {
        tell!("  homeport --settings {} {command}", settings.display());
    }
    let json = serde_json::json!({ "directory": root });
    Ok(Said { text: String::new(), json, exit: Exit::Ok, coloured: false, aside: false })
}

fn stage(directory: Option<PathBuf>) -> Result<PathBuf, DemoError> {
    let root = match directory {
        Some(directory) => {
            fs::create_dir_all(&directory).map_err(io_error("make", &directory))?;
            let mut list = fs::read_dir(&directory).map_err(io_error("list", &directory))?;
            if list.next().is_some() {
                let what = format!("{} to be empty", directory.display());
                return Err(DemoError::Unexpected(what));
            }
            fs::canonicalize(&directory).map_err(io_error("resolve", &directory))?
        }
        None => {
            let made = tempfile::Builder::new().prefix("homeport-demo-").tempdir();
            made.map_err(io_error("make a directory in", Path::new("/tmp")))?.keep()
        }
    };
    write(&root.join("corp.ldif"), LDIF)?;
    write(&root.join("policy.d/staff.toml"), POLICY)?;
    for share in ["server/home", "server/profiles"] {
        let share = root.join(share);
        fs::create_dir_all(&share).map_err(io_error("make", &share))?;
    }
    for computer in ["DESK-1", "LT-7", "CONF-2"] {
        let home = root.join(computer).join("homes").join(USER);
        fs::create_dir_all(&home).map_err(io_error("make", &home))?;
        write(&root.join(computer).join("agent.toml"), &settings(computer, &root))?;
    }
    let home = root.join("DESK-1/homes/alice");
    write(&home.join("Documents/Thesis.odt"), "Chapter 1\n")?;
    write(&home.join("Documents/Letters/Aunt Jo.odt"), "Dear Jo,\n")?;
    write(&home.join(".config/editor.conf"), "theme = dark\n")?;
    Ok(root)
}

fn settings(computer: &str, root: &Path) -> String {
    let server = root.join("server");
    let server = server.display();
    format!(
        r#"state-dir = "state"
policy-dir = "../policy.d"

[log]
level = "error"

[computer]
name = "{computer}"

[directory]
kind = "file"
path = "../corp.ldif"

[network]
cost-file = "network-cost"
ask-manager = false

[homes]
root = "homes"

[[mount]]
unc = '\\files\home'
path = '{server}/home'
mounted = false

[[mount]]
unc = '\\files\profiles'
path = '{server}/profiles'
mounted = false
"#
    )
}

fn write(path: &Path, text: &str) -> Result<(), DemoError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(io_error("make", parent))?;
    }
    fs::write(path, text).map_err(io_error("write", path))
}

struct Play {
    root: PathBuf,
}

impl Play {
    async fn play(&self) -> Result<(), Stopped> {
        tell!("A file server, a directory and three computers in {}", self.root.display());
        let mut desk = self.computer("DESK-1")?;
        self.first_sign_in(&mut desk).await?;
        self.server_away(&mut desk).await?;
        self.conference_room().await?;
        self.metered(&mut desk).await?;
        self.laptop(&mut desk).await?;
        self.conflict(&mut desk).await?;
        self.policy_withdrawn(&mut desk).await
    }

    fn computer(&self, name: &str) -> Result<Agent, Stopped> {
        let path = self.root.join(name).join("agent.toml");
        let text = fs::read_to_string(&path).map_err(|error| Stopped::environment(&error))?;
        open(Settings::parse(&path, &text).map_err(|error| Stopped::environment(&error))?)
    }

    fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    async fn turn(&self, agent: &mut Agent, occasion: Occasion) -> Result<Reply, Stopped> {
        let (user, cause) = (Some(USER.to_owned()), "the demo".to_owned());
        let command = Command::Turn { user, occasion, wish: Wish::default(), dry: false, cause };
        self.tell(perform(agent, command).await)
    }

    fn tell(&self, reply: Reply) -> Result<Reply, Stopped> {
        for line in reply.text.lines() {
            tell!("    {line}");
        }
        match &reply.error {
            Some(error) => Err(Stopped::new(error, "please report this", Exit::Internal)),
            None => Ok(reply),
        }
    }

    /// Shows a file, or that it is not there; stops the play if that is not what it should be.
    fn see(&self, below: &str, expected: Option<&str>) -> Result<(), Stopped> {
        let path = self.path(below);
        let found = match fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(Stopped::environment(&error)),
        };
        match &found {
            Some(text) => tell!("    → {below}: {:?}", text.trim_end()),
            None => tell!("    → {below}: not there"),
        }
        if found.as_deref() == expected {
            return Ok(());
        }
        let error = DemoError::Unexpected(format!("{below} to be {expected:?}, not {found:?}"));
        Err(Stopped { exit: Exit::Internal, ..Stopped::environment(&error) })
    }

    fn put(&self, below: &str, text: &str) -> Result<(), Stopped> {
        tell!("    ← {below}: {:?}", text.trim_end());
        write(&self.path(below), text).map_err(|error| Stopped::environment(&error))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), Stopped> {
        fs::rename(self.path(from), self.path(to)).map_err(|error| Stopped::environment(&error))
    }

    async fn first_sign_in(&self, desk: &mut Agent) -> Result<(), Stopped> {
        say(1, "Alice signs in at DESK-1, one of her primary computers.");
        self.turn(desk, Occasion::Logon).await?;
        self.see("DESK-1/homes/alice/Documents/Thesis.odt", Some("Chapter 1\n"))?;
        self.see("server/home/alice/Documents/Thesis.odt", Some("Chapter 1\n"))
    }

    async fn server_away(&self, desk: &mut Agent) -> Result<(), Stopped> {
        say(2, "The file server goes away. She works on, at the speed of her own disk.");
        self.rename("server", "server (away)")?;
        self.put("DESK-1/homes/alice/Documents/Thesis.odt", "Chapter 1\nChapter 2\n")?;
        self.turn(desk, Occasion::Background).await?;
        self.show_caches(desk);
        tell!("  It comes back; nobody has to do anything.");
        self.rename("server (away)", "server")?;
        self.turn(desk, Occasion::Background).await?;
        self.see("server/home/alice/Documents/Thesis.odt", Some("Chapter 1\nChapter 2\n"))
    }

    fn show_caches(&self, desk: &Agent) {
        for user in desk.status.users.values() {
            for cache in &user.caches {
                let (path, mode, items) = (&cache.path, &cache.mode, cache.pending_items);
                tell!("    status: {path} is offline [{mode}]; {items} change is only here");
                tell!("            {}", cache.what_would_change_it);
            }
        }
    }

    async fn conference_room(&self) -> Result<(), Stopped> {
        say(3, "She signs in at CONF-2, a computer in a meeting room. Nothing comes down.");
        let mut room = self.computer("CONF-2")?;
        self.turn(&mut room, Occasion::Logon).await?;
        for line in &room.status.users.get(USER).map(|u| u.decisions.clone()).unwrap_or_default() {
            tell!("    {}: {}", line.about, line.text);
            for because in &line.because {
                tell!("        because {because}");
            }
        }
        self.see("CONF-2/homes/alice/Documents/Thesis.odt", None)?;
        self.see("CONF-2/homes/alice/.config/editor.conf", None)?;
        self.turn(&mut room, Occasion::Logoff).await.map(drop)
    }

    async fn metered(&self, desk: &mut Agent) -> Result<(), Stopped> {
        say(4, "Her computer roams on another provider's network: background sync stops.");
        self.put("DESK-1/network-cost", "roaming\n")?;
        self.put("DESK-1/homes/alice/Documents/Thesis.odt", "Chapter 1\nChapter 2\nChapter 3\n")?;
        self.turn(desk, Occasion::Background).await?;
        self.see("server/home/alice/Documents/Thesis.odt", Some("Chapter 1\nChapter 2\n"))?;
        tell!("  She asks for a sync herself: that always works.");
        self.turn(desk, Occasion::Manual).await?;
        let three = "Chapter 1\nChapter 2\nChapter 3\n";
        self.see("server/home/alice/Documents/Thesis.odt", Some(three))?;
        tell!("  Back in the office, background sync runs again.");
        self.put("DESK-1/network-cost", "unrestricted\n")?;
        self.put("DESK-1/homes/alice/Documents/Notes.txt", "from the train\n")?;
        self.turn(desk, Occasion::Background).await?;
        self.see("server/home/alice/Documents/Notes.txt", Some("from the train\n"))
    }

    async fn laptop(&self, desk: &mut Agent) -> Result<(), Stopped> {
        say(5, "She signs out; at her laptop LT-7 her documents and settings are there.");
        self.turn(desk, Occasion::Logoff).await?;
        self.see("server/profiles/alice.Linux/.config/editor.conf", Some("theme = dark\n"))?;
        let mut laptop = self.computer("LT-7")?;
        self.turn(&mut laptop, Occasion::Logon).await?;
        self.see("LT-7/homes/alice/.config/editor.conf", Some("theme = dark\n"))?;
        self.see("LT-7/homes/alice/Documents/Notes.txt", Some("from the train\n"))?;
        self.put("LT-7/homes/alice/.config/editor.conf", "theme = light\n")?;
        self.turn(&mut laptop, Occasion::Logoff).await?;
        tell!("  Back at her desk:");
        self.turn(desk, Occasion::Logon).await?;
        self.see("DESK-1/homes/alice/.config/editor.conf", Some("theme = light\n"))
    }

    async fn conflict(&self, desk: &mut Agent) -> Result<(), Stopped> {
        say(6, "Two people change the same letter. Both versions stay until one decides.");
        let (here, there) = ("DESK-1/homes/alice/Documents/", "server/home/alice/Documents/");
        self.put(&format!("{here}Letters/Aunt Jo.odt"), "Dear Jo, all is well.\n")?;
        self.put(&format!("{there}Letters/Aunt Jo.odt"), "Dear Jo, please call.\n")?;
        self.turn(desk, Occasion::Background).await?;
        self.see(&format!("{here}Letters/Aunt Jo.odt"), Some("Dear Jo, all is well.\n"))?;
        self.see(&format!("{there}Letters/Aunt Jo.odt"), Some("Dear Jo, please call.\n"))?;
        let path = r"\\files\home\alice\Documents\Letters\Aunt Jo.odt";
        tell!("  $ homeport conflicts resolve '{path}' --keep both");
        let path = Unc::parse(path).map_err(|error| Stopped::environment(&error))?;
        let command = Command::Settle { user: USER.to_owned(), path, how: Resolve::KeepBoth };
        self.tell(perform(desk, command).await)?;
        let letters = self.path(&format!("{there}Letters"));
        let list = fs::read_dir(&letters).map_err(|error| Stopped::environment(&error))?;
        let mut names: Vec<String> = list
            .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
            .collect();
        names.sort();
        tell!("    → {there}Letters: {}", names.join(", "));
        match names.len() {
            2 => Ok(()),
            _ => Err(Stopped::environment(&DemoError::Unexpected("two letters".to_owned()))),
        }
    }

    async fn policy_withdrawn(&self, desk: &mut Agent) -> Result<(), Stopped> {
        say(7, "The administrator withdraws the policy. What it said of its end holds: come home.");
        self.put("policy.d/staff.toml", NO_REDIRECTION)?;
        self.turn(desk, Occasion::Refresh).await?;
        let home = "DESK-1/homes/alice/Documents";
        let meta = fs::symlink_metadata(self.path(home));
        let meta = meta.map_err(|error| Stopped::environment(&error))?;
        let kind = if meta.is_dir() { "a plain folder again" } else { "still a link" };
        tell!("    → {home}: {kind}");
        self.see(&format!("{home}/Notes.txt"), Some("from the train\n"))?;
        self.see("server/home/alice/Documents/Notes.txt", Some("from the train\n"))
    }
}

/// The next version of the object, which redirects nothing.
const NO_REDIRECTION: &str = "schema = 1\n\n[policy]\nid = \"staff\"\nversion = 2\n";

fn say(number: u32, text: &str) {
    tell!("\n{number}. {text}");
}
