//! Whose Kerberos tickets there are. libsmbclient wants to be told user and realm, though it will
//! use nothing but the tickets.
#![expect(unsafe_code, reason = "calls of libkrb5")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::null_mut;

type Ptr = *mut c_void;

unsafe extern "C" {
    fn krb5_init_context(context: *mut Ptr) -> c_int;
    fn krb5_free_context(context: Ptr);
    fn krb5_cc_default(context: Ptr, cache: *mut Ptr) -> c_int;
    fn krb5_cc_close(context: Ptr, cache: Ptr) -> c_int;
    fn krb5_cc_get_principal(context: Ptr, cache: Ptr, principal: *mut Ptr) -> c_int;
    fn krb5_free_principal(context: Ptr, principal: Ptr);
    fn krb5_unparse_name(context: Ptr, principal: Ptr, name: *mut *mut c_char) -> c_int;
    fn krb5_free_unparsed_name(context: Ptr, name: *mut c_char);
}

/// User and realm of the default credential cache, if there is one.
pub fn owner() -> Option<(String, String)> {
    let (mut context, mut cache, mut principal) = (null_mut(), null_mut(), null_mut());
    let mut name = null_mut();
    // SAFETY: each call fills in what the next one uses, only when it gives 0; all is freed.
    let text = unsafe {
        if krb5_init_context(&raw mut context) != 0 {
            return None;
        }
        let mut text = None;
        if krb5_cc_default(context, &raw mut cache) == 0 {
            if krb5_cc_get_principal(context, cache, &raw mut principal) == 0 {
                if krb5_unparse_name(context, principal, &raw mut name) == 0 {
                    text = CStr::from_ptr(name).to_str().ok().map(str::to_owned);
                    krb5_free_unparsed_name(context, name);
                }
                krb5_free_principal(context, principal);
            }
            krb5_cc_close(context, cache);
        }
        krb5_free_context(context);
        text
    }?;
    let (user, realm) = text.rsplit_once('@')?;
    Some((user.to_owned(), realm.to_owned()))
}
