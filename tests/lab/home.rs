//! A computer of the lab with people's homes and the real `homeport`, before, during and after faults.
#![allow(dead_code, reason = "each test target uses its own part")]
use std::process::Command;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use homeport_agent::directory::cache::Store;
use serde_json::Value;

use crate::client::POLICY;
use crate::support::krb;
use crate::world::{Ran, World, ran, tree};

/// What a sign-in may take besides waiting for the directory: two programs are started, and one
/// folder is moved, on a machine that does other things as well.
pub const SIGN_IN_SLACK: Duration = Duration::from_secs(3);

pub struct Home {
    pub world: World,
}

/// A sign-in that ended.
pub struct SignedIn {
    pub ran: Ran,
    pub took: Duration,
}

impl Home {
    /// DESK-1 with homes of three people, whose documents policy wants on the share.
    pub fn new(directory: &str) -> Self {
        let world = World::new();
        world.write("policy.d/everybody.toml", POLICY);
        for user in ["alice", "bob", "carol"] {
            world.write(&format!("homes/{user}/Documents/a/thesis.txt"), user);
            world.write(&format!("homes/{user}/Pictures/cat.txt"), "cat");
        }
        let home = Self { world };
        home.set_directory(directory);
        home
    }

    pub fn set_directory(&self, directory: &str) {
        let text = self.world.settings("DESK-1");
        let (before, after) = text.split_once("directory = ").unwrap();
        let (_, after) = after.split_once('\n').unwrap();
        // Where the profiles of the lab's people are.
        let profiles = "[[mount]]\nunc = '\\\\files.corp.test\\profiles'\n\
                        path = 'server/profiles'\nmounted = false\n";
        let text = format!("{before}{after}{profiles}[directory]\nkind = 'ldap'\n{directory}");
        self.world.write("agent.toml", &text);
    }

    /// Lets an hour pass for what is remembered of the directory: an answer of a moment ago serves
    /// a sign-in as if it were new.
    pub fn grow_old(&self, base: &str) {
        let bound_to = format!("desk-1\ncorp.test\n{}", base.to_lowercase());
        let store = Store::new(&self.world.path("state"), bound_to);
        let mut memory = store.load().unwrap();
        assert!(!memory.users.is_empty(), "nothing is remembered");
        for user in memory.users.values_mut() {
            user.at_unix_ms -= 3_600_000;
        }
        store.keep(&memory).unwrap();
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.world.command(args);
        command.envs(krb::environment());
        command
    }

    /// Signs somebody in while the caller does something else.
    pub fn begin(&self, user: &str) -> JoinHandle<SignedIn> {
        self.start(user, "logon")
    }

    /// The same for signing out.
    pub fn take(&self, user: &str, occasion: &str) -> SignedIn {
        self.start(user, occasion).join().unwrap()
    }

    fn start(&self, user: &str, occasion: &str) -> JoinHandle<SignedIn> {
        let mut command = self.command(&["--json", occasion, user]);
        std::thread::spawn(move || {
            let begun = Instant::now();
            let output = command.output().unwrap();
            SignedIn { took: begun.elapsed(), ran: ran(output) }
        })
    }

    pub fn sign_in(&self, user: &str) -> SignedIn {
        self.begin(user).join().unwrap()
    }

    /// How it stands with the directory, as `homeport status` tells.
    pub fn directory(&self) -> Value {
        let ran = ran(self.command(&["--json", "status"]).output().unwrap());
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
        let status: Value = serde_json::from_str(&ran.out).unwrap();
        status["directory"].clone()
    }

    /// Every file of the homes and the shares. What the agent notes for itself is not of the home.
    pub fn files(&self) -> Vec<(String, String)> {
        let mut files = tree(&self.world.path("homes"));
        let is_note = |name: &str| {
            name.contains("/.local/share/homeport/journal/")
                || name.contains("/.homeport-tmp-probe-")
        };
        files.retain(|(name, _)| !is_note(name));
        files.extend(tree(&self.world.path("server")));
        files
    }
}

impl SignedIn {
    fn documents(&self) -> Value {
        let said = &self.ran;
        let answer: Value = serde_json::from_str(&said.out)
            .unwrap_or_else(|error| panic!("{error}: {}{}", said.out, said.err));
        let folders = answer[0]["decision"]["folders"].as_array().unwrap().clone();
        folders.into_iter().find(|folder| folder["folder"] == "documents").unwrap()
    }

    /// What was decided about Documents, in the word of the decision.
    pub fn action(&self) -> String {
        self.documents()["action"]["action"].as_str().unwrap().to_owned()
    }

    /// The codes of why.
    pub fn codes(&self) -> Vec<String> {
        let documents = self.documents();
        let because = documents["because"].as_array().unwrap();
        because.iter().map(|reason| reason["reason"].as_str().unwrap().to_owned()).collect()
    }
}
