//! Commands that concern this computer: run, plan, apply, logon, logoff, sync, status, conflicts.
#![expect(clippy::disallowed_methods, reason = "edge: reads settings, finds its own program")]

use std::io::Read as _;
use std::path::Path;

use homeport_policy::unc::Unc;
use serde_json::json;

use super::args::{Command, Conflicts, Force, Keep, OccasionName};
use super::{Answer, Said, Stopped};
use crate::agent::Agent;
use crate::cli::exit::Exit;
use crate::clock::Clock;
use crate::control::{self, Command as Control};
use crate::jobs::resolve_word;
use crate::limits::SETTINGS_BYTES_MAX;
use crate::outcome::chain;
use crate::perform::perform;
use crate::plan::Occasion;
use crate::report::metrics::Metrics;
use crate::report::status::Status;
use crate::settings::{LogFormat, Settings, SettingsError};
use crate::state::{CONTROL, STATUS};
use crate::{daemon, state, worker};

/// Reads the settings.
pub(super) fn settings(path: &Path) -> Result<Settings, Stopped> {
    let stopped = |error: SettingsError| {
        let hint = "name the file with --settings, or try `homeport demo`";
        Stopped::new(chain(&error), hint, Exit::Environment)
    };
    let read = |source| stopped(SettingsError::Read { path: path.to_owned(), source });
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(read)?;
    file.take(SETTINGS_BYTES_MAX + 1).read_to_string(&mut text).map_err(read)?;
    if text.len() as u64 > SETTINGS_BYTES_MAX {
        return Err(stopped(SettingsError::TooLarge { path: path.to_owned() }));
    }
    Settings::parse(path, &text).map_err(stopped)
}

pub(super) fn carry_out(command: Command, path: &Path) -> Answer {
    let settings = settings(path)?;
    if let Command::Status = command {
        return status(&settings);
    }
    if let Command::Conflicts(Conflicts::List) = command {
        return conflicts(&settings);
    }
    log_to_stderr(&settings);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Stopped::environment(&error))?;
    if let Command::Run = command {
        let mut agent = open(settings)?;
        runtime.block_on(daemon::run(&mut agent)).map_err(|e| Stopped::environment(&e))?;
        return Ok(Said { text: String::new(), json: json!({}), exit: Exit::Ok, coloured: false });
    }
    // A sign-in goes on whatever the policy is; who asks for policy is told that it is rejected.
    let asks_for_policy = matches!(command, Command::Plan(_) | Command::Apply(_));
    let control = to_control(command, &settings)?;
    let socket = settings.state_dir.join(CONTROL);
    let answer = runtime.block_on(async {
        match control::send(&socket, &control).await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Ok(perform(&mut open(settings)?, control).await),
            Err(error) => Err(Stopped::environment(&error)),
        }
    })?;
    told(answer, asks_for_policy)
}

fn told(answer: control::Answer, asks_for_policy: bool) -> Answer {
    if let Some(error) = answer.error {
        return Err(Stopped { message: error, hint: None, exit: Exit::Environment });
    }
    let exit = match (answer.failed, answer.refused) {
        (0, 0) if asks_for_policy && answer.policy_rejected => Exit::Policy,
        (0, 0) => Exit::Ok,
        (0, _) => Exit::Refused,
        _ => Exit::Failed,
    };
    Ok(Said { text: answer.text, json: answer.json, exit, coloured: false })
}

fn name(command: &Command) -> &'static str {
    match command {
        Command::Plan(_) => "plan",
        Command::Apply(_) => "apply",
        Command::Logon(_) => "logon",
        Command::Logoff(_) => "logoff",
        Command::Sync(_) => "sync",
        Command::Conflicts(_) => "conflicts resolve",
        Command::WorkOffline(_) => "work-offline",
        Command::WorkOnline(_) => "work-online",
        _ => "",
    }
}

fn to_control(command: Command, settings: &Settings) -> Result<Control, Stopped> {
    let cause = format!("`homeport {}`", name(&command));
    let turn = |user: Option<String>, occasion, release, dry| {
        let cause = cause.clone();
        Control::Turn { user, occasion, release, dry, cause }
    };
    Ok(match command {
        Command::Plan(plan) => {
            let occasion = match plan.occasion {
                OccasionName::Logon => Occasion::Logon,
                OccasionName::Logoff => Occasion::Logoff,
                OccasionName::Refresh => Occasion::Refresh,
                OccasionName::Background => Occasion::Background,
                OccasionName::Manual => Occasion::Manual,
            };
            turn(Some(plan.user), occasion, false, true)
        }
        Command::Apply(one) => turn(one.user, Occasion::Refresh, false, false),
        Command::Logon(user) => turn(Some(user.user), Occasion::Logon, false, false),
        Command::Logoff(user) => turn(Some(user.user), Occasion::Logoff, false, false),
        Command::Sync(sync) => turn(sync.user, Occasion::Manual, sync.release, false),
        Command::WorkOffline(force) => forced(force, settings, true)?,
        Command::WorkOnline(force) => forced(force, settings, false)?,
        Command::Conflicts(Conflicts::Resolve { path, keep, user }) => {
            resolve(&path, keep, user, settings)?
        }
        _ => return Err(Stopped::new("not a command for the agent", "see --help", Exit::Usage)),
    })
}

fn unc(path: &str) -> Result<Unc, Stopped> {
    Unc::parse(path).map_err(|error| {
        Stopped::new(format!("{path:?}: {error}"), r"like '\\srv\share\folder'", Exit::Usage)
    })
}

fn forced(force: Force, settings: &Settings, offline: bool) -> Result<Control, Stopped> {
    let status = read_status(settings)?;
    let path = unc(&force.path)?;
    let user = the_user(force.user, &status, |user| user.signed_in)?;
    Ok(Control::Force { user, path, offline })
}

fn resolve(
    path: &str,
    keep: Keep,
    user: Option<String>,
    settings: &Settings,
) -> Result<Control, Stopped> {
    let status = read_status(settings)?;
    let path = unc(path)?;
    let has_it = |user: &crate::report::status::UserStatus| {
        user.caches.iter().any(|cache| {
            cache.conflicts.iter().any(|conflict| {
                Unc::parse(&conflict_path(&cache.path, &conflict.path)).as_ref() == Ok(&path)
            })
        })
    };
    let user = the_user(user, &status, has_it)?;
    let word = match keep {
        Keep::Local => "keep-local",
        Keep::Remote => "keep-remote",
        Keep::Latest => "keep-latest",
        Keep::Both => "keep-both",
    };
    let how = resolve_word(word).unwrap_or_default();
    Ok(Control::Settle { user, path, how })
}

fn conflict_path(cache: &str, below: &str) -> String {
    format!(r"{cache}\{}", below.replace('/', r"\"))
}

/// The user that was named, or the only one that fits.
fn the_user(
    named: Option<String>,
    status: &Status,
    fits: impl Fn(&crate::report::status::UserStatus) -> bool,
) -> Result<String, Stopped> {
    if let Some(named) = named {
        return Ok(named);
    }
    let mut fitting = status.users.iter().filter(|(_, user)| fits(user)).map(|(name, _)| name);
    match (fitting.next(), fitting.next()) {
        (Some(only), None) => Ok(only.clone()),
        (None, _) => {
            let hint = "see `homeport status` and `homeport conflicts list`";
            Err(Stopped::new("no user has that", hint, Exit::Usage))
        }
        _ => Err(Stopped::new("several users have that", "name one with --user", Exit::Usage)),
    }
}

/// Opens the agent of this computer.
pub(super) fn open(settings: Settings) -> Result<Agent, Stopped> {
    let metrics = Metrics::new().map_err(|error| Stopped::environment(&error))?;
    let program = std::env::current_exe().map_err(|error| Stopped::environment(&error))?;
    Agent::open(settings, Clock::system(), metrics, program)
        .map_err(|error| Stopped::environment(&error))
}

fn log_to_stderr(settings: &Settings) {
    let filter = tracing_subscriber::EnvFilter::try_new(&settings.log.level);
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second subscriber (the demo opens several agents) is no error: the first one stays.
    let _ = match settings.log.format {
        LogFormat::Text => log.with_ansi(false).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
}

fn read_status(settings: &Settings) -> Result<Status, Stopped> {
    let path = settings.state_dir.join(STATUS);
    let status = state::read(&path).map_err(|error| Stopped::environment(&error))?;
    status.ok_or_else(|| {
        let message = format!("there is no status in {} yet", path.display());
        Stopped::new(message, "start the agent, or sign somebody in", Exit::Environment)
    })
}

fn status(settings: &Settings) -> Answer {
    let status = read_status(settings)?;
    let json = serde_json::to_value(&status).map_err(|error| Stopped::environment(&error))?;
    Ok(Said { text: status.to_string(), json, exit: Exit::Ok, coloured: false })
}

fn conflicts(settings: &Settings) -> Answer {
    let status = read_status(settings)?;
    let (mut text, mut list) = (String::new(), Vec::new());
    for (name, user) in &status.users {
        for cache in &user.caches {
            for conflict in &cache.conflicts {
                let path = conflict_path(&cache.path, &conflict.path);
                let time = crate::report::status::moment;
                let (local, remote) = (conflict.local, conflict.remote);
                text.push_str(&format!(
                    "{path}\n    {name}; here: {} bytes, {}; on the share: {} bytes, {}\n",
                    local.size,
                    time(local.mtime_unix_ms),
                    remote.size,
                    time(remote.mtime_unix_ms)
                ));
                list.push(json!({ "user": name, "path": path, "conflict": conflict }));
            }
        }
    }
    if text.is_empty() {
        text.push_str("no open conflicts\n");
    } else {
        text.push_str(
            "\nsettle one with: homeport conflicts resolve PATH --keep local|remote|both\n",
        );
    }
    Ok(Said { text, json: list.into(), exit: Exit::Ok, coloured: false })
}

/// The worker's whole life; its standard output belongs to the protocol.
pub(super) fn worker() -> Answer {
    let clock = Clock::system();
    let (mut from, mut to) = (std::io::stdin().lock(), std::io::stdout().lock());
    worker::serve(&mut from, &mut to, || clock.now()).map_err(|e| Stopped::environment(&e))?;
    Ok(Said { text: String::new(), json: serde_json::Value::Null, exit: Exit::Ok, coloured: false })
}
