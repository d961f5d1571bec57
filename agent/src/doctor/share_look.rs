//! The looking of `homeport doctor '\\server\share\folder'`: the server over the network, and the share
//! through the directory that holds it here, or the helper (`share_smb_look.rs`). Each look has a deadline: a dead mount hangs in the kernel.
#![expect(clippy::disallowed_methods, reason = "edge: looks at mounts")]
#![expect(clippy::disallowed_types, reason = "edge: connects to the server")]

use std::collections::BTreeSet;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;

use homeport_policy::unc::Unc;
use rustix::io::Errno;

use super::share_access::Descriptor;
use super::share_descriptor;
use super::share_facts::{Facts, Look, NtStatus, Referral, Seen, Stage, Tree};
use super::share_judge::{ShareReport, judge};
use super::share_smb_look::{Helper, is_installed};
use super::smb_negotiate::{NegotiateError, Negotiated, negotiate};
use crate::clock::Clock;
use crate::limits::{DESCRIPTOR_BYTES_MAX, DOCTOR_NAMES_MAX, DOCTOR_TIMEOUT};
use crate::outcome::chain;
use crate::plan::Remote;
use crate::plan::mounts::{locate, over_smb};
use crate::settings::{Mount, Settings};
use crate::share::reach::{ReachError, stands};

/// Where SMB is spoken.
const PORT: u16 = 445;
/// Everybody who signs in is these.
const ALWAYS: [&str; 3] = ["S-1-1-0", "S-1-5-2", "S-1-5-11"];
/// What the kernel's SMB client says a file's security descriptor is, the newest name first.
const DESCRIPTORS: [&str; 2] = ["system.cifs_ntsd", "system.cifs_acl"];
/// What the kernel's SMB client calls its file systems: CIFS_MAGIC_NUMBER, SMB2_MAGIC_NUMBER.
const SMB_MAGICS: [u32; 2] = [0xff53_4d42, 0xfe53_4d42];

/// Does something in a thread of its own, which is given up when it takes too long.
fn within<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (to, done) = channel();
    std::thread::spawn(move || to.send(work()));
    done.recv_timeout(DOCTOR_TIMEOUT).ok()
}

/// An error of this system, as the server said it or as Windows would.
pub fn status_of(error: &io::Error) -> Option<NtStatus> {
    let errno = Errno::from_io_error(error)?;
    Some(match errno {
        Errno::ACCESS | Errno::PERM => NtStatus::ACCESS_DENIED,
        Errno::NOENT => NtStatus::NOT_FOUND,
        Errno::NOTDIR | Errno::LOOP => NtStatus::NOT_A_DIRECTORY,
        Errno::NOKEY | Errno::KEYEXPIRED | Errno::KEYREVOKED | Errno::KEYREJECTED => {
            NtStatus::LOGON_FAILURE
        }
        Errno::TIMEDOUT | Errno::AGAIN => NtStatus::IO_TIMEOUT,
        Errno::CONNREFUSED => NtStatus::CONNECTION_REFUSED,
        Errno::HOSTDOWN | Errno::HOSTUNREACH | Errno::NETUNREACH => NtStatus::HOST_UNREACHABLE,
        Errno::CONNRESET | Errno::NOTCONN | Errno::STALE => NtStatus::CONNECTION_LOST,
        _ => return None,
    })
}

fn failed(error: &io::Error) -> Seen {
    Seen::Failed { status: status_of(error), why: error.to_string() }
}

fn hung() -> Seen {
    let why = format!("no answer within {} s", DOCTOR_TIMEOUT.as_secs());
    Seen::Failed { status: Some(NtStatus::IO_TIMEOUT), why }
}

/// A directory of this computer that holds the share, or a part of it.
#[derive(Clone, Debug)]
struct Mounted {
    /// How it is mapped.
    remote: Remote,
    /// How many names below the share's root the mount lies.
    depth: usize,
    /// It did not answer once: nothing more is asked, for each question would wait as long.
    hangs: bool,
}

impl Mounted {
    /// Looks at something within the deadline.
    fn within<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let found = within(work);
        self.hangs |= found.is_none();
        found
    }

    /// The directory of a folder; `Err` for one above the mount.
    fn at(&self, below: &[&str]) -> Result<PathBuf, Seen> {
        if self.hangs {
            return Err(Seen::Unknown("the mount did not answer just now".to_owned()));
        }
        let Some(names) = below.get(self.depth..) else {
            let mount = self.remote.mount.display();
            return Err(Seen::Unknown(format!("it lies above what is mounted at {mount}")));
        };
        Ok(names.iter().fold(self.remote.mount.clone(), |path, name| path.join(name)))
    }
}

impl Look for Mounted {
    fn session(&mut self) -> Seen {
        let mount = self.remote.mount.display();
        Seen::Unknown(format!(
            "the directory {mount} holds the share; whoever mounted it signed in"
        ))
    }

    fn tree(&mut self) -> (Seen, Tree) {
        let (mount, remote) = (self.remote.mount.clone(), self.remote.clone());
        let seen = match self.within(move || stands(&remote)) {
            None => hung(),
            Some(Ok(())) => Seen::Well(format!("is at {}", mount.display())),
            Some(Err(error)) => {
                let cause = match &error {
                    ReachError::Open { source, .. }
                    | ReachError::Refused { source, .. }
                    | ReachError::Make { source, .. } => status_of(source),
                    ReachError::NotMounted { .. } => Some(NtStatus::CONNECTION_LOST),
                    ReachError::NotADirectory { .. } => Some(NtStatus::NOT_A_DIRECTORY),
                };
                Seen::Failed { status: cause, why: chain(&error) }
            }
        };
        (seen, Tree::default())
    }

    fn open(&mut self, below: &[&str]) -> Seen {
        let path = match self.at(below) {
            Ok(path) => path,
            Err(unknown) => return unknown,
        };
        match self.within(move || std::fs::symlink_metadata(path)) {
            None => hung(),
            Some(Err(error)) => failed(&error),
            Some(Ok(meta)) if meta.is_dir() => Seen::Well("may be opened".to_owned()),
            Some(Ok(_)) => {
                let why = "it is no folder, or a link".to_owned();
                Seen::Failed { status: Some(NtStatus::NOT_A_DIRECTORY), why }
            }
        }
    }

    fn list(&mut self, below: &[&str]) -> Seen {
        let path = match self.at(below) {
            Ok(path) => path,
            Err(unknown) => return unknown,
        };
        let first = || std::fs::read_dir(path)?.next().transpose();
        match self.within(first) {
            None => hung(),
            Some(Err(error)) => failed(&error),
            Some(Ok(_)) => Seen::Well("may be listed".to_owned()),
        }
    }

    fn descriptor(&mut self, below: &[&str]) -> Result<Descriptor, String> {
        let path = self.at(below).map_err(|seen| match seen {
            Seen::Unknown(why) | Seen::Well(why) | Seen::Failed { why, .. } => why,
        })?;
        let found = self.within(move || descriptor(&path));
        let bytes = found.unwrap_or_else(|| Err("no answer in time".to_owned()))?;
        share_descriptor::parse(&bytes).map_err(|error| error.to_string())
    }

    fn referrals(&mut self, _: &[&str]) -> Vec<Referral> {
        Vec::new() // the kernel follows them, and does not say where
    }
}

fn descriptor(path: &Path) -> Result<Vec<u8>, String> {
    let mut buffer = vec![0; DESCRIPTOR_BYTES_MAX];
    let mut last = Errno::NOTSUP;
    for name in DESCRIPTORS {
        match rustix::fs::lgetxattr(path.as_os_str().as_bytes(), name, buffer.as_mut_slice()) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(Errno::NOTSUP | Errno::NODATA) => {}
            Err(error) => last = error,
        }
    }
    Err(match last {
        Errno::NOTSUP => "the file system of the mount does not hand it out".to_owned(),
        error => error.to_string(),
    })
}

/// Whether a directory lies on a file system of the kernel's SMB client.
fn is_smb(path: &Path) -> bool {
    let path = path.to_owned();
    let magic = within(move || rustix::fs::statfs(path.as_os_str().as_bytes()));
    // What does not answer is most likely a share.
    magic.is_none_or(|found| found.is_ok_and(|found| SMB_MAGICS.contains(&(found.f_type as u32))))
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The path.
    pub unc: Unc,
    /// The user's SIDs, the one for whom an entry is to be added first.
    pub sids: Vec<String>,
}

/// Looks at everything that can be looked at from here, and judges it.
pub fn examine(
    asked: &Asked,
    settings: Option<&Settings>,
    clock: &Clock,
    chance: u64,
) -> ShareReport {
    let mut facts = Facts::new(asked.unc.clone(), clock.now());
    facts.sids = asked.sids.iter().cloned().chain(ALWAYS.map(str::to_owned)).collect();
    facts.who = asked.sids.first().cloned();
    let mounts = settings.map(|settings| settings.mounts.as_slice()).unwrap_or_default();
    let found = locate(mounts, &asked.unc);
    facts.by_smb =
        found.as_ref().map_or(true, |remote| remote.smb.is_some() || is_smb(&remote.mount));
    let said = server(&mut facts, clock, chance);
    if let Some(said) = said {
        facts.other_names = other_names(&asked.unc, mounts, said.guid, chance);
        facts.negotiated = Some(said);
    }
    let over_smb = match (&found, settings.map(|settings| &settings.smb)) {
        (Ok(remote), _) => remote.smb.as_deref().cloned(),
        (Err(_), Some(smb)) if is_installed(smb) => {
            over_smb(&asked.unc, smb).smb.map(|share| *share)
        }
        (Err(_), _) => None,
    };
    match found {
        _ if let Some(share) = over_smb => facts.look(&mut Helper::new(share)),
        Ok(remote) => {
            let below = mounted_at(mounts, &asked.unc).unwrap_or_default();
            facts.look(&mut Mounted { remote, depth: below, hangs: false });
        }
        Err(error) => {
            let (share, hint) = (share_of(&asked.unc), error.hint());
            facts.step(
                &share,
                Stage::Tree,
                Seen::Failed { status: None, why: format!("{error}; {hint}") },
            );
        }
    }
    judge(&facts)
}

fn share_of(unc: &Unc) -> String {
    let names: Vec<&str> = unc.parts().take(2).collect();
    format!(r"\\{}", names.join("\\"))
}

/// How deep below its share the mount lies that holds a path.
fn mounted_at(mounts: &[Mount], unc: &Unc) -> Option<usize> {
    let above = mounts.iter().filter(|mount| unc.below(&mount.unc).is_some());
    above.map(|mount| mount.unc.parts().count()).max().map(|count| count.saturating_sub(2))
}

fn resolve(host: &str) -> Option<io::Result<Vec<SocketAddr>>> {
    let host = host.to_owned();
    within(move || Ok((host.as_str(), PORT).to_socket_addrs()?.collect()))
}

/// 32 bytes that nobody can foretell, of the one number that was handed in.
fn salt(chance: u64) -> [u8; 32] {
    *blake3::hash(&chance.to_le_bytes()).as_bytes()
}

fn negotiate_with(at: SocketAddr, chance: u64) -> Result<Negotiated, NegotiateError> {
    let mut client = [0; 16];
    client.copy_from_slice(&salt(chance.wrapping_add(1))[..16]);
    negotiate(at, DOCTOR_TIMEOUT, client, salt(chance))
}

/// The server: its name, its port, what it says of itself.
fn server(facts: &mut Facts, clock: &Clock, chance: u64) -> Option<Negotiated> {
    let host = facts.unc.parts().next().unwrap_or_default().to_owned();
    let part = format!(r"\\{host}");
    let bad_path = |why| Seen::Failed { status: Some(NtStatus::BAD_NETWORK_PATH), why };
    let addresses = match resolve(&host) {
        None => {
            facts.step(&part, Stage::Name, hung());
            return None;
        }
        Some(Err(error)) => {
            facts.step(&part, Stage::Name, bad_path(error.to_string()));
            return None;
        }
        Some(Ok(addresses)) if addresses.is_empty() => {
            facts.step(&part, Stage::Name, bad_path("the name has no address".to_owned()));
            return None;
        }
        Some(Ok(addresses)) => addresses,
    };
    let shown: Vec<String> = addresses.iter().map(|at| at.ip().to_string()).collect();
    facts.step(&part, Stage::Name, Seen::Well(format!("is {}", shown.join(", "))));
    let mut last = None;
    for at in addresses.into_iter().take(DOCTOR_NAMES_MAX) {
        match TcpStream::connect_timeout(&at, DOCTOR_TIMEOUT) {
            Ok(_) => {
                facts.step(&part, Stage::Port, Seen::Well(format!("{at} is open")));
                let said = negotiate_with(at, chance);
                facts.now = clock.now();
                facts.step(&part, Stage::Dialect, dialect(&said));
                return said.ok();
            }
            Err(error) => last = Some((at, error)),
        }
    }
    if let Some((at, error)) = last {
        let seen = Seen::Failed { status: status_of(&error), why: format!("{at}: {error}") };
        facts.step(&part, Stage::Port, seen);
    }
    None
}

fn dialect(said: &Result<Negotiated, NegotiateError>) -> Seen {
    match said {
        Ok(said) => {
            let signing = if said.signing_required { "required" } else { "not required" };
            let encryption = if said.encryption { "offered" } else { "not offered" };
            let name = said.dialect_name();
            Seen::Well(format!("{name}, signing {signing}, encryption {encryption}"))
        }
        Err(NegotiateError::Refused(status)) => Seen::Failed {
            status: Some(NtStatus(*status)),
            why: "it refused to negotiate".to_owned(),
        },
        Err(error) => Seen::Failed { status: None, why: chain(error) },
    }
}

/// Shares of the same name that the settings map from other names of the same server.
fn other_names(unc: &Unc, mounts: &[Mount], guid: [u8; 16], chance: u64) -> Vec<String> {
    let mut own = unc.parts();
    let [Some(server), Some(share)] = [own.next(), own.next()] else { return Vec::new() };
    let mut others = BTreeSet::new();
    for mount in mounts {
        let mut parts = mount.unc.parts();
        let [Some(other), Some(same)] = [parts.next(), parts.next()] else { continue };
        if !other.eq_ignore_ascii_case(server) && same.eq_ignore_ascii_case(share) {
            others.insert(format!(r"\\{other}\{same}"));
        }
    }
    let is_same = |name: &String| {
        let host = name.trim_start_matches('\\').split('\\').next().unwrap_or_default();
        let first = resolve(host)?.ok()?.into_iter().next()?;
        Some(negotiate_with(first, chance).ok()?.guid == guid)
    };
    others.into_iter().take(DOCTOR_NAMES_MAX).filter(|name| is_same(name) == Some(true)).collect()
}
