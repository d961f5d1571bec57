//! Kerberos as the computer account: its keytab, its ticket, and a bind that never blocks the agent.
//!
//! MIT Kerberos takes the client keytab and the ticket cache from the environment, and setting that
//! in a program with threads is not sound. So before it makes any thread, the program replaces itself
//! by itself with both variables set (`exec`: same process, same id, so a service manager notices
//! nothing). Tickets live in memory only and are renewed from the keytab by the library.
#![expect(clippy::disallowed_methods, reason = "edge: environment, own program, keytab")]

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::Path;

use ldap3::Ldap;

use crate::directory::error::{DirectoryError, Refusal};
use crate::settings::{DirectorySettings, Security};

/// The variables that the agent sets for the library, and its workers must not inherit: a person's
/// own tickets are elsewhere.
pub const VARIABLES: [&str; 2] = ["KRB5_CLIENT_KTNAME", "KRB5CCNAME"];
const MEMORY: &str = "MEMORY:homeport";

/// Replaces this program by itself with the environment that Kerberos needs, unless it has it or the
/// settings need none. Has to be called before the first thread is made.
///
/// # Errors
/// When the program cannot be started again; the directory is then out of reach.
pub fn prepare(settings: &DirectorySettings) -> std::io::Result<()> {
    let DirectorySettings::Ldap(ldap) = settings else { return Ok(()) };
    let Security::Kerberos { keytab, .. } = &ldap.security else { return Ok(()) };
    let mut client = OsString::from("FILE:");
    client.push(keytab);
    let wanted = [client, OsString::from(MEMORY)];
    let is_set = |(name, value): (&&str, &OsString)| std::env::var_os(name).as_ref() == Some(value);
    if VARIABLES.iter().zip(&wanted).all(is_set) {
        return Ok(());
    }
    let mut again = std::process::Command::new(std::env::current_exe()?);
    again.args(std::env::args_os().skip(1)).envs(VARIABLES.iter().zip(&wanted));
    Err(again.exec()) // returns only if it failed
}

/// Whether the keytab can be read at all; the library's own words for that are hard to understand.
///
/// # Errors
/// [`DirectoryError::Keytab`].
pub fn check_keytab(path: &Path) -> Result<(), DirectoryError> {
    let open = std::fs::File::open(path);
    open.map(drop).map_err(|source| DirectoryError::Keytab { path: path.to_owned(), source })
}

/// Whom a bind is for.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The server, as it was dialled.
    pub server: String,
    /// What comes after `ldap/` in the name of its service: `host`, or `host/domain`. The latter is
    /// for servers that somebody else named, such as DNS: only a controller of that domain has it.
    pub service: String,
    /// Who the agent is.
    pub principal: String,
}

/// Binds as `peer.principal` to the service `ldap/…`.
///
/// The library blocks while it asks a Kerberos server, for as long as its own settings say. That
/// happens on a thread of its own, and only one for each server; whoever waits gives up at the
/// deadline, and may try the next server meanwhile.
///
/// # Errors
/// [`DirectoryError::Kerberos`], [`DirectoryError::Bind`].
#[cfg(feature = "kerberos")]
pub async fn bind(ldap: Ldap, peer: &Peer) -> Result<(), DirectoryError> {
    let Peer { server, service, principal } = peer;
    let failed = |message: String| DirectoryError::Kerberos {
        service: format!("ldap/{service}"),
        who: principal.clone(),
        message,
    };
    let Some(busy) = Busy::with(server) else {
        return Err(DirectoryError::KerberosBusy { server: server.clone() });
    };
    let (tell, told) = tokio::sync::oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    let (service, who) = (service.clone(), principal.clone());
    let thread = std::thread::Builder::new().name("kerberos".to_owned()).spawn(move || {
        let answer = attempt(&runtime, ldap, &service, &who);
        drop(busy);
        let _ = tell.send(answer); // nobody waits any more: the deadline passed
    });
    thread.map_err(|error| failed(format!("no thread for it: {error}")))?;
    let answer =
        told.await.map_err(|_| failed("the library failed".to_owned()))?.map_err(failed)?;
    if answer.rc == 0 {
        return Ok(());
    }
    let answer = Refusal { code: answer.rc, text: answer.text };
    Err(DirectoryError::Bind { server: server.clone(), who: principal.clone(), answer })
}

/// Servers whose attempt has not come back yet, and threads that may be blocked for them.
#[cfg(feature = "kerberos")]
static ATTEMPTS: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());

/// An attempt for one server; ends with it, however that happens.
#[cfg(feature = "kerberos")]
struct Busy(String);

#[cfg(feature = "kerberos")]
impl Busy {
    fn with(server: &str) -> Option<Self> {
        let mut attempts = ATTEMPTS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let full = attempts.len() >= crate::limits::KERBEROS_THREADS_MAX;
        if full || attempts.iter().any(|known| known == server) {
            return None;
        }
        attempts.push(server.to_owned());
        Some(Self(server.to_owned()))
    }
}

#[cfg(feature = "kerberos")]
impl Drop for Busy {
    fn drop(&mut self) {
        let mut attempts = ATTEMPTS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        attempts.retain(|known| *known != self.0);
    }
}

/// One bind, on a thread that may be blocked.
#[cfg(feature = "kerberos")]
fn attempt(
    runtime: &tokio::runtime::Handle,
    mut ldap: Ldap,
    service: &str,
    principal: &str,
) -> Result<ldap3::LdapResult, String> {
    use cross_krb5::{Cred, InitiateFlags, K5Cred as _};

    // A panic in the library is an error of this attempt, in words.
    let bound = std::panic::AssertUnwindSafe(|| {
        let cred = Cred::client_acquire(InitiateFlags::empty(), Some(principal));
        let cred = cred.map_err(|error| format!("{error:#}"))?;
        let bound = runtime.block_on(ldap.sasl_gssapi_cred_bind(cred, service));
        bound.map_err(|error| error.to_string())
    });
    std::panic::catch_unwind(bound).unwrap_or_else(|_| Err("the library failed".to_owned()))
}

/// This program was built without Kerberos; `settings` refuses before it comes to this.
///
/// # Errors
/// Always.
#[cfg(not(feature = "kerberos"))]
#[expect(clippy::unused_async, reason = "the twin that does it is async")]
pub async fn bind(_ldap: Ldap, peer: &Peer) -> Result<(), DirectoryError> {
    let answer = Refusal { code: 7, text: "built without Kerberos".to_owned() };
    let (server, who) = (peer.server.clone(), peer.principal.clone());
    Err(DirectoryError::Bind { server, who, answer })
}

#[cfg(all(test, feature = "kerberos"))]
mod tests {
    use super::*;
    use crate::limits::KERBEROS_THREADS_MAX;

    #[test]
    fn an_attempt_that_hangs_is_in_the_way_of_no_other_server() {
        let hangs = Busy::with("dc1").expect("nobody is asked");
        assert!(Busy::with("dc1").is_none(), "one at a time for each server");
        let name = |at: usize| format!("other{at}");
        let others: Vec<_> = (1..).map_while(|at| Busy::with(&name(at))).collect();
        assert_eq!(others.len(), KERBEROS_THREADS_MAX - 1, "threads are bounded");
        drop(others);
        assert!(Busy::with("dc2").is_some());
        drop(hangs);
        assert!(Busy::with("dc1").is_some(), "it came back");
    }
}
