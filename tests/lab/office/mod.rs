//! A computer of alice's whose agent is root, with her offline folder on a real file server and
//! nothing mounted.
#![allow(dead_code, reason = "each test target uses its own part")]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::PathBuf;

use base64::Engine as _;
use homeport_agent::directory::sid;
use serde_json::Value as Json;

use crate::support::fileserver::{ACCOUNTS, FileServer, HOST, PASSWORD, helper};
use crate::support::root;
use crate::world::{self, World};

/// One computer.
pub struct Office {
    pub world: World,
    /// The network folder that policy keeps offline.
    pub unc: String,
    cache: PathBuf,
}

impl Office {
    /// A computer that keeps `\\files.corp.test\SHARE\FOLDER` offline. `more` is added to what
    /// policy says of offline files.
    pub fn new(server: &FileServer, share: &str, folder: &str, more: &str) -> Self {
        Self::through(server, share, folder, more, 445)
    }

    /// The same, with the file server behind a port of its own.
    pub fn through(server: &FileServer, share: &str, folder: &str, more: &str, port: u16) -> Self {
        assert!(rustix::process::geteuid().is_root(), "tests/lab/enter as root runs this");
        let world = World::new();
        let at = |path: PathBuf| path.display().to_string();
        let password = world.path("password");
        fs::write(&password, format!("{PASSWORD}\n")).unwrap();
        fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
        chown(&password, Some(ACCOUNTS[0].1), Some(ACCOUNTS[0].1)).unwrap();
        let settings = world.settings("DESK-1").replace("homes.root = 'homes'\n", "");
        let (before, _) = settings.split_once("[[mount]]").unwrap();
        world.write(
            "agent.toml",
            &format!(
                "{before}[smb]\nhelper = '{}'\nport = {port}\nntlm = true\nuser = 'alice'\n\
                 password-file = '{}'\n[[mount]]\nunc = '\\\\{HOST}\\{share}'\nbackend = 'smb'\n",
                at(helper()),
                at(password)
            ),
        );
        let unc = format!(r"\\{HOST}\{share}\{folder}");
        world.write(
            "policy.d/all.toml",
            &format!(
                "schema = 1\n[policy]\nid = 'all'\nversion = 1\n\
                 [computer.offline-files]\nassigned = ['{unc}']\n{more}\n"
            ),
        );
        let bytes = sid::bytes(&server.sid("alice")).unwrap();
        let value = base64::engine::general_purpose::STANDARD.encode(bytes);
        let named = "sAMAccountName: alice\n";
        let ldif = world::LDIF.replace(named, &format!("{named}objectSid:: {value}\n"));
        let profile = "profilePath: \\\\files\\profiles\\alice\n";
        assert!(ldif.contains(profile) && ldif.contains("objectSid"), "{ldif}");
        world.write("corp.ldif", &ldif.replace(profile, ""));
        fs::set_permissions(world.root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let home = root().join("home/alice");
        let _of_a_test_before = fs::remove_dir_all(&home);
        fs::create_dir_all(&home).unwrap();
        chown(&home, Some(ACCOUNTS[0].1), Some(ACCOUNTS[0].1)).unwrap();
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
        let cache = home.join(".local/share/homeport/cache").join(HOST).join(share).join(folder);
        Self { world, unc, cache }
    }

    /// A file of the offline folder on this computer.
    pub fn here(&self, name: &str) -> PathBuf {
        self.cache.join(name)
    }

    /// What is in a file here, if it is there.
    pub fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.here(name)).ok()
    }

    /// Alice writes a file here.
    pub fn write(&self, name: &str, text: &str) {
        crate::support::fileserver::write(&self.here(name), text);
    }

    /// What the agent says of the folder.
    pub fn told(&self) -> Json {
        let status: Json = serde_json::from_str(&self.world.ok(&["status", "--json"])).unwrap();
        let caches = status["users"]["alice"]["caches"].as_array().unwrap().clone();
        caches.into_iter().find(|cache| cache["path"] == self.unc.as_str()).unwrap()
    }

    /// The folder's mode, as a word.
    pub fn mode(&self) -> String {
        self.told()["mode"].as_str().unwrap().to_owned()
    }
}
