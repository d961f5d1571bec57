//! The running agent: one loop over one closed set of events.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::mem::take;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use homeport_policy::connection::Mode;
use homeport_policy::unc::Unc;
use notify::{RecursiveMode, Watcher as _};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::agent::Agent;
use crate::control::{self, Asker, Command};
use crate::cycle::Turn;
use crate::execute::Follower;
use crate::limits::{
    EVENTS_WAITING_MAX, NETWORK_PAUSE, NETWORK_QUIET, ONLINE_EXCHANGE, POLICY_DEBOUNCE,
    PROGRESS_TIMEOUT, SCRAPE_TIMEOUT, TURN_SLICE,
};
use crate::load::PolicyState;
use crate::network::judge::Change;
use crate::outcome::chain;
use crate::perform::perform;
use crate::plan::Occasion;
use crate::report::serve::{Page, serve};
use crate::schedule::Due;
use crate::share::links::Links;
use crate::state::CONTROL;
use crate::watch::Progress;
use crate::watching::{Key, Look, Watching};
use crate::wish::{Place, Wish};

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

/// When something is due that is not due.
const FAR: Duration = Duration::from_secs(24 * 3600);

/// Everything that wakes the agent. Closed: there is no other cause of work.
#[derive(Debug)]
enum Event {
    /// A file of the policy directory changed.
    PolicyChanged,
    /// Somebody asks for something.
    Asked(UnixStream),
    /// Something in a cache changed here, or the health of its watcher did. What it is waits in
    /// [`Watching`]; this only wakes.
    LocalChange,
    /// What the network costs, or by which it goes, is something else now.
    CostChanged(Change),
    /// An address, a link or a route came or went.
    NetworkChanged,
    /// Work is due; what it is, the loop finds out by itself.
    Due,
    /// The service is to end.
    Stop(&'static str),
}

impl Event {
    /// Whether the network has become dearer.
    fn costs_more(&self) -> bool {
        matches!(self, Self::CostChanged(change) if change.costs_more)
    }
}

/// Work that waits for its turn.
#[derive(Debug)]
enum Job {
    /// A turn for one user.
    Turn(Turn),
    /// A command, and whoever waits for its answer.
    Answer(Asker, Command),
    /// What nobody did yet for a session that began or ended.
    Session(Command),
}

impl Job {
    /// Signing in and out does not wait for anything else.
    fn is_urgent(&self) -> bool {
        let urgent = |occasion| matches!(occasion, Occasion::Logon | Occasion::Logoff);
        match self {
            Self::Turn(_) | Self::Session(_) => false,
            Self::Answer(_, Command::Turn { occasion, .. }) => urgent(*occasion),
            Self::Answer(_, Command::Session { .. }) => true,
            Self::Answer(..) => false,
        }
    }
}

impl Job {
    /// Tells whoever watches the caches that they may change now by this.
    fn announce(&self, watching: &mut Watching) {
        let (user, occasion, wish) = match self {
            Self::Turn(turn) if turn.is_look() => return, // it was taken from there
            Self::Turn(turn) => (Some(turn.user.as_str()), turn.occasion, &turn.wish),
            Self::Answer(_, Command::Turn { user, occasion, wish, dry: false, .. }) => {
                (user.as_deref(), *occasion, wish)
            }
            Self::Answer(_, Command::Session { user, .. })
            | Self::Session(Command::Session { user, .. }) => {
                return watching.begin(Some(user), false);
            }
            Self::Answer(..) | Self::Session(_) => return,
        };
        let exchanges = matches!(occasion, Occasion::Exchange | Occasion::Manual);
        watching.begin(user, exchanges && wish.is_whole());
    }
}

/// Jobs that wait. Signing in and out goes first; the same turn waits only once.
#[derive(Debug, Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    /// The policy directory changed while something else was at work.
    policy_changed: bool,
    /// What became of the network's cost while something else was at work.
    cost: Option<Change>,
    /// The network changed.
    network_changed: bool,
    /// A signal came while the policy directory was coming to a rest.
    stop: Option<&'static str>,
    /// It is time to look whether everybody's sessions were seen to.
    sessions: bool,
}

impl Waiting {
    fn add(&mut self, job: Job) {
        let same = |other: &Job| match (other, &job) {
            (Job::Turn(a), Job::Turn(b)) => {
                a.user == b.user && a.occasion == b.occasion && a.wish == b.wish
            }
            _ => false,
        };
        if self.jobs.iter().any(same) {
            return;
        }
        let after_urgent = self.jobs.iter().take_while(|job| job.is_urgent()).count();
        let at = if job.is_urgent() { after_urgent } else { self.jobs.len() };
        self.jobs.insert(at, job);
    }

    fn everybody(&mut self, agent: &Agent, occasion: Occasion, cause: &str) {
        self.each(agent.signed_in(), occasion, cause);
    }

    fn each(&mut self, users: Vec<String>, occasion: Occasion, cause: &str) {
        for user in users {
            let cause = cause.to_owned();
            let wish = Wish::default();
            self.add(Job::Turn(Turn { user, occasion, cause, wish, dry: false }));
        }
    }

    /// Takes up an event; gives the signal that ends the agent.
    async fn note(&mut self, event: Event) -> Option<&'static str> {
        match event {
            Event::Stop(signal) => return Some(signal),
            Event::PolicyChanged => self.policy_changed = true,
            Event::CostChanged(change) => self.cost = Some(change),
            Event::NetworkChanged => self.network_changed = true,
            Event::LocalChange | Event::Due => {}
            Event::Asked(stream) => ask(stream, self).await,
        }
        None
    }

    /// Adds what is due by now: what was lost and came back, background syncs, the exchange of
    /// everything that is online. What waits already is not added again.
    async fn add_due(&mut self, agent: &mut Agent, exchange_at: &mut Instant) {
        if agent.take_directory_is_back() {
            self.everybody(agent, Occasion::Refresh, "the directory answers again");
        }
        if take(&mut self.network_changed) {
            agent.probe_soon();
            self.everybody(agent, Occasion::Exchange, "the network changed");
        }
        self.each(agent.take_returned(), Occasion::Exchange, "a network folder is online again");
        for Due { user, unc, why, .. } in agent.take_due() {
            // A turn for each scope, so that none waits for the end of another user's or a larger one.
            let wish = Wish { only: Some(Place::Network(unc)), ..Wish::default() };
            let (occasion, cause) = (Occasion::Background, format!("background sync: {why}"));
            self.add(Job::Turn(Turn { user, occasion, cause, wish, dry: false }));
        }
        if Instant::now() >= *exchange_at {
            self.everybody(agent, Occasion::Exchange, "the timer");
            *exchange_at = next_exchange(agent).await;
            self.sessions = true;
        }
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
    stop_on_signals(&to).map_err(|source| DaemonError::Signal { source })?;
    let mut watching = watch_caches(agent, to.clone());
    watch_network(to.clone());
    let _watcher = watch_policy(agent.settings.policy_dir.clone(), to.clone());
    watch_cost(agent, to).await;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "Agent started.");
    let _ = agent.gather(None).await; // so that the first scrape already tells whether the directory answers
    let mut waiting = at_start(agent);

    let mut exchange_at = Instant::now() + ONLINE_EXCHANGE;
    loop {
        watching.keep(caches_to_watch(agent), |user| agent.start(user).ok());
        agent.metrics.watching(watching.is_healthy());
        publish(agent, &page);
        take_news(agent, &mut events, &mut waiting).await;
        if let Some(signal) = waiting.stop {
            tracing::info!(signal, "Agent stopping.");
            return Ok(());
        }
        waiting.add_due(agent, &mut exchange_at).await;
        let job = waiting.jobs.pop_front().or_else(|| session_due(agent, &mut waiting.sessions));
        if let Some(job) = job.or_else(|| look(&mut watching)) {
            job.announce(&mut watching);
            let signal = work(agent, job, &mut events, &mut waiting).await;
            watching.end();
            if let Some(signal) = signal {
                tracing::info!(signal, "Agent stopping.");
                return Ok(());
            }
            continue;
        }
        let event = tokio::select! {
            Some(event) = events.recv() => event,
            () = sleep_until(exchange_at.min(background_at(agent))) => Event::Due,
            () = sleep(watching.due_in().unwrap_or(FAR)) => Event::LocalChange,
        };
        if let Some(signal) = waiting.note(event).await {
            tracing::info!(signal, "Agent stopping.");
            return Ok(());
        }
    }
}

/// Takes up what came while something else was at work.
async fn take_news(agent: &mut Agent, events: &mut mpsc::Receiver<Event>, waiting: &mut Waiting) {
    if let Some(change) = waiting.cost.take() {
        agent.look_at_network().await;
        agent.publish();
        waiting.everybody(agent, Occasion::Exchange, &change.cause);
    }
    if take(&mut waiting.policy_changed) {
        settle_down(events, waiting).await;
        if waiting.stop.is_none() {
            refresh(agent, waiting, "the policy directory changed");
        }
    }
}

/// Does one job. One that nobody waits for is cut short when others should have their turn, and waits
/// again. Whoever signs in or out meanwhile does not wait: what runs is cut off, which loses
/// nothing (each item is whole or untouched), and waits again. Gives the signal that ends the agent.
async fn work(
    agent: &mut Agent,
    job: Job,
    events: &mut mpsc::Receiver<Event>,
    waiting: &mut Waiting,
) -> Option<&'static str> {
    let urgent = job.is_urgent();
    let is_asked_for = matches!(job, Job::Answer(..));
    let slice_ends = Instant::now() + if is_asked_for { FAR } else { TURN_SLICE };
    let mut is_sliced = false;
    let (turns, mut asker) = match job {
        Job::Turn(turn) => {
            let Turn { user, occasion, cause, wish, dry } = turn;
            (Command::Turn { user: Some(user), occasion, wish, dry, cause }, None)
        }
        Job::Answer(asker, command) => (command, Some(asker)),
        Job::Session(command) => (command, None),
    };
    let (follower, mut heard, cut) = Follower::new();
    let follows = asker.as_ref().is_some_and(|asker| asker.follows);
    agent.follower = if follows { follower } else { follower.deaf() };
    let answer = {
        let mut performing = std::pin::pin!(perform(agent, turns.clone()));
        loop {
            tokio::select! {
                answer = &mut performing => break Some(answer),
                Some(progress) = heard.recv() => tell(&mut asker, progress).await,
                () = cancelled(&mut asker), if !*cut.borrow() => drop(cut.send(true)),
                () = sleep_until(slice_ends), if !is_sliced => {
                    is_sliced = true;
                    let _ = cut.send(true); // it ended just now
                }
                Some(event) = events.recv() => {
                    // What goes on by itself was begun for less than it would cost now.
                    if event.costs_more() && is_by_itself(&turns) {
                        let _ = cut.send(true); // nobody carries it out: it is over already
                    }
                    if let Some(signal) = waiting.note(event).await {
                        return Some(signal);
                    }
                    if !urgent && waiting.jobs.front().is_some_and(Job::is_urgent) {
                        break None;
                    }
                }
            }
        }
    };
    if is_sliced {
        postpone(&turns, agent, waiting);
    }
    let answer = answer.unwrap_or_else(|| {
        postpone(&turns, agent, waiting);
        control::Answer {
            text: "cut short by somebody who signs in or out; the rest follows by itself\n"
                .to_owned(),
            ..control::Answer::default()
        }
    });
    while let Ok(progress) = heard.try_recv() {
        tell(&mut asker, progress).await;
    }
    agent.follower = Follower::none();
    if let Some(asker) = asker
        && let Err(error) = asker.reply(answer).await
    {
        tracing::debug!(%error, "Whoever asked did not wait for the answer.");
    }
    None
}

/// Tells whoever asked how it goes; somebody who does not read any more is told nothing more.
async fn tell(asker: &mut Option<Asker>, progress: Progress) {
    let Some(asker) = asker.as_mut().filter(|asker| asker.follows) else { return };
    if !timeout(PROGRESS_TIMEOUT, asker.tell(progress)).await.is_ok_and(|told| told.is_ok()) {
        asker.follows = false;
    }
}

/// Returns once whoever asked cuts the work short; never, if nobody asked.
async fn cancelled(asker: &mut Option<Asker>) {
    match asker {
        Some(asker) => asker.cancelled().await,
        None => std::future::pending().await,
    }
}

/// What was cut off waits again.
fn postpone(command: &Command, agent: &Agent, waiting: &mut Waiting) {
    let Command::Turn { user, occasion, wish, dry: false, cause } = command else { return };
    let users = user.clone().map_or_else(|| agent.signed_in(), |user| vec![user]);
    for user in users {
        let (occasion, wish, cause) = (*occasion, wish.clone(), cause.clone());
        waiting.add(Job::Turn(Turn { user, occasion, cause, wish, dry: false }));
    }
}

fn stop_on_signals(to: &mpsc::Sender<Event>) -> io::Result<()> {
    for (kind, name) in [(SignalKind::terminate(), "SIGTERM"), (SignalKind::interrupt(), "SIGINT")]
    {
        tokio::spawn(stop_on(signal(kind)?, name, to.clone()));
    }
    Ok(())
}

async fn stop_on(
    mut signal: tokio::signal::unix::Signal,
    name: &'static str,
    to: mpsc::Sender<Event>,
) {
    if signal.recv().await.is_some() {
        let _ = to.send(Event::Stop(name)).await; // nobody listens: the agent has ended already
    }
}

async fn accept(control: UnixListener, to: mpsc::Sender<Event>) {
    while let Ok((stream, _)) = control.accept().await {
        if to.send(Event::Asked(stream)).await.is_err() {
            return;
        }
    }
}

/// Reads a command and lets it wait for its turn.
async fn ask(stream: UnixStream, waiting: &mut Waiting) {
    match timeout(SCRAPE_TIMEOUT, control::receive(stream)).await {
        Ok(Ok((asker, command))) => waiting.add(Job::Answer(asker, command)),
        Ok(Err(error)) => tracing::warn!(%error, "Command not understood."),
        Err(_) => tracing::warn!("A command connection said nothing."),
    }
}

/// Watches the caches; which ones is told later.
fn watch_caches(agent: &Agent, to: mpsc::Sender<Event>) -> Watching {
    // A full channel means that a wake-up is waiting already.
    let wake = move || drop(to.try_send(Event::LocalChange));
    Watching::new(agent.clock.clone(), Arc::new(wake))
}

/// Is woken when the network's cost changes, where somebody can tell.
async fn watch_cost(agent: &mut Agent, to: mpsc::Sender<Event>) {
    // A full channel means that so much happens that the next turn looks at the network anyway.
    let wake = move |change| drop(to.try_send(Event::CostChanged(change)));
    agent.watch_network(Arc::new(wake)).await;
}

/// Whether a command is an exchange that nobody asked for and nobody waits for.
fn is_by_itself(command: &Command) -> bool {
    let occasions = [Occasion::Exchange, Occasion::Background];
    matches!(command, Command::Turn { occasion, .. } if occasions.contains(occasion))
}

/// The caches that are looked at as soon as they change, and where they lie. Those that are
/// halted or whose brake holds something wait for a person, and nothing goes past it in small parts
/// meanwhile.
fn caches_to_watch(agent: &Agent) -> BTreeMap<Key, PathBuf> {
    let mut caches = BTreeMap::new();
    for user in agent.signed_in() {
        let told = agent.status.users.get(&user).map(|told| &told.caches);
        for cache in told.into_iter().flatten() {
            let held = cache.held_deletes + cache.held_changes > 0;
            if held || cache.halted.is_some() || cache.mode != Mode::Online.code() {
                continue;
            }
            if let Ok(unc) = Unc::parse(&cache.path) {
                caches.insert((user.clone(), unc), PathBuf::from(&cache.local));
            }
        }
    }
    caches
}

/// What nobody did yet for somebody's sessions; looked at when it is done, so that it still holds.
fn session_due(agent: &mut Agent, is_time: &mut bool) -> Option<Job> {
    let due = is_time.then(|| agent.session_due()).flatten();
    *is_time = due.is_some();
    due.map(|(user, occasion)| Job::Session(Command::Session { user, occasion }))
}

/// A turn for local changes that are due. It looks at nothing else.
fn look(watching: &mut Watching) -> Option<Job> {
    let Look { user, unc, folders } = watching.take()?;
    let wish = Wish { only: Some(Place::Network(unc)), folders, ..Wish::default() };
    let (occasion, cause) = (Occasion::Exchange, "something changed here".to_owned());
    Some(Job::Turn(Turn { user, occasion, cause, wish, dry: false }))
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

/// Watches addresses, links and routes. Where that fails, shares are tried every two minutes.
fn watch_network(to: mpsc::Sender<Event>) {
    match Links::listen() {
        Ok(links) => drop(tokio::spawn(tell_of_changes(links, to))),
        Err(error) => tracing::warn!(%error, "The network is not watched."),
    }
}

/// Tells of changes of the network, each time once they have come to a rest.
async fn tell_of_changes(mut links: Links, to: mpsc::Sender<Event>) {
    while links.changed().await {
        let latest = Instant::now() + NETWORK_PAUSE;
        while let Ok(true) = timeout(NETWORK_QUIET, links.changed()).await {
            if Instant::now() >= latest {
                break;
            }
        }
        if to.send(Event::NetworkChanged).await.is_err() {
            return; // the agent has ended
        }
        sleep_until(latest).await;
    }
}

/// Waits until the directory has been quiet; what else is asked meanwhile waits for its turn.
async fn settle_down(events: &mut mpsc::Receiver<Event>, waiting: &mut Waiting) {
    while let Ok(Some(event)) = timeout(POLICY_DEBOUNCE, events.recv()).await {
        if let Some(signal) = waiting.note(event).await {
            waiting.stop = Some(signal);
            return;
        }
    }
    waiting.policy_changed = false; // once more meanwhile is the same news
}

fn refresh(agent: &mut Agent, waiting: &mut Waiting, cause: &str) {
    let (directory, now) = (&agent.settings.policy_dir, agent.clock.unix());
    let loaded = crate::load::load(directory, &agent.state, now, true);
    let _ = agent.note_policy(loaded);
    agent.publish();
    waiting.everybody(agent, Occasion::Refresh, cause);
}

/// What waits when the agent starts.
fn at_start(agent: &mut Agent) -> Waiting {
    let mut waiting = Waiting { sessions: true, ..Waiting::default() };
    for user in agent.left_by_restart() {
        let occasion = Occasion::Logoff;
        waiting.add(Job::Session(Command::Session { user, occasion }));
    }
    refresh(agent, &mut waiting, "start");
    waiting
}

/// When the folders in online mode exchange next. What a sign-in would else have to ask the directory
/// is asked on this occasion, if it is time.
async fn next_exchange(agent: &mut Agent) -> Instant {
    agent.keep_warm().await;
    Instant::now() + until_probe(agent).unwrap_or(ONLINE_EXCHANGE).min(ONLINE_EXCHANGE)
}

/// How long until a share that is away is to be tried again: then, and not up to an exchange later.
/// One whose time has passed waits for its exchange like the others.
fn until_probe(agent: &Agent) -> Option<Duration> {
    let now = agent.clock.unix_ms();
    let caches = agent.status.users.values().flat_map(|user| &user.caches);
    let probes = caches.filter_map(|cache| cache.next_probe_unix_ms).filter(|at| *at > now);
    probes.min().map(|at| Duration::from_millis(u64::try_from(at - now).unwrap_or(0)))
}

/// When the next background sync is due; without one, far away.
fn background_at(agent: &Agent) -> Instant {
    let wait = agent.status.next_background_sync_unix_ms.map(|next| {
        let wait = next.saturating_sub(agent.clock.unix_ms());
        Duration::from_millis(u64::try_from(wait).unwrap_or(0))
    });
    Instant::now() + wait.unwrap_or(FAR).min(FAR)
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
