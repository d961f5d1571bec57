//! Commands that concern this computer: run, plan, apply, logon, logoff, status, work-offline.
#![expect(clippy::disallowed_methods, reason = "edge: reads settings, finds its own program")]

use std::io::Read as _;
use std::path::Path;

use homeport_policy::unc::Unc;
use serde_json::json;

use super::args::{self, Command, Conflicts, Force, OccasionName, ProgressForm};
use super::interactive::{self, Asking};
use super::place::place;
use super::progress::Teller;
use super::run::run;
use super::{Answer, Said, Stopped, offline};
use crate::agent::Agent;
use crate::cli::exit::Exit;
use crate::clock::Clock;
use crate::control::{self, Command as Control};
use crate::directory::kerberos;
use crate::identity::{become_account, confine};
use crate::items::Ask;
use crate::limits::{SETTINGS_BYTES_MAX, WORKER_GRACE};
use crate::outcome::chain;
use crate::plan::Occasion;
use crate::report::metrics::Metrics;
use crate::report::status::Status;
use crate::settings::{LogFormat, Settings, SettingsError};
use crate::state::STATUS;
use crate::wish::{Place, Wish};
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

/// Carries a command out that needs the settings. `json`: standard output is one JSON document.
pub(super) fn carry_out(command: Command, path: &Path, json: bool) -> Answer {
    let settings = settings(path)?;
    if let Command::Status(of) = command {
        return status(&settings, of.last_logon);
    }
    match &command {
        Command::Conflicts(Conflicts::List) => return offline::conflicts(&settings),
        Command::Conflicts(Conflicts::Show { path, user }) => {
            return offline::show(path, user.clone(), &settings);
        }
        Command::Release(release) if release.dry_run => {
            return offline::held(release, &settings);
        }
        _ => {}
    }
    log_to_stderr(&settings, &command);
    // Before the first thread: the library takes its keytab from the environment.
    kerberos::prepare(&settings.directory).map_err(|error| Stopped::environment(&error))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Stopped::environment(&error))?;
    if let Command::Run = command {
        let mut agent = open(settings)?;
        let ended = runtime.block_on(daemon::run(&mut agent));
        runtime.shutdown_background();
        ended.map_err(|error| Stopped::environment(&error))?;
        return Ok(Said {
            text: String::new(),
            json: json!({}),
            exit: Exit::Ok,
            coloured: false,
            aside: false,
        });
    }
    // A sign-in goes on whatever the policy is; who asks for policy is told that it is rejected.
    let asks_for_policy = matches!(command, Command::Plan(_) | Command::Apply(_));
    let form = match &command {
        Command::Sync(sync) => sync.progress,
        Command::Release(release) => release.progress,
        _ => Some(ProgressForm::None),
    };
    let control = to_control(command, &settings)?;
    let mut teller = Teller::begin(form);
    let asks = interactive::is_wished(&control);
    let mut answer = runtime.block_on(run(control, settings.clone(), &mut teller));
    if asks && let Ok(answer) = &mut answer {
        let asking = Asking { settings: &settings, json, aside: teller.takes_output() };
        runtime.block_on(asking.about(answer))?;
    }
    // A name that DNS does not resolve in time must not keep anybody waiting at the end.
    runtime.shutdown_background();
    let answer = answer?;
    let said = told(answer, asks_for_policy)?;
    Ok(Said { aside: teller.takes_output(), ..said })
}

fn told(answer: control::Answer, asks_for_policy: bool) -> Answer {
    if let Some(error) = answer.error {
        let exit = if answer.usage { Exit::Usage } else { Exit::Environment };
        return Err(Stopped { message: error, hint: answer.hint, exit });
    }
    let exit = match (answer.failed, answer.refused) {
        (0, 0) if asks_for_policy && answer.policy_rejected => Exit::Policy,
        (0, 0) => Exit::Ok,
        (0, _) => Exit::Refused,
        _ => Exit::Failed,
    };
    Ok(Said { text: answer.text, json: answer.json, exit, coloured: false, aside: false })
}

fn name(command: &Command) -> &'static str {
    match command {
        Command::Plan(_) => "plan",
        Command::Apply(_) => "apply",
        Command::Logon(_) => "logon",
        Command::Logoff(_) => "logoff",
        _ => "",
    }
}

fn to_control(command: Command, settings: &Settings) -> Result<Control, Stopped> {
    let cause = format!("`homeport {}`", name(&command));
    let turn = |user: Option<String>, occasion, dry| {
        let (cause, wish) = (cause.clone(), Wish::default());
        Control::Turn { user, occasion, wish, dry, cause }
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
            turn(Some(plan.user), occasion, true)
        }
        Command::Apply(one) => turn(one.user, Occasion::Refresh, false),
        Command::Logon(user) => turn(Some(user.user), Occasion::Logon, false),
        Command::Logoff(user) => turn(Some(user.user), Occasion::Logoff, false),
        Command::Sync(sync) => offline::sync(sync, settings)?,
        Command::Release(release) => offline::release(release, settings)?,
        Command::Ls(ls) => offline::ls(ls, settings)?,
        Command::Pin(pin) => offline::pin(pin, false, settings)?,
        Command::Unpin(pin) => offline::pin(pin, true, settings)?,
        Command::Suspend(folder) => offline::suspend(folder, true, settings)?,
        Command::Resume(folder) => offline::suspend(folder, false, settings)?,
        Command::Dirty(dirty) => offline::ask(dirty, Ask::Dirty, settings)?,
        Command::Recycled(of) => offline::ask(of, Ask::Recycled, settings)?,
        Command::WorkOffline(force) => forced(force, settings, true)?,
        Command::WorkOnline(force) => forced(force, settings, false)?,
        Command::Conflicts(Conflicts::Resolve { path, keep, user }) => {
            offline::resolve(&path, keep, user, settings)?
        }
        _ => return Err(Stopped::new("not a command for the agent", "see --help", Exit::Usage)),
    })
}

pub(super) fn unc(path: &str) -> Result<Unc, Stopped> {
    Unc::parse(path).map_err(|error| {
        Stopped::new(format!("'{path}': {error}"), r"like '\\srv\share\folder'", Exit::Usage)
    })
}

fn forced(force: Force, settings: &Settings, offline: bool) -> Result<Control, Stopped> {
    let Some(path) = force.path else {
        return Ok(Control::Force { user: force.user, path: None, offline });
    };
    let path = match place(&path)? {
        Place::Network(unc) => unc,
        Place::Local(_) => {
            let message = format!("'{path}' is no network folder");
            let hint = r"like '\\srv\share\folder'; `homeport status` lists those there are";
            return Err(Stopped::new(message, hint, Exit::Usage));
        }
    };
    let status = read_status(settings)?;
    let nobody = || Stopped::new("nobody is signed in", "name a user with --user", Exit::Usage);
    let user = the_user(force.user, &status, |user| user.signed_in, nobody)?;
    Ok(Control::Force { user: Some(user), path: Some(path), offline })
}

/// The user that was named, or the only one that fits.
pub(super) fn the_user(
    named: Option<String>,
    status: &Status,
    fits: impl Fn(&crate::report::status::UserStatus) -> bool,
    nobody: impl FnOnce() -> Stopped,
) -> Result<String, Stopped> {
    if let Some(named) = named {
        return Ok(named);
    }
    let mut fitting = status.users.iter().filter(|(_, user)| fits(user)).map(|(name, _)| name);
    match (fitting.next(), fitting.next()) {
        (Some(only), None) => Ok(only.clone()),
        (None, _) => Err(nobody()),
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

/// What a command did it says itself, so that only the service, and the hooks that nobody reads, log
/// every step, unless the settings ask for more.
fn log_to_stderr(settings: &Settings, command: &Command) {
    let tells_all = matches!(command, Command::Run | Command::Logon(_) | Command::Logoff(_));
    let level = match settings.log.level.as_str() {
        "info" if !tells_all => "warn",
        level => level,
    };
    let filter = tracing_subscriber::EnvFilter::try_new(level);
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second subscriber (the demo opens several agents) is no error: the first one stays.
    let _ = match settings.log.format {
        LogFormat::Text => log.with_ansi(false).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
}

pub(super) fn read_status(settings: &Settings) -> Result<Status, Stopped> {
    let path = settings.state_dir.join(STATUS);
    let status = state::read(&path).map_err(|error| Stopped::environment(&error))?;
    status.ok_or_else(|| {
        let message = format!("there is no status in {} yet", path.display());
        Stopped::new(message, "start the agent, or sign somebody in", Exit::Environment)
    })
}

fn status(settings: &Settings, last_logon: bool) -> Answer {
    let status = read_status(settings)?;
    if last_logon {
        let users = status.users.iter().map(|(name, user)| {
            let both = json!({ "last-logon": user.last_logon, "last-logoff": user.last_logoff });
            (name.clone(), both)
        });
        let json = serde_json::Value::Object(users.collect());
        let text = status.timings();
        return Ok(Said { text, json, exit: Exit::Ok, coloured: false, aside: false });
    }
    let json = serde_json::to_value(&status).map_err(|error| Stopped::environment(&error))?;
    Ok(Said { text: status.to_string(), json, exit: Exit::Ok, coloured: false, aside: false })
}

/// The agent's end of the pipe. Once it is closed nobody waits for anything, and what is under way may
/// be cut off at any time; a worker that does not end soon would keep its journal from the next one.
struct FromAgent(std::io::Stdin);

impl std::io::Read for FromAgent {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.0.read(buffer);
        if matches!(read, Ok(0) | Err(_)) && !buffer.is_empty() {
            std::thread::spawn(|| {
                std::thread::sleep(WORKER_GRACE);
                std::process::exit(i32::from(crate::cli::exit::code(Exit::Failed)));
            });
        }
        read
    }
}

/// The worker's whole life; its standard output belongs to the protocol.
pub(super) fn worker(args: &args::Worker) -> Answer {
    // First of all: what is read from now on is read as the person.
    let became = args.uid.map_or(Ok(()), |uid| become_account(uid, &args.groups));
    became.and_then(|()| confine()).map_err(|error| Stopped::environment(&error))?;
    let clock = Clock::system();
    worker::serve(FromAgent(std::io::stdin()), &mut std::io::stdout(), || clock.now())
        .map_err(|e| Stopped::environment(&e))?;
    Ok(Said {
        text: String::new(),
        json: serde_json::Value::Null,
        exit: Exit::Ok,
        coloured: false,
        aside: false,
    })
}
