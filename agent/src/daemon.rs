//! The running agent: one loop over one closed set of events.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use notify::{RecursiveMode, Watcher as _};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use crate::agent::Agent;
use crate::control::{self, Command};
use crate::cycle::Turn;
use crate::limits::{
    BACKGROUND_PAUSE, EVENTS_WAITING_MAX, ONLINE_EXCHANGE, POLICY_DEBOUNCE, SCRAPE_TIMEOUT,
};
use crate::load::PolicyState;
use crate::outcome::chain;
use crate::perform::{perform, take};
use crate::plan::Occasion;
use crate::report::serve::{Page, serve};
use crate::state::CONTROL;

/// The service could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// An address or socket could not be opened.
    #[error("cannot listen on {at}")]
    Listen {
        /// Where.
        at: String,
        /// Why.
        source: io::Error,
    },
    /// Signals could not be received.
    #[error("cannot receive signals")]
    Signal {
        /// Why.
        source: io::Error,
    },
}

/// Everything that wakes the agent. Closed: there is no other cause of work.
#[derive(Debug)]
enum Event {
    /// A file of the policy directory changed.
    PolicyChanged,
    /// Somebody asks for something.
    Asked(UnixStream),
    /// Work that is due at this moment.
    Due(Occasion),
    /// The service is to end.
    Stop(&'static str),
}

/// Turns that wait; a turn for the same user and occasion waits only once.
#[derive(Debug, Default)]
pub struct Waiting {
    order: VecDeque<(String, Occasion)>,
    causes: BTreeMap<(String, Occasion), String>,
}

impl Waiting {
    /// Adds a turn, unless the same one waits already; the first cause is kept.
    pub fn add(&mut self, user: &str, occasion: Occasion, cause: &str) {
        let key = (user.to_owned(), occasion);
        if !self.causes.contains_key(&key) {
            self.causes.insert(key.clone(), cause.to_owned());
            self.order.push_back(key);
        }
    }

    /// The turn that waited longest.
    pub fn take(&mut self) -> Option<(String, Occasion, String)> {
        let key = self.order.pop_front()?;
        let cause = self.causes.remove(&key)?;
        Some((key.0, key.1, cause))
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

/// Runs until a signal ends it. A bad policy, a dead share or a lost worker never does.
///
/// # Errors
/// [`DaemonError`] when it cannot start.
pub async fn run(agent: &mut Agent) -> Result<(), DaemonError> {
    let (to, mut events) = mpsc::channel(EVENTS_WAITING_MAX);
    let socket = agent.state.path().join(CONTROL);
    let listen = |source| DaemonError::Listen { at: socket.display().to_string(), source };
    let control = control::listen(&socket).await.map_err(listen)?;
    let (page, pages) = watch::channel(Page::default());
    if let Some(address) = agent.settings.listen {
        let error = |source| DaemonError::Listen { at: address.to_string(), source };
        let listener = TcpListener::bind(address).await.map_err(error)?;
        tokio::spawn(serve(listener, pages));
    }
    tokio::spawn(accept(control, to.clone()));
    let mut terminate = stop_signal(SignalKind::terminate())?;
    let mut interrupt = stop_signal(SignalKind::interrupt())?;
    let _watcher = watch_policy(agent.settings.policy_dir.clone(), to);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "Agent started.");
    refresh_everybody(agent, "start").await;

    let mut exchange_at = Instant::now() + ONLINE_EXCHANGE;
    let mut background_not_before = Instant::now();
    loop {
        publish(agent, &page);
        let background_at = background_at(agent).max(background_not_before);
        let event = tokio::select! {
            Some(event) = events.recv() => event,
            () = sleep_until(exchange_at) => Event::Due(Occasion::Exchange),
            () = sleep_until(background_at) => Event::Due(Occasion::Background),
            _ = terminate.recv() => Event::Stop("SIGTERM"),
            _ = interrupt.recv() => Event::Stop("SIGINT"),
        };
        match event {
            Event::Stop(signal) => {
                tracing::info!(signal, "Agent stopping.");
                return Ok(());
            }
            Event::PolicyChanged => {
                settle_down(&mut events, agent).await;
                refresh_everybody(agent, "the policy directory changed").await;
            }
            Event::Asked(stream) => answer(agent, stream).await,
            Event::Due(occasion) => {
                everybody(agent, occasion, "the timer").await;
                match occasion {
                    Occasion::Exchange => exchange_at = Instant::now() + ONLINE_EXCHANGE,
                    _ => background_not_before = Instant::now() + BACKGROUND_PAUSE,
                }
            }
        }
    }
}

fn stop_signal(kind: SignalKind) -> Result<tokio::signal::unix::Signal, DaemonError> {
    signal(kind).map_err(|source| DaemonError::Signal { source })
}

async fn accept(control: UnixListener, to: mpsc::Sender<Event>) {
    while let Ok((stream, _)) = control.accept().await {
        if to.send(Event::Asked(stream)).await.is_err() {
            return;
        }
    }
}

/// Watches the policy directory. Where watching fails, the next start or command reads it.
fn watch_policy(directory: PathBuf, to: mpsc::Sender<Event>) -> Option<notify::RecommendedWatcher> {
    let notice = move |event: Result<notify::Event, notify::Error>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            // A full channel means that a wake-up is waiting already.
            let _ = to.try_send(Event::PolicyChanged);
        }
    };
    let watcher = notify::recommended_watcher(notice).and_then(|mut watcher| {
        watcher.watch(&directory, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    match watcher {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::warn!(directory = %directory.display(), %error, "Policy is not watched.");
            None
        }
    }
}

/// Waits until the directory has been quiet; what else was asked meanwhile is answered after.
async fn settle_down(events: &mut mpsc::Receiver<Event>, agent: &mut Agent) {
    while let Ok(Some(event)) = timeout(POLICY_DEBOUNCE, events.recv()).await {
        if let Event::Asked(stream) = event {
            answer(agent, stream).await;
        }
    }
}

async fn refresh_everybody(agent: &mut Agent, cause: &str) {
    let loaded = crate::load::load(&agent.settings.policy_dir, &agent.state, agent.clock.unix());
    let _ = agent.note_policy(loaded);
    agent.publish();
    everybody(agent, Occasion::Refresh, cause).await;
}

async fn everybody(agent: &mut Agent, occasion: Occasion, cause: &str) {
    let mut waiting = Waiting::default();
    for user in agent.signed_in() {
        waiting.add(&user, occasion, cause);
    }
    while let Some((user, occasion, cause)) = waiting.take() {
        let turn = Turn { user, occasion, cause, release: false, dry: false };
        let _ = take(agent, &turn).await; // log, metrics and status have it
    }
}

async fn answer(agent: &mut Agent, mut stream: UnixStream) {
    let command = match timeout(SCRAPE_TIMEOUT, control::receive(&mut stream)).await {
        Ok(Ok(command)) => command,
        Ok(Err(error)) => return tracing::warn!(%error, "Command not understood."),
        Err(_) => return tracing::warn!("A command connection said nothing."),
    };
    let cause = match &command {
        Command::Turn { occasion, .. } => format!("`homeport {}`", occasion.name()),
        Command::Settle { .. } => "`homeport conflicts resolve`".to_owned(),
        Command::Force { .. } => "`homeport work-offline` or `work-online`".to_owned(),
    };
    let answer = perform(agent, command, &cause).await;
    if let Err(error) = control::reply(&mut stream, &answer).await {
        tracing::debug!(%error, "Whoever asked did not wait for the answer.");
    }
}

/// When the next background sync is due; without one, far away.
fn background_at(agent: &Agent) -> Instant {
    let far = Duration::from_secs(24 * 3600);
    let wait = agent.status.next_background_sync_unix_ms.map(|next| {
        let wait = next.saturating_sub(agent.clock.unix_ms());
        Duration::from_millis(u64::try_from(wait).unwrap_or(0))
    });
    Instant::now() + wait.unwrap_or(far).min(far)
}

fn publish(agent: &Agent, page: &watch::Sender<Page>) {
    let metrics = agent.metrics.text().unwrap_or_else(|error| {
        tracing::error!(error = chain(&error), "Metrics cannot be encoded.");
        String::new()
    });
    let unfinished = agent.status.users.values().any(|user| user.error.is_some());
    let healthy = agent.status.policy.state == PolicyState::Current && !unfinished;
    page.send_replace(Page { metrics, healthy });
}
