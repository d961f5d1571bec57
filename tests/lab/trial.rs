//! One fault of the directory, from before to after: who waits how long, why, and that nothing moves.
//!
//! A trial has four who sign in: alice, whose last answer is at hand, and a newcomer without one;
//! each through the library and with the real `homeport` in a home of their own.
#![allow(dead_code, reason = "each test target uses its own part")]
use std::thread::JoinHandle;
use std::time::Duration;

use homeport_agent::directory::error::Kind;
use homeport_agent::limits::{DIRECTORY_CACHED_TIMEOUT, DIRECTORY_TIMEOUT};
use homeport_policy::decide::FolderAction;
use homeport_policy::facts::Directory;

use crate::client::{Asked, Client, SLACK};
use crate::home::{Home, SIGN_IN_SLACK, SignedIn};
use crate::world::Ran;

/// What is wrong, in the agent's words.
#[derive(Clone, Copy, Debug)]
pub struct Wrong {
    pub kind: Kind,
    /// A part of how to mend it.
    pub hint: &'static str,
}

pub struct Trial {
    name: &'static str,
    directory: String,
    newcomer: &'static str,
    pub client: Client,
    pub known: Home,
    pub new: Home,
}

/// Sign-ins on their way, and the files before.
pub struct Running {
    known: JoinHandle<SignedIn>,
    new: JoinHandle<SignedIn>,
    files: [Vec<(String, String)>; 2],
}

impl Trial {
    /// Alice's documents are on the share, and everybody knows why. Nobody has seen the newcomer.
    pub fn begin(name: &'static str, directory: &str, newcomer: &'static str) -> Self {
        let mut client = Client::new(directory);
        let asked = client.ask("alice");
        assert!(asked.is_redirected(), "{:?} {:?}", asked.codes(), client.trouble());
        let (known, new) = (Home::new(directory), Home::new(directory));
        let directory = directory.to_owned();
        let trial = Self { name, directory, newcomer, client, known, new };
        trial.comes_in("alice", &trial.known);
        let base = trial.directory.lines().find_map(|line| line.strip_prefix("base = "));
        trial.known.grow_old(base.unwrap_or_default().trim_matches('\''));
        trial
    }

    /// Somebody signs in with a healthy directory, and their documents are on the share.
    fn comes_in(&self, user: &str, home: &Home) {
        let signed_in = home.sign_in(user);
        let Ran { code, out, err } = &signed_in.ran;
        assert_eq!(*code, 0, "{}: {out}{err}", self.name);
        let why = (signed_in.codes(), home.directory());
        assert_eq!(signed_in.action(), "redirect", "{}: {why:?}", self.name);
        assert!(!signed_in.codes().iter().any(|code| code.starts_with("directory-")));
        let there = home.world.read(&format!("server/home/{user}/Documents/a/thesis.txt"));
        assert_eq!(there.as_deref(), Some(user), "{}", self.name);
        assert!(home.directory()["error"].is_null(), "{}: {}", self.name, home.directory());
    }

    /// What the library does while the fault lasts, and the homes meanwhile. `first` is what an agent
    /// finds that was connected before, `anew` what one finds that has to connect.
    pub fn holds(&mut self, first: Wrong, anew: Wrong) {
        let running = self.sign_in();
        self.known_user_holds(first);
        let mut cold = Client::new(&self.directory);
        let asked = cold.ask(self.newcomer);
        let what = format!("{}, library, newcomer", self.name);
        is_away(&what, &asked, DIRECTORY_TIMEOUT + SLACK);
        is_wrong(&what, &cold, anew);
        self.tell("library", "newcomer", asked.took, &asked.codes(), &cold);
        self.homes_hold(running, anew);
    }

    /// Alice, through the library.
    pub fn known_user_holds(&mut self, wrong: Wrong) {
        let what = format!("{}, library, alice", self.name);
        let asked = self.client.ask("alice");
        assert!(asked.is_cached(), "{what}: {:?}", asked.facts.directory);
        assert!(asked.is_redirected(), "{what}: {:?}", asked.documents());
        assert!(asked.codes().contains(&"directory-cached"), "{what}: {:?}", asked.codes());
        assert!(asked.took <= DIRECTORY_CACHED_TIMEOUT + SLACK, "{what}: {:?}", asked.took);
        is_wrong(&what, &self.client, wrong);
        self.tell("library", "alice", asked.took, &asked.codes(), &self.client);
        // Whoever comes next does not wait for what is known to be away.
        let again = self.client.ask("alice");
        assert!(again.is_cached() && again.is_redirected(), "{what}");
        assert_eq!(again.counts.searches, 0, "{what}");
        assert!(again.took <= SLACK, "{what}: {:?}", again.took);
        let newcomer = self.client.ask(self.newcomer);
        is_away(&what, &newcomer, SLACK);
    }

    /// Two sign-ins begin.
    pub fn sign_in(&self) -> Running {
        let files = [self.known.files(), self.new.files()];
        Running { known: self.known.begin("alice"), new: self.new.begin(self.newcomer), files }
    }

    /// Two sign-ins end: one as the last answer has it, one with nothing done.
    pub fn homes_hold(&self, running: Running, wrong: Wrong) {
        let Running { known, new, files } = running;
        let [known, new] = [known, new].map(|sign_in| sign_in.join().unwrap());
        for (signed_in, home, who, limit, action, code) in [
            (
                &known,
                &self.known,
                "alice",
                DIRECTORY_CACHED_TIMEOUT,
                "redirect",
                "directory-cached",
            ),
            (&new, &self.new, "newcomer", DIRECTORY_TIMEOUT, "hold", "directory-away"),
        ] {
            let what = format!("{}, homeport, {who}", self.name);
            let Ran { code: ended, out, err } = &signed_in.ran;
            assert_eq!(*ended, 0, "{what}: {out}{err}");
            assert_eq!(signed_in.action(), action, "{what}");
            assert!(
                signed_in.codes().iter().any(|is| is == code),
                "{what}: {:?}",
                signed_in.codes()
            );
            assert!(signed_in.took <= limit + SIGN_IN_SLACK, "{what}: {:?}", signed_in.took);
            let said = home.directory();
            let hint = said["hint"].as_str().unwrap_or_default();
            assert!(hint.contains(wrong.hint), "{what}: {said}");
            let error = said["error"].as_str().unwrap_or_default();
            assert!(
                words_of(wrong.kind).iter().any(|words| error.contains(words)),
                "{what}: {said}"
            );
            println!(
                "{what}: {:?}, {action} {:?}, {}",
                signed_in.took,
                signed_in.codes(),
                said["error"]
            );
        }
        assert_eq!([self.known.files(), self.new.files()], files, "{}: something moved", self.name);
    }

    /// The fault is over: everybody comes back by themselves, and the newcomer comes in.
    pub fn ends(mut self) {
        let took = self.client.until_answered("alice");
        println!("{}, library: back after {took:?}", self.name);
        assert!(self.client.trouble().is_none());
        self.homes_come_back();
    }

    pub fn homes_come_back(&self) {
        self.comes_in("alice", &self.known);
        self.comes_in(self.newcomer, &self.new);
    }

    fn tell(&self, how: &str, who: &str, took: Duration, codes: &[&str], client: &Client) {
        let (kind, _, words) = client.trouble().unwrap();
        println!("{}, {how}, {who}: {took:?}, {codes:?}, {}: {words}", self.name, kind.name());
    }
}

/// Nothing is known: nobody's folders move, and that is why.
fn is_away(what: &str, asked: &Asked, limit: Duration) {
    assert_eq!(asked.facts.directory, Directory::Away, "{what}");
    assert_eq!(*asked.documents(), FolderAction::Hold, "{what}");
    assert_eq!(asked.codes(), ["directory-away"], "{what}");
    assert!(asked.took <= limit, "{what}: {:?}", asked.took);
}

/// How `status`, which knows no kinds, begins to tell of each.
fn words_of(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Discovery => &["cannot find a domain controller"],
        Kind::Connect => &["cannot connect to"],
        Kind::Tls => &["cannot trust"],
        Kind::Secret => &["cannot use the secret", "cannot read the keytab"],
        Kind::Bind => &["does not accept"],
        Kind::Kerberos => &["Kerberos gives"],
        Kind::Timeout => &["did not answer within"],
        Kind::Search => &["broke off", "did not answer for"],
        Kind::Identity => &["is not the domain it was"],
    }
}

fn is_wrong(what: &str, client: &Client, wrong: Wrong) {
    let (kind, hint, words) = client.trouble().unwrap_or_else(|| panic!("{what}: no error"));
    assert_eq!(kind, wrong.kind, "{what}: {words}");
    assert!(hint.contains(wrong.hint), "{what}: {hint:?} for {words}");
}
