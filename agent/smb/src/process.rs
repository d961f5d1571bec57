//! The process around it: pipes that the library cannot write into, and bounds that the kernel keeps.
#![expect(unsafe_code, reason = "system calls")]

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::FromRawFd as _;

/// Most memory. A server that lists a folder without end comes to this, and the agent is not harmed.
const MEMORY_MAX: libc::rlim_t = 2 << 30;

/// Takes standard input and output for the frames, and leaves the library others: it prints what it
/// thinks people should know to standard output.
///
/// # Errors
/// As `dup`.
pub fn pipes() -> io::Result<(File, File)> {
    let check = |result: libc::c_int| match result {
        -1 => Err(io::Error::last_os_error()),
        fd => Ok(fd),
    };
    // SAFETY: plain system calls on numbers; the new descriptors belong to nobody else.
    unsafe {
        bound(libc::RLIMIT_AS, MEMORY_MAX);
        bound(libc::RLIMIT_CORE, 0); // a password may be in memory
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        // Whoever waits for the answer is gone; a call that hangs would outlive it.
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
        let from = check(libc::fcntl(0, libc::F_DUPFD_CLOEXEC, 3))?;
        let to = check(libc::fcntl(1, libc::F_DUPFD_CLOEXEC, 3))?;
        let null = check(libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC))?;
        check(libc::dup2(null, 0))?;
        check(libc::dup2(2, 1))?;
        libc::close(null);
        Ok((File::from_raw_fd(from), File::from_raw_fd(to)))
    }
}

fn bound(what: libc::__rlimit_resource_t, most: libc::rlim_t) {
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: the structure lives until the call returns. A lower bound that is there already stays.
    unsafe { libc::setrlimit(what, &raw const limit) };
}

/// Writes a line to standard error.
pub fn say(line: &str) {
    let _nobody_listens = writeln!(io::stderr(), "{line}");
}
