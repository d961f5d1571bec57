//! What libsmbclient would hide: the server's own status, and what a rename really does.
//!
//! libsmbclient turns every status into an `errno`, and some of them lie: a share that is gone, a
//! DFS target that does not answer and a folder that may not be looked into all become `ENOENT`.
//! To the agent that would be a deletion. Its rename removes whatever has the new name and tries
//! again: a file that another computer made a moment ago would be gone, and whoever replaces a file
//! would have none for a moment.
//!
//! It sets the time of a file at the share itself, also where a DFS link leads to another one.
//! And of encryption it only remembers that it was asked for: it encrypts where the server insists.
//!
//! All of that passes through six functions of Samba's own libraries, which the dynamic linker
//! finds here first. They hand the call on, and note or correct what matters:
//!
//! ```text
//! libsmbclient ─► cli_rename, cli_unlink, cli_resolve_path, map_errno_from_nt_status,
//!                 cli_setpathinfo_ext, smb2cli_tcon_set_values (once per connection)
//!                      └ here ─► the real one (`RTLD_NEXT`)
//! ```
//! Only their parameters as machine words and their result matter (same since Samba 4.8, in 2018).
//! [`hears`] is asked once per connection; a library that does not call here is not used.
#![expect(unsafe_code, reason = "stands between two C libraries")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, Ordering::SeqCst};

/// NT status values of MS-ERREF 2.3.1.
mod status {
    pub const OK: u32 = 0;
    pub const NO_SUCH_FILE: u32 = 0xC000_000F;
    pub const ACCESS_DENIED: u32 = 0xC000_0022;
    pub const OBJECT_NAME_NOT_FOUND: u32 = 0xC000_0034;
    pub const OBJECT_NAME_COLLISION: u32 = 0xC000_0035;
    pub const OBJECT_PATH_NOT_FOUND: u32 = 0xC000_003A;
    pub const NOT_A_DIRECTORY: u32 = 0xC000_0103;
    pub const NOT_IMPLEMENTED: u32 = 0xC000_0002;
}

/// What a rename is to do with what has the new name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Rename {
    /// It is an error.
    New = 1,
    /// It is replaced, by the server, at once.
    Replace = 2,
}

/// No rename is under way.
const NONE: u8 = 0;
/// The calls are not handed on: only whether they come here is of interest.
const TRIAL: u8 = 3;

static MODE: AtomicU8 = AtomicU8::new(NONE);
static STATUS: AtomicU32 = AtomicU32::new(0);
static UNRESOLVED: AtomicU32 = AtomicU32::new(0);
/// Where the last path that was resolved leads, if that is beyond a DFS link: a connection of
/// libsmbclient's, as a number, and the path there.
static BEYOND: Mutex<Option<(usize, CString)>> = Mutex::new(None);
static HEARD_TIME: AtomicBool = AtomicBool::new(false);
static HEARD_RENAME: AtomicBool = AtomicBool::new(false);
static HEARD_UNLINK: AtomicBool = AtomicBool::new(false);
static HEARD_RESOLVE: AtomicBool = AtomicBool::new(false);
static HEARD_CONNECTED: AtomicBool = AtomicBool::new(false);
static HEARD_ERRNO: AtomicBool = AtomicBool::new(false);

/// Forgets what was heard of the call before.
pub fn begin() {
    STATUS.store(status::OK, SeqCst);
    UNRESOLVED.store(status::OK, SeqCst);
}

/// The status of the last answer that was an error; 0 if there was none.
pub fn last_status() -> u32 {
    match UNRESOLVED.load(SeqCst) {
        status::OK => STATUS.load(SeqCst),
        unresolved => unresolved,
    }
}

/// What a failure really is, given what libsmbclient says.
pub fn errno(said: c_int) -> c_int {
    match UNRESOLVED.load(SeqCst) {
        // "Could not resolve" is ENOENT there, whatever the reason.
        unresolved if unresolved != status::OK && said == libc::ENOENT => {
            map_errno_from_nt_status(unresolved)
        }
        _ if said > 4095 => libc::EINVAL, // it adds 8192 to tell its own lines apart
        _ if said <= 0 => libc::EIO,
        _ => said,
    }
}

/// Lets one rename be of a kind.
pub fn renaming<T>(kind: Rename, call: impl FnOnce() -> T) -> T {
    in_mode(kind as u8, call)
}

/// Runs removing and renaming without anything being sent, to see whether they come here.
pub fn trial<T>(call: impl FnOnce() -> T) -> T {
    in_mode(TRIAL, call)
}

fn in_mode<T>(mode: u8, call: impl FnOnce() -> T) -> T {
    MODE.store(mode, SeqCst);
    let result = call();
    MODE.store(NONE, SeqCst);
    result
}

/// Whether the last path that was resolved leads beyond a DFS link.
pub fn is_beyond() -> bool {
    BEYOND.lock().is_ok_and(|beyond| beyond.is_some())
}

/// Whether removing came here, which it does only once a connection is there.
pub fn heard_unlink() -> bool {
    HEARD_UNLINK.load(SeqCst)
}

/// Whether all calls came here.
pub fn hears() -> bool {
    let heard =
        [&HEARD_RENAME, &HEARD_UNLINK, &HEARD_RESOLVE, &HEARD_CONNECTED, &HEARD_TIME, &HEARD_ERRNO];
    heard.iter().all(|heard| heard.load(SeqCst))
}

/// The function of that name that would be called if ours were not there.
fn real(name: &CStr, cached: &AtomicPtr<c_void>) -> *mut c_void {
    let known = cached.load(SeqCst);
    if !known.is_null() {
        return known;
    }
    // SAFETY: the name ends in a zero byte; the result is only compared and kept.
    let found = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
    cached.store(found, SeqCst);
    found
}

type Word = *mut c_void;

#[unsafe(no_mangle)]
extern "C" fn cli_rename(cli: Word, from: *const c_char, to: *const c_char, replace: bool) -> u32 {
    static REAL: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
    HEARD_RENAME.store(true, SeqCst);
    let replace = match MODE.load(SeqCst) {
        TRIAL => return status::ACCESS_DENIED,
        mode => replace || mode == Rename::Replace as u8,
    };
    let real = real(c"cli_rename", &REAL);
    if real.is_null() {
        return status::NOT_IMPLEMENTED;
    }
    type Call = extern "C" fn(Word, *const c_char, *const c_char, bool) -> u32;
    // SAFETY: the function of that name in Samba's libraries has these parameters.
    unsafe { std::mem::transmute::<Word, Call>(real)(cli, from, to, replace) }
}

#[unsafe(no_mangle)]
extern "C" fn cli_unlink(cli: Word, path: *const c_char, attributes: u32) -> u32 {
    static REAL: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
    HEARD_UNLINK.store(true, SeqCst);
    match MODE.load(SeqCst) {
        TRIAL => return status::OBJECT_NAME_NOT_FOUND,
        NONE => {}
        // A rename found the new name taken and would now make room.
        _ => return status::OBJECT_NAME_COLLISION,
    }
    let real = real(c"cli_unlink", &REAL);
    if real.is_null() {
        return status::NOT_IMPLEMENTED;
    }
    type Call = extern "C" fn(Word, *const c_char, u32) -> u32;
    // SAFETY: the function of that name in Samba's libraries has these parameters.
    unsafe { std::mem::transmute::<Word, Call>(real)(cli, path, attributes) }
}

#[unsafe(no_mangle)]
extern "C" fn cli_resolve_path(
    memory: Word,
    mount: Word,
    credentials: Word,
    root: Word,
    path: Word,
    cli: *mut Word,
    target: *mut *const c_char,
) -> u32 {
    static REAL: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
    HEARD_RESOLVE.store(true, SeqCst);
    let real = real(c"cli_resolve_path", &REAL);
    if real.is_null() {
        return status::NOT_IMPLEMENTED;
    }
    type Call = extern "C" fn(Word, Word, Word, Word, Word, *mut Word, *mut *const c_char) -> u32;
    // SAFETY: the function of that name in Samba's libraries has seven pointers.
    let call = unsafe { std::mem::transmute::<Word, Call>(real) };
    let result = call(memory, mount, credentials, root, path, cli, target);
    UNRESOLVED.store(result, SeqCst);
    if let Ok(mut beyond) = BEYOND.lock() {
        // SAFETY: when it succeeds, it has filled in both, and the path ends in a zero byte.
        *beyond = unsafe {
            match result {
                status::OK if *cli != root => Some((*cli as usize, CStr::from_ptr(*target).into())),
                _ => None,
            }
        };
    }
    result
}

/// Times and attributes of a path: libsmbclient forgets to look where it leads.
#[unsafe(no_mangle)]
extern "C" fn cli_setpathinfo_ext(
    cli: Word,
    path: *const c_char,
    created: libc::timespec,
    accessed: libc::timespec,
    written: libc::timespec,
    changed: libc::timespec,
    attributes: u32,
) -> u32 {
    static REAL: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
    HEARD_TIME.store(true, SeqCst);
    let real = real(c"cli_setpathinfo_ext", &REAL);
    if MODE.load(SeqCst) == TRIAL {
        return status::OK;
    }
    if real.is_null() {
        return status::NOT_IMPLEMENTED;
    }
    type Time = libc::timespec;
    type Call = extern "C" fn(Word, *const c_char, Time, Time, Time, Time, u32) -> u32;
    // SAFETY: the function of that name in Samba's libraries has these parameters.
    let call = unsafe { std::mem::transmute::<Word, Call>(real) };
    let beyond = BEYOND.lock().ok().and_then(|mut beyond| beyond.take());
    let (cli, path) = match &beyond {
        Some((cli, path)) => (*cli as Word, path.as_ptr()),
        None => (cli, path),
    };
    call(cli, path, created, accessed, written, changed, attributes)
}

#[unsafe(no_mangle)]
extern "C" fn map_errno_from_nt_status(nt: u32) -> c_int {
    static REAL: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
    HEARD_ERRNO.store(true, SeqCst);
    if nt != status::OK {
        STATUS.store(nt, SeqCst);
    }
    let real = real(c"map_errno_from_nt_status", &REAL);
    if real.is_null() {
        return libc::ENOSYS;
    }
    type Call = extern "C" fn(u32) -> c_int;
    // SAFETY: the function of that name in Samba's libraries takes a status.
    let errno = unsafe { std::mem::transmute::<Word, Call>(real)(nt) };
    without_lies(nt, errno)
}

/// A share was connected: from now on everything is encrypted, if the session can do that.
#[unsafe(no_mangle)]
extern "C" fn smb2cli_tcon_set_values(
    tree: Word,
    session: Word,
    id: u32,
    kind: u8,
    flags: u32,
    capabilities: u32,
    access: u32,
) {
    static REAL: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
    static ENCRYPT: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
    let encrypt = real(c"smb2cli_session_encryption_on", &ENCRYPT);
    if !session.is_null() && !encrypt.is_null() {
        HEARD_CONNECTED.store(true, SeqCst);
        type Call = extern "C" fn(Word) -> u32;
        // SAFETY: it takes a session. What it cannot do it leaves as it is.
        unsafe { std::mem::transmute::<Word, Call>(encrypt)(session) };
    }
    let real = real(c"smb2cli_tcon_set_values", &REAL);
    if real.is_null() {
        std::process::abort(); // it was called, so it is there
    }
    type Call = extern "C" fn(Word, Word, u32, u8, u32, u32, u32);
    // SAFETY: the function of that name in Samba's libraries has these parameters.
    let call = unsafe { std::mem::transmute::<Word, Call>(real) };
    call(tree, session, id, kind, flags, capabilities, access);
}

/// The error number of a status, where only what proves an absence is one.
fn without_lies(nt: u32, errno: c_int) -> c_int {
    use status::{NO_SUCH_FILE, NOT_A_DIRECTORY, OBJECT_NAME_NOT_FOUND, OBJECT_PATH_NOT_FOUND};
    match (errno, nt) {
        (libc::ENOENT, NO_SUCH_FILE | OBJECT_NAME_NOT_FOUND | OBJECT_PATH_NOT_FOUND)
        | (libc::ENOTDIR, NOT_A_DIRECTORY) => errno,
        // The share, or the server that a DFS link names, is not there.
        (libc::ENOENT | libc::ENOTDIR, _) => libc::ESTALE,
        _ => errno,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_proven_absence_is_one() {
        for (nt, errno, expected) in [
            (0xC000_0034, libc::ENOENT, libc::ENOENT),
            (0xC000_003A, libc::ENOENT, libc::ENOENT),
            (0xC000_0103, libc::ENOTDIR, libc::ENOTDIR),
            (0xC000_00CC, libc::ENOENT, libc::ESTALE), // BAD_NETWORK_NAME: the share is gone
            (0xC000_0257, libc::ENOENT, libc::ESTALE), // PATH_NOT_COVERED: a DFS link
            (0xC000_0039, libc::ENOTDIR, libc::ESTALE), // OBJECT_PATH_INVALID
            (0xC000_0022, libc::EACCES, libc::EACCES),
        ] {
            assert_eq!(without_lies(nt, errno), expected, "{nt:#x}");
        }
    }

    #[test]
    fn what_could_not_be_resolved_is_not_gone() {
        begin();
        UNRESOLVED.store(status::ACCESS_DENIED, SeqCst);
        // EACCES, where the library is there to say so: a test may be linked without it.
        assert_ne!(errno(libc::ENOENT), libc::ENOENT);
        begin();
        assert_eq!(errno(libc::ENOENT), libc::ENOENT);
        assert_eq!(errno(libc::EINVAL + 8194), libc::EINVAL);
        assert_eq!(errno(0), libc::EIO);
    }
}
