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

/// Binds as `principal` to the service `ldap/host`.
///
/// The library blocks while it asks a Kerberos server, for as long as its own settings say. That
/// happens on a thread of its own, and only one at a time; whoever waits gives up at the deadline.
///
/// # Errors
/// [`DirectoryError::Kerberos`], [`DirectoryError::Bind`].
#[cfg(feature = "kerberos")]
pub async fn bind(
    ldap: Ldap,
    server: &str,
    host: &str,
    principal: &str,
) -> Result<(), DirectoryError> {
    use std::sync::atomic::{AtomicBool, Ordering};

    static BUSY: AtomicBool = AtomicBool::new(false);
    let failed = |message: String| DirectoryError::Kerberos {
        server: server.to_owned(),
        who: principal.to_owned(),
        message,
    };
    if BUSY.swap(true, Ordering::SeqCst) {
        return Err(DirectoryError::KerberosBusy { server: server.to_owned() });
    }
    let (tell, told) = tokio::sync::oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    let (host, who) = (host.to_owned(), principal.to_owned());
    let thread = std::thread::Builder::new().name("kerberos".to_owned()).spawn(move || {
        let answer = attempt(&runtime, ldap, &host, &who);
        BUSY.store(false, Ordering::SeqCst);
        let _ = tell.send(answer); // nobody waits any more: the deadline passed
    });
    if let Err(error) = thread {
        BUSY.store(false, Ordering::SeqCst);
        return Err(failed(format!("no thread for it: {error}")));
    }
    let answer =
        told.await.map_err(|_| failed("the library failed".to_owned()))?.map_err(failed)?;
    if answer.rc == 0 {
        return Ok(());
    }
    let answer = Refusal { code: answer.rc, text: answer.text };
    Err(DirectoryError::Bind { server: server.to_owned(), who: principal.to_owned(), answer })
}

/// One bind, on a thread that may be blocked.
#[cfg(feature = "kerberos")]
fn attempt(
    runtime: &tokio::runtime::Handle,
    mut ldap: Ldap,
    host: &str,
    principal: &str,
) -> Result<ldap3::LdapResult, String> {
    use cross_krb5::{Cred, InitiateFlags, K5Cred as _};

    // A panic in the library must not leave `BUSY` set for ever.
    let bound = std::panic::AssertUnwindSafe(|| {
        let cred = Cred::client_acquire(InitiateFlags::empty(), Some(principal));
        let cred = cred.map_err(|error| format!("{error:#}"))?;
        let bound = runtime.block_on(ldap.sasl_gssapi_cred_bind(cred, host));
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
pub async fn bind(
    _ldap: Ldap,
    server: &str,
    _host: &str,
    principal: &str,
) -> Result<(), DirectoryError> {
    let answer = Refusal { code: 7, text: "built without Kerberos".to_owned() };
    Err(DirectoryError::Bind { server: server.to_owned(), who: principal.to_owned(), answer })
}
