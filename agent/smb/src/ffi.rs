//! The calls of libsmbclient that are used, from `libsmbclient.h` (interface 0.7, Samba 4.17).
//!
//! Written by hand: some forty lines, no generator, no libclang. The functions that do the work are
//! handed out by the context, as the header wants it.
#![allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "the names of the header")]
#![expect(unsafe_code, reason = "declarations of C functions")]

use libc::{c_char, c_int, c_uint, c_void, gid_t, mode_t, off_t, size_t, ssize_t, timespec, uid_t};

#[cfg(not(target_pointer_width = "64"))]
compile_error!("`off_t` and `struct stat` are those of 64-bit systems");

/// A context; only pointers to it are used.
#[repr(C)]
pub struct SMBCCTX {
    _opaque: [u8; 0],
}

/// An open file or folder.
#[repr(C)]
pub struct SMBCFILE {
    _opaque: [u8; 0],
}

/// What a listing says of an entry.
#[repr(C)]
pub struct libsmb_file_info {
    pub size: u64,
    pub attrs: u16,
    pub uid: uid_t,
    pub gid: gid_t,
    pub btime_ts: timespec,
    pub mtime_ts: timespec,
    pub atime_ts: timespec,
    pub ctime_ts: timespec,
    pub name: *const c_char,
    pub short_name: *const c_char,
}

#[repr(C)]
pub struct smbc_notify_callback_action {
    pub action: u32,
    pub filename: *const c_char,
}

pub const SMBC_ENCRYPTLEVEL_REQUEST: c_int = 1;
pub const SMBC_ENCRYPTLEVEL_REQUIRE: c_int = 2;

pub type smbc_get_auth_data_with_context_fn = extern "C" fn(
    c: *mut SMBCCTX,
    srv: *const c_char,
    shr: *const c_char,
    wg: *mut c_char,
    wglen: c_int,
    un: *mut c_char,
    unlen: c_int,
    pw: *mut c_char,
    pwlen: c_int,
);
pub type smbc_notify_callback_fn = extern "C" fn(
    actions: *const smbc_notify_callback_action,
    num_actions: size_t,
    private_data: *mut c_void,
) -> c_int;

type Ctx = *mut SMBCCTX;
type File = *mut SMBCFILE;
type Path = *const c_char;
pub type smbc_open_fn = unsafe extern "C" fn(Ctx, Path, c_int, mode_t) -> File;
pub type smbc_read_fn = unsafe extern "C" fn(Ctx, File, *mut c_void, size_t) -> ssize_t;
pub type smbc_write_fn = unsafe extern "C" fn(Ctx, File, *const c_void, size_t) -> ssize_t;
pub type smbc_splice_cb = extern "C" fn(off_t, *mut c_void) -> c_int;
pub type smbc_splice_fn =
    unsafe extern "C" fn(Ctx, File, File, off_t, smbc_splice_cb, *mut c_void) -> off_t;
pub type smbc_path_fn = unsafe extern "C" fn(Ctx, Path) -> c_int;
pub type smbc_rename_fn = unsafe extern "C" fn(Ctx, Path, Ctx, Path) -> c_int;
pub type smbc_lseek_fn = unsafe extern "C" fn(Ctx, File, off_t, c_int) -> off_t;
pub type smbc_stat_fn = unsafe extern "C" fn(Ctx, Path, *mut libc::stat) -> c_int;
pub type smbc_fstat_fn = unsafe extern "C" fn(Ctx, File, *mut libc::stat) -> c_int;
pub type smbc_statvfs_fn = unsafe extern "C" fn(Ctx, *mut c_char, *mut libc::statvfs) -> c_int;
pub type smbc_ftruncate_fn = unsafe extern "C" fn(Ctx, File, off_t) -> c_int;
pub type smbc_close_fn = unsafe extern "C" fn(Ctx, File) -> c_int;
pub type smbc_opendir_fn = unsafe extern "C" fn(Ctx, Path) -> File;
pub type smbc_readdirplus2_fn =
    unsafe extern "C" fn(Ctx, File, *mut libc::stat) -> *const libsmb_file_info;
pub type smbc_mkdir_fn = unsafe extern "C" fn(Ctx, Path, mode_t) -> c_int;
pub type smbc_utimes_fn = unsafe extern "C" fn(Ctx, Path, *mut libc::timeval) -> c_int;
pub type smbc_getxattr_fn = unsafe extern "C" fn(Ctx, Path, Path, *const c_void, size_t) -> c_int;
pub type smbc_notify_fn = unsafe extern "C" fn(
    Ctx,
    File,
    c_int,
    u32,
    c_uint,
    smbc_notify_callback_fn,
    *mut c_void,
) -> c_int;

unsafe extern "C" {
    pub fn smbc_new_context() -> Ctx;
    pub fn smbc_init_context(c: Ctx) -> Ctx;
    pub fn smbc_setDebug(c: Ctx, debug: c_int);
    pub fn smbc_setOptionDebugToStderr(c: Ctx, b: c_int);
    pub fn smbc_setTimeout(c: Ctx, milliseconds: c_int);
    pub fn smbc_setPort(c: Ctx, port: u16);
    pub fn smbc_setUser(c: Ctx, user: *const c_char);
    pub fn smbc_setWorkgroup(c: Ctx, workgroup: *const c_char);
    pub fn smbc_setOptionUseKerberos(c: Ctx, b: c_int);
    pub fn smbc_setOptionFallbackAfterKerberos(c: Ctx, b: c_int);
    pub fn smbc_setOptionNoAutoAnonymousLogin(c: Ctx, b: c_int);
    pub fn smbc_setOptionSmbEncryptionLevel(c: Ctx, level: c_int);
    pub fn smbc_setOptionProtocols(c: Ctx, min: *const c_char, max: *const c_char) -> c_int;
    pub fn smbc_option_get(c: Ctx, option_name: *const c_char) -> *mut c_void;
    pub fn smbc_setFunctionAuthDataWithContext(c: Ctx, f: smbc_get_auth_data_with_context_fn);

    pub fn smbc_getFunctionOpen(c: Ctx) -> smbc_open_fn;
    pub fn smbc_getFunctionRead(c: Ctx) -> smbc_read_fn;
    pub fn smbc_getFunctionWrite(c: Ctx) -> smbc_write_fn;
    pub fn smbc_getFunctionSplice(c: Ctx) -> smbc_splice_fn;
    pub fn smbc_getFunctionUnlink(c: Ctx) -> smbc_path_fn;
    pub fn smbc_getFunctionRename(c: Ctx) -> smbc_rename_fn;
    pub fn smbc_getFunctionLseek(c: Ctx) -> smbc_lseek_fn;
    pub fn smbc_getFunctionStat(c: Ctx) -> smbc_stat_fn;
    pub fn smbc_getFunctionFstat(c: Ctx) -> smbc_fstat_fn;
    pub fn smbc_getFunctionStatVFS(c: Ctx) -> smbc_statvfs_fn;
    pub fn smbc_getFunctionFtruncate(c: Ctx) -> smbc_ftruncate_fn;
    pub fn smbc_getFunctionClose(c: Ctx) -> smbc_close_fn;
    pub fn smbc_getFunctionOpendir(c: Ctx) -> smbc_opendir_fn;
    pub fn smbc_getFunctionClosedir(c: Ctx) -> smbc_close_fn;
    pub fn smbc_getFunctionReaddirPlus2(c: Ctx) -> smbc_readdirplus2_fn;
    pub fn smbc_getFunctionMkdir(c: Ctx) -> smbc_mkdir_fn;
    pub fn smbc_getFunctionRmdir(c: Ctx) -> smbc_path_fn;
    pub fn smbc_getFunctionUtimes(c: Ctx) -> smbc_utimes_fn;
    pub fn smbc_getFunctionGetxattr(c: Ctx) -> smbc_getxattr_fn;
    pub fn smbc_getFunctionNotify(c: Ctx) -> smbc_notify_fn;
}
