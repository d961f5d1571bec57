//! A TCP proxy that misbehaves on demand, in front of any server of the lab.
//!
//! The fault may change while connections are open. What they do then is what a broken network or
//! server would make them do; nothing is decided per protocol.
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::PATIENCE;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Pass,
    /// Nobody listens, and open connections end.
    Refuse,
    /// Connections are taken and kept; nothing is passed on.
    Hang,
    /// So many bytes of answers on a connection, counted from when the fault was set, then RST.
    ResetAfter(u64),
    /// The same, then an orderly end.
    TruncateAfter(u64),
    /// Every piece waits so long, in either direction.
    Delay(Duration),
    /// Every request is answered with noise.
    Garbage,
}

pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    target: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
    connections: AtomicU64,
    asked: AtomicU64,
    answered: AtomicU64,
}

struct State {
    fault: Fault,
    /// How often the fault was set: a connection counts its answers anew then.
    epoch: u64,
    listening: bool,
    ended: bool,
    pairs: Vec<Weak<Pair>>,
}

/// One connection of a client with its own to the server. An RST goes out when the last one who
/// knows it lets go, so nobody else keeps a handle of either.
struct Pair {
    client: TcpStream,
    server: TcpStream,
}

impl Proxy {
    /// Listens at `at`, `127.0.0.2:389` for example, or port 0 for any.
    pub fn start(at: &str, target: &str) -> Self {
        let listener = TcpListener::bind(at).unwrap();
        let address = listener.local_addr().unwrap();
        let state =
            State { fault: Fault::Pass, epoch: 0, listening: true, ended: false, pairs: vec![] };
        let shared = Arc::new(Shared {
            target: target.parse().unwrap(),
            state: Mutex::new(state),
            changed: Condvar::new(),
            connections: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            answered: AtomicU64::new(0),
        });
        let theirs = Arc::clone(&shared);
        let acceptor = std::thread::spawn(move || accept(&theirs, address, listener));
        Self { address, shared, acceptor: Some(acceptor) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on. Returns when the listener is open, or closed, as the fault has it.
    pub fn set(&self, fault: Fault) {
        let mut state = self.shared.lock();
        state.fault = fault;
        state.epoch += 1;
        if fault == Fault::Refuse {
            state.cut();
        }
        self.shared.changed.notify_all();
        let wanted = fault != Fault::Refuse;
        let start = Instant::now();
        while state.listening != wanted {
            assert!(start.elapsed() < PATIENCE, "the proxy at {} is stuck", self.address);
            drop(state);
            self.wake();
            state = self.shared.wait(self.shared.lock(), Duration::from_millis(50));
        }
    }

    /// Ends all open connections; new ones are taken as the fault has it.
    pub fn cut(&self) {
        self.shared.lock().cut();
    }

    /// Connections taken so far.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Bytes clients sent so far.
    pub fn bytes_asked(&self) -> u64 {
        self.shared.asked.load(Ordering::SeqCst)
    }

    /// Bytes clients were sent so far.
    pub fn bytes_answered(&self) -> u64 {
        self.shared.answered.load(Ordering::SeqCst)
    }

    /// The acceptor sits in `accept`; only a connection gets it out.
    fn wake(&self) {
        let _refused = TcpStream::connect_timeout(&self.address, Duration::from_millis(200));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.ended = true;
        state.cut();
        drop(state);
        self.shared.changed.notify_all();
        self.wake();
        if let Some(acceptor) = self.acceptor.take() {
            let _panicked = acceptor.join();
        }
    }
}

impl State {
    fn cut(&mut self) {
        for pair in self.pairs.drain(..).filter_map(|pair| pair.upgrade()) {
            pair.end();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, limit: Duration) -> MutexGuard<'a, State> {
        let waited = self.changed.wait_timeout(state, limit);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// The fault a piece meets, once it is no longer a hang; with a delay already waited for.
    fn met(&self) -> Option<(Fault, u64)> {
        let mut state = self.lock();
        let arrived = Instant::now();
        loop {
            if state.ended {
                return None;
            }
            let left = match state.fault {
                Fault::Hang => Duration::from_secs(3600), // until something changes
                Fault::Delay(delay) => delay.saturating_sub(arrived.elapsed()),
                _ => Duration::ZERO,
            };
            if left.is_zero() {
                return Some((state.fault, state.epoch));
            }
            state = self.wait(state, left);
        }
    }
}

impl Pair {
    fn end(&self) {
        let _ended = self.client.shutdown(Shutdown::Both);
        let _ended = self.server.shutdown(Shutdown::Both);
    }

    /// Makes the end of the client's connection an RST, and ends whoever still reads from it.
    fn reset(&self) {
        let _set = rustix::net::sockopt::set_socket_linger(&self.client, Some(Duration::ZERO));
        let _ended = self.client.shutdown(Shutdown::Read);
        let _ended = self.server.shutdown(Shutdown::Both);
    }
}

fn accept(shared: &Arc<Shared>, address: SocketAddr, first: TcpListener) {
    let mut listener = Some(first);
    loop {
        let mut state = shared.lock();
        if state.ended {
            return;
        }
        if state.fault == Fault::Refuse {
            listener = None;
            state.listening = false;
            shared.changed.notify_all();
            drop(shared.wait(state, PATIENCE));
            continue;
        }
        let open = listener.take().unwrap_or_else(|| TcpListener::bind(address).unwrap());
        state.listening = true;
        shared.changed.notify_all();
        drop(state);
        if let Ok((client, _)) = open.accept() {
            begin(shared, client);
        }
        listener = Some(open);
    }
}

fn begin(shared: &Arc<Shared>, client: TcpStream) {
    let mut state = shared.lock();
    // One that only woke the acceptor up, or that came a moment too late.
    if state.ended || state.fault == Fault::Refuse {
        return;
    }
    shared.connections.fetch_add(1, Ordering::SeqCst);
    let Ok(server) = TcpStream::connect_timeout(&shared.target, Duration::from_secs(5)) else {
        return;
    };
    let _small = client.set_nodelay(true).and(server.set_nodelay(true));
    let pair = Arc::new(Pair { client, server });
    state.pairs.retain(|pair| pair.strong_count() > 0);
    state.pairs.push(Arc::downgrade(&pair));
    drop(state);
    let (asking, answering) = (Arc::clone(shared), Arc::clone(shared));
    let same = Arc::clone(&pair);
    std::thread::spawn(move || ask(&asking, &same));
    std::thread::spawn(move || answer(&answering, &pair));
}

fn ask(shared: &Shared, pair: &Pair) {
    let mut piece = [0; 16 * 1024];
    while let Ok(length @ 1..) = (&pair.client).read(&mut piece) {
        shared.asked.fetch_add(length as u64, Ordering::SeqCst);
        let Some((fault, _)) = shared.met() else { break };
        let passed = match fault {
            Fault::Garbage => noise(shared, &pair.client),
            _ => (&pair.server).write_all(&piece[..length]),
        };
        if passed.is_err() {
            break;
        }
    }
    let _ended = pair.server.shutdown(Shutdown::Write);
}

fn answer(shared: &Shared, pair: &Pair) {
    let (mut piece, mut counted, mut known) = ([0; 16 * 1024], 0, u64::MAX);
    while let Ok(length @ 1..) = (&pair.server).read(&mut piece) {
        let Some((fault, epoch)) = shared.met() else { break };
        if epoch != known {
            (counted, known) = (0, epoch);
        }
        let limit = match fault {
            Fault::ResetAfter(limit) | Fault::TruncateAfter(limit) => limit - counted,
            Fault::Garbage => 0,
            _ => u64::MAX,
        };
        let passed = length.min(usize::try_from(limit).unwrap_or(usize::MAX));
        if (&pair.client).write_all(&piece[..passed]).is_err() {
            break;
        }
        counted += passed as u64;
        shared.answered.fetch_add(passed as u64, Ordering::SeqCst);
        match fault {
            Fault::ResetAfter(limit) if counted == limit => return pair.reset(),
            Fault::TruncateAfter(limit) if counted == limit => return pair.end(),
            _ => {}
        }
    }
    let _ended = pair.client.shutdown(Shutdown::Write);
}

/// Neither LDAP nor TLS nor Kerberos.
fn noise(shared: &Shared, mut client: &TcpStream) -> std::io::Result<()> {
    const NOISE: &[u8] =
        b"\xFF\x00\xFFthis is no answer \x84\xFF\xFF\xFF\xFF\x30\x84 nor is this\xFF";
    shared.answered.fetch_add(NOISE.len() as u64, Ordering::SeqCst);
    client.write_all(NOISE)
}
