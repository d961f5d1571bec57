//! Alice's documents, kept offline: where they are, and what is said of them.

use std::time::Duration;

use homeport_sync::lines::Event;

use super::{Ran, World};

pub const ROOT: &str = r"\\files\home\alice\Documents";
pub const HERE: &str = "homes/alice/Documents";
pub const THERE: &str = "server/home/alice/Documents";
/// Longest a test waits for something that is due at once; only a broken agent uses it up.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A world in which alice has signed in with some documents, which are offline by these settings.
pub fn signed_in(documents: &[(&str, &str)], more: &str) -> World {
    let world = World::new();
    let policy = format!("{}\n[computer.offline-files]\n{more}\n", super::STAFF);
    world.write("policy.d/staff.toml", &policy);
    for (name, text) in documents {
        here(&world, name, text);
    }
    world.ok(&["logon", "alice"]);
    world
}

pub fn here(world: &World, name: &str, text: &str) {
    world.write(&format!("{HERE}/{name}"), text);
}

pub fn there(world: &World, name: &str, text: &str) {
    world.write(&format!("{THERE}/{name}"), text);
}

/// What each line of progress says.
pub fn events(ran: &Ran) -> Vec<Event> {
    ran.out.lines().map(|line| line.parse().unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
}
