//! A Monday morning: what a sign-in costs the domain controller, and how many of them it stands.
//!
//!     tests/lab/enter cargo bench --offline -p homeport-agent --bench storm [-- --quick | -- COUNT]
//!
//! People and computers are written to the database of the stopped controller, each signs in as an agent of its own, 32 at a time.
//! The controller is Samba with one process; its processor time is what counts. The milliseconds a
//! sign-in waits are those of this machine, on which all the agents run as well.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a benchmark measures")]
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs, reason = "a benchmark tells")]
#![allow(clippy::cast_precision_loss, reason = "counts are small")]

mod client;
mod support;

use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use client::{Asked, Client, tls};
use homeport_policy::facts::Directory;
use support::dc::{self, Dc};

/// Sign-ins without an argument, and with `--quick`.
const FULL: usize = 5_000;
const QUICK: usize = 200;
/// Sign-ins at one time.
const AT_ONCE: usize = 32;
/// Sign-ins one after the other, to see what one of them takes that nobody is before.
const ALONE: usize = 100;
/// Agents that are kept with their connection open; it bounds what a process may have open.
const KEPT: usize = 500;
/// Groups of the company, and how many of them a person is in.
const GROUPS: usize = 20;
const MEMBERSHIPS: usize = 5;
/// The fleet of the estimate.
const FLEET: f64 = 50_000.0;

const UNIT: &str = "OU=Storm,DC=corp,DC=test";

fn user(at: usize) -> String {
    format!("storm{at:05}")
}

fn computer(at: usize) -> String {
    format!("ST-{at:05}")
}

/// Makes everybody, in the database of the stopped controller.
fn populate(dc: &mut Dc, count: usize) {
    let mut entries = format!("dn: {UNIT}\nchangetype: add\nobjectClass: organizationalUnit\n\n");
    for at in 0..count {
        let (user, computer) = (user(at), computer(at));
        entries.push_str(&format!(
            "dn: CN={computer},{UNIT}\nchangetype: add\nobjectClass: computer\n\
             sAMAccountName: {computer}$\nuserAccountControl: 4096\n\n\
             dn: CN={user},{UNIT}\nchangetype: add\nobjectClass: user\nsAMAccountName: {user}\n\
             userPrincipalName: {user}@corp.test\nmail: {user}@corp.test\ndepartment: Storm\n\
             homeDirectory: \\\\files\\home\\{user}\nprofilePath: \\\\files\\profiles\\{user}\n\
             msDS-PrimaryComputer: CN={computer},{UNIT}\n\n"
        ));
    }
    for group in 0..GROUPS {
        entries.push_str(&format!(
            "dn: CN=Storm {group},{UNIT}\nchangetype: add\nobjectClass: group\n\
             sAMAccountName: Storm {group}\n"
        ));
        for at in (0..count).filter(|at| (at + group) % GROUPS < MEMBERSHIPS) {
            let _ = writeln!(entries, "member: CN={},{UNIT}", user(at)); // a string takes everything
        }
        entries.push('\n');
    }
    dc.add_while_stopped(&entries);
}

/// One way to sign in, and what it came to.
struct Phase {
    name: &'static str,
    /// The most searches that it may cost.
    searches_max: u64,
    took: Vec<Duration>,
    /// How many were not answered in time.
    late: usize,
    searches: u64,
    connections: u64,
    controller: Duration,
}

impl Phase {
    fn new(name: &'static str, searches_max: u64) -> Self {
        let (took, controller) = (Vec::new(), Duration::ZERO);
        Self { name, searches_max, took, late: 0, searches: 0, connections: 0, controller }
    }

    /// Everybody of some agents, so many at a time.
    fn run(
        &mut self,
        dc: &Dc,
        at_once: usize,
        agents: &[Mutex<Client>],
        sign_in: impl Fn(usize, &mut Client) -> Asked + Sync,
    ) {
        let before = dc.processor_time();
        let next = AtomicUsize::new(0);
        let done = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..at_once {
                scope.spawn(|| {
                    loop {
                        let at = next.fetch_add(1, Ordering::SeqCst);
                        let Some(agent) = agents.get(at) else { return };
                        let asked = sign_in(at, &mut agent.lock().unwrap());
                        done.lock().unwrap().push(asked);
                    }
                });
            }
        });
        self.controller += dc.processor_time() - before;
        for asked in done.into_inner().unwrap() {
            self.took.push(asked.took);
            // Who is not answered in time signs in with what is remembered, or with nothing.
            if asked.facts.directory != Directory::Answered {
                self.late += 1;
                continue;
            }
            assert_eq!(asked.user().primary_computers.len(), 1, "{}", self.name);
            let searches = asked.counts.searches;
            assert!(searches <= self.searches_max, "{}: {searches} searches", self.name);
            self.searches += searches;
            self.connections += asked.counts.connections;
        }
    }

    fn cost_ms(&self) -> f64 {
        self.controller.as_secs_f64() * 1e3 / self.took.len() as f64
    }

    fn print(&mut self) {
        self.took.sort();
        let count = self.took.len();
        let at = |share: usize| self.took[(count * share / 100).min(count - 1)].as_secs_f64() * 1e3;
        let answered = (count - self.late).max(1) as f64;
        println!(
            "{:<34} {:>9.2} {:>9.2} {:>10.1} {:>8.1} {:>8.2} {:>6}",
            self.name,
            self.searches as f64 / answered,
            self.connections as f64 / answered,
            at(50),
            at(99),
            self.cost_ms(),
            self.late
        );
    }
}

/// How long sign-ins wait for one of some processors (Erlang C): mean and 99th percentile, seconds.
/// `None` where more arrives than is served.
fn waits(per_second: f64, cost: f64, processors: u32) -> Option<(f64, f64)> {
    let load = per_second * cost;
    let count = f64::from(processors);
    if load >= count {
        return None;
    }
    let (mut term, mut sum) = (1.0, 0.0);
    for at in 0..processors {
        sum += term;
        term *= load / f64::from(at + 1);
    }
    let queued = term / (1.0 - load / count);
    let is_waiting = queued / (sum + queued);
    let drain = (count - load) / cost;
    Some((is_waiting / drain, ((is_waiting / 0.01).ln() / drain).max(0.0)))
}

/// What start jitter does to a morning on which everybody signs in.
fn print_storm(name: &str, cost_ms: f64) {
    println!("\n{FLEET} sign-ins, {name}, at {cost_ms:.2} ms of the controller each:");
    println!("{:<16} {:>10} {:>12}   what a sign-in waits", "spread over", "cores", "busy");
    let cost = cost_ms / 1e3;
    for minutes in [1, 10, 30, 60] {
        for processors in [1, 2, 4] {
            let seconds = f64::from(minutes) * 60.0;
            let per_second = FLEET / seconds;
            let busy = per_second * cost / f64::from(processors);
            let text = match waits(per_second, cost, processors) {
                Some((mean, late)) => {
                    format!("mean {:.1} ms, p99 {:.1} ms", mean * 1e3, late * 1e3)
                }
                None => format!("falls behind: the last one waits {:.0} s", seconds * (busy - 1.0)),
            };
            println!("{minutes:>3} min {processors:>19} {:>11.0} %   {text}", busy * 100.0);
        }
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let count = match args.first().map(String::as_str) {
        Some("--quick") => QUICK,
        Some(count) => count.parse().expect("a number of sign-ins, or --quick"),
        None => FULL,
    };
    let mut dc = Dc::start();
    let begun = Instant::now();
    populate(&mut dc, count);
    println!("{count} people and computers made in {:.1?}", begun.elapsed());
    let directory = tls("ldaps", &[dc::HOST]);

    let mut phases = [
        Phase::new("first ever, connects", 12),
        Phase::new("agent started again, connects", 3),
        Phase::new("known user, connection open", 1),
        Phase::new("new user, connection open", 3),
        Phase::new("started again, one at a time", 3),
        Phase::new("known user, one at a time", 1),
    ];
    for first in (0..count).step_by(KEPT) {
        let batch: Vec<usize> = (first..count.min(first + KEPT)).collect();
        let agent = |at: &usize| Mutex::new(Client::on(&computer(*at), &directory, 7));
        let agents: Vec<_> = batch.iter().map(agent).collect();
        let theirs = |at: usize, agent: &mut Client| agent.ask(&user(batch[at]));
        let started = |at: usize, agent: &mut Client| {
            agent.restart(&directory);
            theirs(at, agent)
        };
        // Who was late knows nothing, or is not connected: the next phase is about those who are.
        let settle = |agents: &[Mutex<Client>]| {
            let mut settled = Phase::new("everybody is connected", u64::MAX);
            settled.run(&dc, AT_ONCE, agents, |at, agent| {
                agent.until_answered(&user(batch[at]));
                theirs(at, agent)
            });
        };
        let [cold, again, known, new, again_alone, known_alone] = &mut phases;
        cold.run(&dc, AT_ONCE, &agents, theirs);
        settle(&agents);
        again.run(&dc, AT_ONCE, &agents, started);
        settle(&agents);
        known.run(&dc, AT_ONCE, &agents, theirs);
        new.run(&dc, AT_ONCE, &agents, |at, agent| agent.ask(&user((batch[at] + 1) % count)));
        if first == 0 {
            let few = &agents[..agents.len().min(ALONE)];
            again_alone.run(&dc, 1, few, started);
            known_alone.run(&dc, 1, few, theirs);
        }
    }
    println!(
        "{:<34} {:>9} {:>9} {:>10} {:>8} {:>8} {:>6}",
        "sign-in", "searches", "connects", "median ms", "p99 ms", "DC ms", "late"
    );
    for phase in &mut phases {
        phase.print();
    }
    let [_, again, known, ..] = &phases;
    print_storm(again.name, again.cost_ms());
    print_storm(known.name, known.cost_ms());
    println!("\n{:.1?} in all", begun.elapsed());
}
