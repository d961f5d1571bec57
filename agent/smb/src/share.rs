//! One connection to one share: each method is one call of libsmbclient, and tells what failed.
#![expect(unsafe_code, reason = "calls of libsmbclient")]

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::MaybeUninit;

use crate::errno::Fault;
use crate::wire::{self, Connect, Stat};
use crate::{ffi, listen, signon};

/// Files open at a time. The agent has a few.
const OPEN_MAX: usize = 64;
/// Longest security descriptor as text: an access list has at most 64 KiB.
const SECURITY_BYTES_MAX: usize = 1 << 20;
/// Changes told in one answer; whoever is told of so many looks everywhere anyway.
const CHANGES_MAX: usize = 1_000;

/// A connection.
pub struct Share {
    context: *mut ffi::SMBCCTX,
    root: String,
    connects: u32,
    files: HashMap<u32, *mut ffi::SMBCFILE>,
    next: u32,
}

pub fn text(value: &str, what: &'static str) -> Result<CString, Fault> {
    CString::new(value).map_err(|_| Fault::new(libc::EINVAL, what))
}

impl Share {
    /// Connects.
    pub fn connect(wanted: &Connect<'_>) -> Result<Self, Fault> {
        let what = "set up libsmbclient";
        let context = context(wanted)?;
        let root = format!("smb://{}/{}", escaped(wanted.server), escaped(wanted.share));
        let mut share = Self { context, root, connects: 0, files: HashMap::new(), next: 1 };
        // Neither is sent: they are for the connection, and for hearing whether they come here.
        let probe = share.url(".homeport-probe")?;
        listen::begin();
        set_errno(0);
        // SAFETY: a context that is set up, and strings that end in a zero byte.
        listen::trial(|| unsafe { ffi::smbc_getFunctionUnlink(context)(context, probe.as_ptr()) });
        if !listen::heard_unlink() {
            return Err(fault("connect to the share"));
        }
        // SAFETY: as above.
        listen::trial(|| unsafe {
            ffi::smbc_getFunctionRename(context)(context, probe.as_ptr(), context, probe.as_ptr())
        });
        let mut times = [libc::timeval { tv_sec: 0, tv_usec: 0 }; 2];
        // SAFETY: as above; two times, as it wants.
        listen::trial(|| unsafe {
            ffi::smbc_getFunctionUtimes(context)(context, probe.as_ptr(), times.as_mut_ptr())
        });
        if !listen::hears() {
            return Err(Fault::new(libc::ENOSYS, what));
        }
        // SAFETY: a context that is set up; the answer is a number in a pointer.
        let encrypted = unsafe { ffi::smbc_option_get(context, c"smb_encrypt_on".as_ptr()) };
        if wanted.must_encrypt && encrypted.is_null() {
            return Err(Fault::new(libc::EPROTONOSUPPORT, "encrypt: the server cannot"));
        }
        share.connects = signon::connects();
        Ok(share)
    }

    fn url(&self, path: &str) -> Result<CString, Fault> {
        let url = match path {
            "" => self.root.clone(),
            path => format!("{}/{}", self.root, escaped(path)),
        };
        text(&url, "name a path")
    }

    /// Runs one call. Whatever it says, it does not count if the library had to connect anew: that
    /// may be another server, or the same one with an older state.
    fn call<T>(
        &self,
        what: &'static str,
        call: impl FnOnce() -> T,
        failed: impl FnOnce(&T) -> bool,
    ) -> Result<T, Fault> {
        listen::begin();
        set_errno(0);
        let value = call();
        let failed = failed(&value).then(|| fault(what));
        if signon::connects() != self.connects {
            let status = failed.map_or(0, |fault| fault.status);
            return Err(Fault { errno: libc::ECONNRESET, status, what });
        }
        failed.map_or(Ok(value), Err)
    }

    fn zero(&self, what: &'static str, call: impl FnOnce() -> c_int) -> Result<(), Fault> {
        self.call(what, call, |result| *result != 0).map(drop)
    }

    fn file(&self, handle: u32) -> Result<*mut ffi::SMBCFILE, Fault> {
        let file = self.files.get(&handle).copied();
        file.ok_or(Fault::new(libc::EBADF, "use an open file"))
    }

    fn keep(&mut self, file: *mut ffi::SMBCFILE) -> u32 {
        let handle = self.next;
        self.next = self.next.wrapping_add(1).max(1);
        self.files.insert(handle, file);
        handle
    }

    /// Everything in a folder, one entry after the other.
    pub fn list<E: From<Fault>>(
        &self,
        path: &str,
        mut each: impl FnMut(&[u8], Stat) -> Result<(), E>,
    ) -> Result<(), E> {
        let what = "list a folder";
        let (context, url) = (self.context, self.url(path)?);
        // SAFETY: pointers of this context, and a string that ends in a zero byte.
        let open = || unsafe { ffi::smbc_getFunctionOpendir(context)(context, url.as_ptr()) };
        let folder = self.call(what, open, |folder| folder.is_null())?;
        // SAFETY: the context hands out its own function.
        let next = unsafe { ffi::smbc_getFunctionReaddirPlus2(context) };
        let mut count = 0;
        let result = loop {
            let mut stat = MaybeUninit::<libc::stat>::zeroed();
            set_errno(0);
            // SAFETY: the folder is open, and the structure has room.
            let (info, stat) =
                unsafe { (next(context, folder, stat.as_mut_ptr()), stat.assume_init()) };
            // SAFETY: what is not null is valid until the next call.
            let Some(info) = (unsafe { info.as_ref() }) else {
                break if errno() == 0 { Ok(()) } else { Err(E::from(fault(what))) };
            };
            // SAFETY: as above; the name ends in a zero byte.
            let name = unsafe { CStr::from_ptr(info.name) }.to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            count += 1;
            if count > wire::LIST_MAX {
                break Err(E::from(Fault::new(libc::EFBIG, what)));
            }
            let found = Stat {
                size: info.size,
                mtime_ns: nanoseconds(info.mtime_ts.tv_sec, info.mtime_ts.tv_nsec),
                inode: stat.st_ino,
                attributes: info.attrs,
            };
            if let Err(error) = each(name, found) {
                break Err(error);
            }
        };
        // SAFETY: it is open, and not used after this.
        unsafe { ffi::smbc_getFunctionClosedir(context)(context, folder) };
        result
    }

    /// What has a path.
    pub fn stat(&self, path: &str) -> Result<Stat, Fault> {
        let (context, url) = (self.context, self.url(path)?);
        let mut stat = MaybeUninit::<libc::stat>::zeroed();
        // SAFETY: as declared in the header; the structure has room.
        self.zero("look at an entry", || unsafe {
            ffi::smbc_getFunctionStat(context)(context, url.as_ptr(), stat.as_mut_ptr())
        })?;
        // SAFETY: all bit patterns are valid.
        Ok(known(&unsafe { stat.assume_init() }))
    }

    /// What is known of an open file.
    pub fn fstat(&self, handle: u32) -> Result<Stat, Fault> {
        let (context, file) = (self.context, self.file(handle)?);
        let mut stat = MaybeUninit::<libc::stat>::zeroed();
        // SAFETY: as declared in the header; the file is open.
        self.zero("look at an open file", || unsafe {
            ffi::smbc_getFunctionFstat(context)(context, file, stat.as_mut_ptr())
        })?;
        // SAFETY: all bit patterns are valid.
        Ok(known(&unsafe { stat.assume_init() }))
    }

    /// Opens a file for reading.
    pub fn open(&mut self, path: &str) -> Result<u32, Fault> {
        self.open_with("open a file", path, libc::O_RDONLY)
    }

    /// Makes a new file.
    pub fn create(&mut self, path: &str) -> Result<u32, Fault> {
        self.open_with("make a file", path, libc::O_RDWR | libc::O_CREAT | libc::O_EXCL)
    }

    fn open_with(&mut self, what: &'static str, path: &str, flags: c_int) -> Result<u32, Fault> {
        if self.files.len() >= OPEN_MAX {
            return Err(Fault::new(libc::EMFILE, what));
        }
        let (context, url) = (self.context, self.url(path)?);
        // SAFETY: as declared in the header.
        let open =
            || unsafe { ffi::smbc_getFunctionOpen(context)(context, url.as_ptr(), flags, 0o600) };
        let file = self.call(what, open, |file| file.is_null())?;
        Ok(self.keep(file))
    }

    fn seek(&self, file: *mut ffi::SMBCFILE, offset: u64) -> Result<(), Fault> {
        let what = "go to a place in a file";
        let offset = i64::try_from(offset).map_err(|_| Fault::new(libc::EFBIG, what))?;
        let context = self.context;
        // SAFETY: as declared in the header; the file is open. Nothing is sent.
        let seek = || unsafe {
            ffi::smbc_getFunctionLseek(context)(context, file, offset, libc::SEEK_SET)
        };
        self.call(what, seek, |at| *at != offset).map(drop)
    }

    /// Reads until a buffer is full or the file ends; gives how much that was.
    pub fn read(&self, handle: u32, offset: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        let (context, file) = (self.context, self.file(handle)?);
        self.seek(file, offset)?;
        let mut filled = 0;
        while filled < buffer.len() {
            let rest = &mut buffer[filled..];
            // SAFETY: the buffer has room for as much as is asked for.
            let read = || unsafe {
                ffi::smbc_getFunctionRead(context)(
                    context,
                    file,
                    rest.as_mut_ptr().cast(),
                    rest.len(),
                )
            };
            let count = self.call("read a file", read, |count| *count < 0)?;
            let count = usize::try_from(count).unwrap_or(0).min(rest.len());
            filled += count;
            // It asks the server until there is nothing more; fewer bytes are the end.
            if filled < buffer.len() {
                break;
            }
        }
        Ok(filled)
    }

    /// Writes all bytes.
    pub fn write(&self, handle: u32, offset: u64, mut bytes: &[u8]) -> Result<(), Fault> {
        let (context, file) = (self.context, self.file(handle)?);
        if bytes.is_empty() {
            return Ok(());
        }
        self.seek(file, offset)?;
        while !bytes.is_empty() {
            // SAFETY: the bytes are as many as it is told.
            let write = || unsafe {
                ffi::smbc_getFunctionWrite(context)(
                    context,
                    file,
                    bytes.as_ptr().cast(),
                    bytes.len(),
                )
            };
            let count = self.call("write a file", write, |count| *count <= 0)?;
            bytes = bytes.get(usize::try_from(count).unwrap_or(0)..).unwrap_or_default();
        }
        Ok(())
    }

    /// Sets the length of a file.
    pub fn truncate(&self, handle: u32, size: u64) -> Result<(), Fault> {
        let what = "set the length of a file";
        let (context, file) = (self.context, self.file(handle)?);
        let size = i64::try_from(size).map_err(|_| Fault::new(libc::EFBIG, what))?;
        // SAFETY: as declared in the header; the file is open.
        self.zero(what, || unsafe { ffi::smbc_getFunctionFtruncate(context)(context, file, size) })
    }

    /// Copies the whole of another file into an open one, on the server.
    pub fn copy(&mut self, handle: u32, from: &str, size: u64) -> Result<u64, Fault> {
        extern "C" fn go_on(_: libc::off_t, _: *mut c_void) -> c_int {
            1
        }
        let what = "copy a file on the server";
        let (context, to) = (self.context, self.file(handle)?);
        let length = i64::try_from(size).map_err(|_| Fault::new(libc::EFBIG, what))?;
        let source = self.open(from)?;
        let file = self.file(source)?;
        // SAFETY: both files are open; the callback takes nothing.
        let splice = || unsafe {
            let none = std::ptr::null_mut();
            ffi::smbc_getFunctionSplice(context)(context, file, to, length, go_on, none)
        };
        let copied = self.call(what, splice, |copied| *copied < 0);
        self.close(source)?;
        copied.map(|copied| u64::try_from(copied).unwrap_or(0))
    }

    /// Closes a file. What the server could not write it says now.
    pub fn close(&mut self, handle: u32) -> Result<(), Fault> {
        let (context, file) = (self.context, self.file(handle)?);
        self.files.remove(&handle);
        // SAFETY: it is open, and not used after this.
        self.zero("close a file", || unsafe { ffi::smbc_getFunctionClose(context)(context, file) })
    }

    /// Makes a folder.
    pub fn make_folder(&self, path: &str) -> Result<(), Fault> {
        let (context, url) = (self.context, self.url(path)?);
        // SAFETY: as declared in the header.
        self.zero("make a folder", || unsafe {
            ffi::smbc_getFunctionMkdir(context)(context, url.as_ptr(), 0o700)
        })
    }

    /// Removes an empty folder.
    pub fn remove_folder(&self, path: &str) -> Result<(), Fault> {
        let (context, url) = (self.context, self.url(path)?);
        // SAFETY: as declared in the header.
        self.zero("remove a folder", || unsafe {
            ffi::smbc_getFunctionRmdir(context)(context, url.as_ptr())
        })
    }

    /// Removes a file. libsmbclient does not say that it means a file: an empty folder of that name
    /// would go as well.
    pub fn remove(&self, path: &str) -> Result<(), Fault> {
        let (context, url) = (self.context, self.url(path)?);
        // SAFETY: as declared in the header.
        self.zero("remove a file", || unsafe {
            ffi::smbc_getFunctionUnlink(context)(context, url.as_ptr())
        })
    }

    /// Gives an entry another name, in one step.
    pub fn rename(&self, path: &str, new: &str, kind: listen::Rename) -> Result<(), Fault> {
        let (context, url, new) = (self.context, self.url(path)?, self.url(new)?);
        // SAFETY: as declared in the header.
        let rename = || unsafe {
            ffi::smbc_getFunctionRename(context)(context, url.as_ptr(), context, new.as_ptr())
        };
        self.zero("rename an entry", || listen::renaming(kind, rename))
    }

    /// Sets when a file was last written; the header's structure has microseconds.
    pub fn set_time(&self, path: &str, mtime_ns: i64) -> Result<(), Fault> {
        let (context, url) = (self.context, self.url(path)?);
        let time = libc::timeval {
            tv_sec: mtime_ns.div_euclid(1_000_000_000),
            tv_usec: mtime_ns.rem_euclid(1_000_000_000) / 1_000,
        };
        let mut times = [time, time];
        if listen::is_beyond() {
            // It does not look where the path leads by itself.
            self.stat(path)?;
        }
        // SAFETY: as declared in the header; two times, as it wants.
        self.zero("set the time of a file", || unsafe {
            ffi::smbc_getFunctionUtimes(context)(context, url.as_ptr(), times.as_mut_ptr())
        })
    }

    /// Free bytes for this user.
    pub fn free(&self, path: &str) -> Result<u64, Fault> {
        let context = self.context;
        let mut url = self.url(path)?.into_bytes_with_nul();
        let mut stat = MaybeUninit::<libc::statvfs>::zeroed();
        // SAFETY: as declared in the header, which forgot that it does not write to the path.
        self.zero("ask for free space", || unsafe {
            let path = url.as_mut_ptr().cast::<c_char>();
            ffi::smbc_getFunctionStatVFS(context)(context, path, stat.as_mut_ptr())
        })?;
        // SAFETY: all bit patterns are valid.
        let stat = unsafe { stat.assume_init() };
        if listen::is_beyond() {
            // What it says is of the share with the link.
            return Err(Fault::new(libc::ENOTSUP, "ask for free space beyond a DFS link"));
        }
        // It has bytes of a sector here, and sectors of a unit.
        Ok(stat.f_bavail.saturating_mul(stat.f_bsize).saturating_mul(stat.f_frsize.max(1)))
    }

    /// Owner, group and access list with SIDs, in libsmbclient's words.
    pub fn security(&mut self, path: &str) -> Result<String, Fault> {
        let what = "read a security descriptor";
        let (context, url) = (self.context, self.url(path)?);
        let mut buffer = vec![0_u8; SECURITY_BYTES_MAX];
        // SAFETY: the buffer has room for as much as it is told.
        let mut read = || unsafe {
            let name = c"system.nt_sec_desc.*";
            let get = ffi::smbc_getFunctionGetxattr(context);
            get(context, url.as_ptr(), name.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len())
        };
        listen::begin();
        set_errno(0);
        let failed = read() < 0;
        // It connects a second time, to ask who the SIDs are; libsmbclient itself looks whether the
        // first connection is still the same.
        self.connects = signon::connects();
        if failed {
            return Err(fault(what));
        }
        let end = buffer.iter().position(|byte| *byte == 0).unwrap_or(buffer.len());
        buffer.truncate(end);
        String::from_utf8(buffer).map_err(|_| Fault::new(libc::EILSEQ, what))
    }

    /// Waits for changes in a folder and below it; none within the time is none.
    pub fn notify(&self, path: &str, timeout_ms: u32) -> Result<Vec<(u32, String)>, Fault> {
        let what = "wait for changes";
        let (context, url) = (self.context, self.url(path)?);
        // SAFETY: as declared in the header.
        let open = || unsafe { ffi::smbc_getFunctionOpendir(context)(context, url.as_ptr()) };
        let folder = self.call(what, open, |folder| folder.is_null())?;
        let mut found: Vec<(u32, String)> = Vec::new();
        let filter = 0x01 | 0x02 | 0x08 | 0x10 | 0x40; // names, sizes, last writes, creations
        // SAFETY: the list outlives the call, and nothing else touches it meanwhile.
        let waited = self.zero(what, || unsafe {
            let list = (&raw mut found).cast();
            let notify = ffi::smbc_getFunctionNotify(context);
            notify(context, folder, 1, filter, timeout_ms, changed, list)
        });
        // SAFETY: it is open, and not used after this.
        unsafe { ffi::smbc_getFunctionClosedir(context)(context, folder) };
        waited.map(|()| found)
    }
}

/// One answer of the server, or none within the time; both are enough.
extern "C" fn changed(
    actions: *const ffi::smbc_notify_callback_action,
    count: usize,
    list: *mut c_void,
) -> c_int {
    // SAFETY: the list of `notify`, which waits for this; as many actions as it says.
    unsafe {
        let list = &mut *list.cast::<Vec<(u32, String)>>();
        for at in 0..count.min(CHANGES_MAX) {
            let action = &*actions.add(at);
            if !action.filename.is_null() {
                let name = CStr::from_ptr(action.filename).to_string_lossy().replace('\\', "/");
                list.push((action.action, name));
            }
        }
    }
    1
}

fn context(wanted: &Connect<'_>) -> Result<*mut ffi::SMBCCTX, Fault> {
    let what = "set up libsmbclient";
    let credentials = signon::credentials(wanted)?;
    // SAFETY: calls of the header on a context that nobody else has; the strings are copied.
    unsafe {
        let context = ffi::smbc_new_context();
        if context.is_null() {
            return Err(fault(what));
        }
        ffi::smbc_setDebug(context, 0);
        ffi::smbc_setOptionDebugToStderr(context, 1);
        if ffi::smbc_init_context(context).is_null() {
            return Err(fault(what));
        }
        // Samba takes these for the client's protocols, from SMB 2.1 (Windows 7) on.
        ffi::smbc_setOptionProtocols(context, c"SMB2_10".as_ptr(), c"SMB3_11".as_ptr());
        ffi::smbc_setTimeout(context, c_int::try_from(wanted.timeout_ms).unwrap_or(c_int::MAX));
        ffi::smbc_setPort(context, wanted.port);
        ffi::smbc_setUser(context, credentials.user.as_ptr());
        ffi::smbc_setWorkgroup(context, credentials.realm.as_ptr());
        ffi::smbc_setOptionUseKerberos(context, c_int::from(credentials.has_tickets));
        ffi::smbc_setOptionFallbackAfterKerberos(context, c_int::from(wanted.ntlm));
        ffi::smbc_setOptionNoAutoAnonymousLogin(context, 1);
        // Asking for encryption makes libsmbclient require signing, and nothing more: see `listen`.
        let level = match wanted.must_encrypt {
            true => ffi::SMBC_ENCRYPTLEVEL_REQUIRE,
            false => ffi::SMBC_ENCRYPTLEVEL_REQUEST,
        };
        ffi::smbc_setOptionSmbEncryptionLevel(context, level);
        ffi::smbc_setFunctionAuthDataWithContext(context, signon::asked);
        Ok(context)
    }
}

fn known(stat: &libc::stat) -> Stat {
    // These are the bits in which libsmbclient keeps the attributes.
    let read_only = if stat.st_mode & libc::S_IWUSR == 0 { wire::READ_ONLY } else { 0 };
    let is_folder = stat.st_mode & libc::S_IFMT == libc::S_IFDIR;
    Stat {
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mtime_ns: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
        inode: stat.st_ino,
        attributes: read_only | if is_folder { wire::DIRECTORY } else { 0 },
    }
}

fn nanoseconds(seconds: i64, rest: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

/// What the last call failed with.
fn fault(what: &'static str) -> Fault {
    Fault { errno: listen::errno(errno()), status: listen::last_status(), what }
}

fn errno() -> c_int {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

fn set_errno(value: c_int) {
    // SAFETY: it is this thread's own.
    unsafe { *libc::__errno_location() = value };
}

/// A path as it stands in a URL. libsmbclient decodes it; a question mark would begin options.
fn escaped(path: &str) -> String {
    let mut url = String::with_capacity(path.len() + 16);
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                url.push(char::from(byte));
            }
            _ => {
                url.push('%');
                for half in [byte >> 4, byte & 15] {
                    url.push(char::from_digit(u32::from(half), 16).unwrap_or('0'));
                }
            }
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_in_a_url_is_escaped() {
        assert_eq!(escaped("Über uns/a b?c#%41.txt"), "%c3%9cber%20uns/a%20b%3fc%23%2541.txt");
    }
}
