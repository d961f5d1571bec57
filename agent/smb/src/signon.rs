//! Who connects: the owner of the Kerberos tickets, or a name and a password from a file.
#![expect(unsafe_code, reason = "is called by libsmbclient")]

use std::ffi::{CStr, CString, c_char, c_int};
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use crate::errno::Fault;
use crate::share::text;
use crate::wire::Connect;
use crate::{ffi, ticket};

/// Longest password.
const PASSWORD_BYTES_MAX: u64 = 1_024;

/// What the library asks for when it connects.
#[derive(Debug)]
pub struct Credentials {
    pub user: CString,
    pub realm: CString,
    password: CString,
    /// Whether Kerberos can be used.
    pub has_tickets: bool,
}

static CREDENTIALS: OnceLock<Credentials> = OnceLock::new();
/// How often the library began to connect to the share.
static CONNECTS: AtomicU32 = AtomicU32::new(0);

/// How often the library began to connect to the share.
pub fn connects() -> u32 {
    CONNECTS.load(SeqCst)
}

/// Who connects, for the whole process.
pub fn credentials(wanted: &Connect<'_>) -> Result<&'static Credentials, Fault> {
    let what = "find out who connects";
    let (mut user, mut realm) = (wanted.user.to_owned(), wanted.realm.to_owned());
    let owner = ticket::owner();
    let has_tickets = owner.is_some() || !wanted.ntlm;
    let (name, place) = match owner {
        Some(owner) => owner,
        // A name of the server's own, for NTLM, has no realm.
        None if wanted.ntlm && !user.is_empty() => (String::new(), "WORKGROUP".to_owned()),
        None => return Err(Fault::new(libc::EACCES, "find Kerberos tickets")),
    };
    user = if user.is_empty() { name } else { user };
    realm = if realm.is_empty() { place } else { realm };
    let password = match wanted.password_file {
        "" => String::new(),
        _ if !wanted.ntlm => String::new(),
        path => password(path)?,
    };
    let credentials = Credentials {
        user: text(&user, what)?,
        realm: text(&realm, what)?,
        password: text(&password, what)?,
        has_tickets,
    };
    CREDENTIALS.set(credentials).map_err(|_| Fault::new(libc::EBUSY, what))?;
    CREDENTIALS.get().ok_or(Fault::new(libc::EINVAL, what))
}

/// The first line of a file that nobody else may read.
fn password(path: &str) -> Result<String, Fault> {
    let what = "read the password file";
    let failed =
        |error: std::io::Error| Fault::new(error.raw_os_error().unwrap_or(libc::EIO), what);
    let file = File::options().read(true).open(path).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    // SAFETY: it only asks.
    let own = unsafe { libc::geteuid() };
    if !meta.is_file() || meta.mode() & 0o077 != 0 || (meta.uid() != own && meta.uid() != 0) {
        return Err(Fault::new(libc::EPERM, "use a password file that others may read or change"));
    }
    let mut text = String::new();
    file.take(PASSWORD_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// What libsmbclient calls when it connects.
pub extern "C" fn asked(
    _: *mut ffi::SMBCCTX,
    _: *const c_char,
    share: *const c_char,
    realm: *mut c_char,
    realm_room: c_int,
    user: *mut c_char,
    user_room: c_int,
    password: *mut c_char,
    password_room: c_int,
) {
    // SAFETY: the buffers have the room that is said, and the share ends in a zero byte.
    unsafe {
        // Security descriptors need a connection of their own beside the one to the share.
        let beside = !share.is_null() && CStr::from_ptr(share).to_bytes().ends_with(b"IPC$");
        if !beside {
            CONNECTS.fetch_add(1, SeqCst);
        }
        let Some(known) = CREDENTIALS.get() else { return };
        fill(realm, realm_room, &known.realm);
        fill(user, user_room, &known.user);
        fill(password, password_room, &known.password);
    }
}

/// # Safety
/// The buffer has so much room.
unsafe fn fill(buffer: *mut c_char, room: c_int, text: &CStr) {
    let bytes = text.to_bytes_with_nul();
    if usize::try_from(room).is_ok_and(|room| bytes.len() <= room) {
        // SAFETY: it fits, and does not overlap.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr().cast(), buffer, bytes.len()) };
    }
}
