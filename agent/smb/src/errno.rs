//! Errors as the agent gets them: a number and its name, the server's own status, and what failed.

/// Something was not done.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Error number of this system.
    pub errno: i32,
    /// NT status of the server; 0 where there was none.
    pub status: u32,
    /// What was tried.
    pub what: &'static str,
}

impl Fault {
    /// One that the server had no part in.
    pub fn new(errno: i32, what: &'static str) -> Self {
        Self { errno, status: 0, what }
    }

    /// For logs: what failed, the name of its number, and the status.
    pub fn text(&self) -> String {
        let (what, name) = (self.what, name(self.errno));
        match self.status {
            0 => format!("{what}: {name}"),
            status => format!("{what}: {name} (NT status {status:#010x})"),
        }
    }
}

/// The name of an error number, as `errno(3)` has it.
pub fn name(errno: i32) -> &'static str {
    const NAMES: &[(i32, &str)] = &[
        (libc::EPERM, "EPERM"),
        (libc::ENOENT, "ENOENT"),
        (libc::EIO, "EIO"),
        (libc::ENXIO, "ENXIO"),
        (libc::EBADF, "EBADF"),
        (libc::EAGAIN, "EAGAIN"),
        (libc::ENOMEM, "ENOMEM"),
        (libc::EACCES, "EACCES"),
        (libc::EBUSY, "EBUSY"),
        (libc::EEXIST, "EEXIST"),
        (libc::EXDEV, "EXDEV"),
        (libc::ENODEV, "ENODEV"),
        (libc::ENOTDIR, "ENOTDIR"),
        (libc::EISDIR, "EISDIR"),
        (libc::EINVAL, "EINVAL"),
        (libc::EMFILE, "EMFILE"),
        (libc::EFBIG, "EFBIG"),
        (libc::ENOSPC, "ENOSPC"),
        (libc::EROFS, "EROFS"),
        (libc::EPIPE, "EPIPE"),
        (libc::ENAMETOOLONG, "ENAMETOOLONG"),
        (libc::ENOSYS, "ENOSYS"),
        (libc::ENOTEMPTY, "ENOTEMPTY"),
        (libc::EILSEQ, "EILSEQ"),
        (libc::ENOTSUP, "ENOTSUP"),
        (libc::EPROTONOSUPPORT, "EPROTONOSUPPORT"),
        (libc::ENETUNREACH, "ENETUNREACH"),
        (libc::ECONNABORTED, "ECONNABORTED"),
        (libc::ECONNRESET, "ECONNRESET"),
        (libc::ENOTCONN, "ENOTCONN"),
        (libc::ETIMEDOUT, "ETIMEDOUT"),
        (libc::ECONNREFUSED, "ECONNREFUSED"),
        (libc::EHOSTUNREACH, "EHOSTUNREACH"),
        (libc::ESTALE, "ESTALE"),
        (libc::EDQUOT, "EDQUOT"),
    ];
    NAMES.iter().find(|(number, _)| *number == errno).map_or("another error", |(_, name)| name)
}
