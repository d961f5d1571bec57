//! Asks NetworkManager and ModemManager over the system bus, and hears when something changes there.
//!
//! Every call has a deadline, and nothing here stops the agent: without a bus, without the services,
//! or while they do not answer, the settings or the last answer hold. Nobody is started by asking.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use homeport_policy::facts::Cost;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use zbus::export::ordered_stream::OrderedStreamExt as _;
use zbus::{Connection, MessageStream, OwnedObjectPath, OwnedVariant};

use super::judge::{Change, Finding, Manager, Metered, Modem, Reading, Source, change, judge};
use crate::limits::{MODEMS_MAX, NETWORK_CHECK, NETWORK_RETRY, NETWORK_SETTLE, NETWORK_TIMEOUT};

const MANAGER: &str = "org.freedesktop.NetworkManager";
const MANAGER_PATH: &str = "/org/freedesktop/NetworkManager";
const MODEMS: &str = "org.freedesktop.ModemManager1";
const MODEMS_PATH: &str = "/org/freedesktop/ModemManager1";
const MODEM: &str = "org.freedesktop.ModemManager1.Modem";
const MODEM_3GPP: &str = "org.freedesktop.ModemManager1.Modem.Modem3gpp";
const BUS: &str = "org.freedesktop.DBus";

/// What wakes: the services come and go, their properties change, modems come and go. A signal is a
/// hint and no proof, whoever sent it: after it, they are asked.
const RULES: [&str; 5] = [
    "type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',\
     member='NameOwnerChanged',arg0='org.freedesktop.NetworkManager'",
    "type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',\
     member='NameOwnerChanged',arg0='org.freedesktop.ModemManager1'",
    "type='signal',path='/org/freedesktop/NetworkManager',\
     interface='org.freedesktop.DBus.Properties',member='PropertiesChanged'",
    "type='signal',path_namespace='/org/freedesktop/ModemManager1',\
     interface='org.freedesktop.DBus.Properties',member='PropertiesChanged'",
    "type='signal',path='/org/freedesktop/ModemManager1',\
     interface='org.freedesktop.DBus.ObjectManager'",
];

type Properties = HashMap<String, OwnedVariant>;
type Objects = HashMap<OwnedObjectPath, HashMap<String, Properties>>;

/// Why the services could not be asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BusError {
    /// There is no system bus, or it does not let us in.
    #[error("there is no system bus to ask NetworkManager on")]
    NoBus(#[source] zbus::Error),
    /// A call failed.
    #[error("cannot ask {service}")]
    Call {
        /// Which service.
        service: &'static str,
        /// Why.
        source: zbus::Error,
    },
    /// Nobody answered in time.
    #[error("the system bus did not answer within {} s", NETWORK_TIMEOUT.as_secs())]
    TimedOut,
}

async fn bounded<T>(work: impl Future<Output = Result<T, BusError>>) -> Result<T, BusError> {
    timeout(NETWORK_TIMEOUT, work).await.unwrap_or(Err(BusError::TimedOut))
}

async fn connect() -> Result<Connection, BusError> {
    bounded(async { Connection::system().await.map_err(BusError::NoBus) }).await
}

/// Asks once, over a connection of its own.
///
/// # Errors
/// [`BusError`].
pub async fn ask() -> Result<Reading, BusError> {
    read(&connect().await?).await
}

/// What both services say now; a service that is not there says nothing.
async fn read(bus: &Connection) -> Result<Reading, BusError> {
    bounded(async {
        let manager = match is_there(bus, MANAGER).await? {
            true => Some(read_manager(bus).await?),
            false => None,
        };
        let modems = match is_there(bus, MODEMS).await? {
            true => read_modems(bus).await?,
            false => Vec::new(),
        };
        Ok(Reading { manager, modems })
    })
    .await
}

/// Calls to a name without an owner would start the service.
async fn is_there(bus: &Connection, service: &'static str) -> Result<bool, BusError> {
    let call = |source| BusError::Call { service, source };
    let path = "/org/freedesktop/DBus";
    let reply = bus.call_method(Some(BUS), path, Some(BUS), "NameHasOwner", &service).await;
    reply.map_err(call)?.body().deserialize().map_err(call)
}

async fn read_manager(bus: &Connection) -> Result<Manager, BusError> {
    let call = |source| BusError::Call { service: "NetworkManager", source };
    let properties = Some("org.freedesktop.DBus.Properties");
    let reply = bus.call_method(Some(MANAGER), MANAGER_PATH, properties, "GetAll", &MANAGER).await;
    let reply = reply.map_err(call)?;
    let mut all: Properties = reply.body().deserialize().map_err(call)?;
    let metered = all.remove("Metered").and_then(|value| u32::try_from(value).ok());
    let primary =
        all.remove("PrimaryConnection").and_then(|value| OwnedObjectPath::try_from(value).ok());
    let kind = all.remove("PrimaryConnectionType").and_then(|value| String::try_from(value).ok());
    Ok(Manager {
        metered: metered.map(Metered::from_number).unwrap_or_default(),
        primary: primary.map(|path| path.to_string()).unwrap_or_default(),
        kind: kind.unwrap_or_default(),
    })
}

async fn read_modems(bus: &Connection) -> Result<Vec<Modem>, BusError> {
    let call = |source| BusError::Call { service: "ModemManager", source };
    let objects = Some("org.freedesktop.DBus.ObjectManager");
    let reply = bus.call_method(Some(MODEMS), MODEMS_PATH, objects, "GetManagedObjects", &()).await;
    let reply = reply.map_err(call)?;
    let objects: Objects = reply.body().deserialize().map_err(call)?;
    let modem = |interfaces: HashMap<String, Properties>| {
        let number = |interface: &str, name: &str| interfaces.get(interface)?.get(name).cloned();
        let state = number(MODEM, "State").and_then(|value| i32::try_from(value).ok())?;
        let registration = number(MODEM_3GPP, "RegistrationState");
        let registration = registration.and_then(|value| u32::try_from(value).ok());
        Some(Modem { state, registration })
    };
    Ok(objects.into_values().filter_map(modem).take(MODEMS_MAX).collect())
}

/// Whoever is to be woken.
pub type Wake = Arc<dyn Fn(Change) + Send + Sync>;

/// What the services said last; kept up to date by a task that ends with this value.
#[derive(Debug)]
pub struct Watch {
    seen: Arc<Seen>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Debug)]
struct Seen {
    fixed: Cost,
    last: Mutex<(Option<Reading>, Finding)>,
}

impl Seen {
    fn new(fixed: Cost) -> Self {
        let finding = Finding::new(fixed, Source::Settings, "the settings say so");
        Self { fixed, last: Mutex::new((None, finding)) }
    }

    /// Notes what was read; gives what is new in it.
    fn note(&self, read: Result<Reading, BusError>) -> Option<Change> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let reading = match read {
            Ok(reading) => Some(reading),
            // It may only be slow. Whether it is gone is said by its name's owner.
            Err(BusError::TimedOut) if last.0.is_some() => return None,
            Err(error) => {
                tracing::debug!(error = crate::outcome::chain(&error), "Network not asked.");
                None
            }
        };
        let finding = found(reading.as_ref(), self.fixed);
        let primary =
            |reading: &Option<Reading>| Some(reading.as_ref()?.manager.as_ref()?.primary.clone());
        let primaries = [primary(&last.0), primary(&reading)];
        let primaries = [primaries[0].as_deref(), primaries[1].as_deref()];
        let news = change(&last.1, &finding, primaries);
        *last = (reading, finding);
        news
    }
}

/// What a reading comes to; `None` is no bus.
pub fn found(reading: Option<&Reading>, fixed: Cost) -> Finding {
    match reading {
        Some(reading) => judge(reading, fixed),
        None => {
            let why = "the settings say so; there is no system bus to ask on";
            Finding::new(fixed, Source::Settings, why)
        }
    }
}

impl Watch {
    /// Asks once, within the deadline, and goes on by itself.
    pub async fn start(fixed: Cost, wake: Wake) -> Self {
        let seen = Arc::new(Seen::new(fixed));
        let _ = seen.note(ask().await); // the first answer is no change
        let task = tokio::spawn(follow(Arc::clone(&seen), wake));
        Self { seen, task }
    }

    /// What the network costs, by the last answer.
    pub fn finding(&self) -> Finding {
        self.seen.last.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }
}

/// Keeps up to date for ever, over buses that come and go.
async fn follow(seen: Arc<Seen>, wake: Wake) {
    let [shortest, longest] = NETWORK_RETRY;
    let mut pause = shortest;
    loop {
        match connect().await {
            Ok(bus) => {
                pause = shortest;
                let error = listen(&bus, &seen, &wake).await;
                tracing::debug!(error = crate::outcome::chain(&error), "Lost the system bus.");
                tell(seen.note(Err(error)), &wake);
            }
            Err(error) => tell(seen.note(Err(error)), &wake),
        }
        sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

fn tell(change: Option<Change>, wake: &Wake) {
    if let Some(change) = change {
        wake(change);
    }
}

/// Listens on one bus until it is lost.
async fn listen(bus: &Connection, seen: &Seen, wake: &Wake) -> BusError {
    let heard = Arc::new(Notify::new());
    let mut hearing = JoinSet::new();
    for rule in RULES {
        let subscribed = bounded(async {
            let stream = MessageStream::for_match_rule(rule, bus, None).await;
            stream.map_err(|source| BusError::Call { service: "the system bus", source })
        });
        match subscribed.await {
            Ok(stream) => hearing.spawn(hear(stream, Arc::clone(&heard))),
            Err(error) => return error,
        };
    }
    loop {
        tell(seen.note(read(bus).await), wake);
        tokio::select! {
            () = heard.notified() => sleep(NETWORK_SETTLE).await,
            () = sleep(NETWORK_CHECK) => {}
            _ = hearing.join_next() => {
                let lost = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
                return BusError::NoBus(zbus::Error::InputOutput(Arc::new(lost)));
            }
        }
    }
}

/// Reads a stream to its end: one that is not read would hold up the whole connection.
async fn hear(mut signals: MessageStream, heard: Arc<Notify>) {
    while let Some(Ok(_)) = signals.next().await {
        heard.notify_one();
    }
}

/// Longest [`ask`] takes: to connect, and to read.
pub const ASK_LONGEST: Duration = NETWORK_TIMEOUT.saturating_mul(2);
