//! Kerberos as the lab's machine uses it: tickets, and ways in which they are no longer good.
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::dc::{ADDRESS, KERBEROS_PORT, REALM};
use super::{output, program, root, run, until};

/// Where libraries look for their settings; `tests/lab/enter` sets it, `Command::env_clear` undoes.
/// Keytab and tickets are not in it: `homeport` says itself where they are.
pub fn environment() -> [(&'static str, PathBuf); 1] {
    [("KRB5_CONFIG", config())]
}

pub fn config() -> PathBuf {
    root().join("etc/krb5.conf")
}

/// Sends everybody to a key distribution centre elsewhere, such as a [`super::proxy`], over TCP.
/// Without `timesync` a wrong clock matters: the library else takes the centre's time for its own.
pub fn set_config(kdc: &str, timesync: bool) {
    let timesync = u8::from(timesync);
    let text = format!(
        "[libdefaults]\n  default_realm = {REALM}\n  dns_lookup_kdc = false\n  \
         dns_lookup_realm = false\n  rdns = false\n  dns_canonicalize_hostname = false\n  \
         kdc_timesync = {timesync}\n  udp_preference_limit = 1\n\
         [realms]\n  {REALM} = {{\n    kdc = {kdc}\n  }}\n\
         [domain_realm]\n  .corp.test = {REALM}\n  corp.test = {REALM}\n"
    );
    std::fs::write(config(), text).unwrap();
}

/// Makes every ticket that is asked for from now on good for so many seconds.
pub fn set_lifetime(seconds: u32) {
    let text = std::fs::read_to_string(config()).unwrap();
    let lifetime = format!("[libdefaults]\n  ticket_lifetime = {seconds}s\n");
    std::fs::write(config(), text.replace("[libdefaults]\n", &lifetime)).unwrap();
}

/// Undoes [`set_config`] and [`set_lifetime`].
pub fn reset_config() {
    set_config(&format!("{ADDRESS}:{KERBEROS_PORT}"), true);
}

/// A ticket from a keytab; gives the file it is in.
pub fn ticket(principal: &str, keytab: &Path, name: &str) -> PathBuf {
    ticket_for(principal, keytab, name, "1h")
}

/// A ticket that is no longer valid.
pub fn expired_ticket(principal: &str, keytab: &Path, name: &str) -> PathBuf {
    let cache = ticket_for(principal, keytab, name, "1s");
    until("a ticket of one second runs out", Duration::from_secs(20), || !is_valid(&cache));
    cache
}

/// Whether a credential cache holds a ticket that is good now.
pub fn is_valid(cache: &Path) -> bool {
    output(program("klist").arg("-s").arg(cache)).status.success()
}

/// A ticket that is good for so long: `5s`.
pub fn ticket_for(principal: &str, keytab: &Path, name: &str, lifetime: &str) -> PathBuf {
    let cache = root().join(name);
    let mut command = program("kinit");
    command.args(["-l", lifetime, "-k", "-t"]).arg(keytab).arg("-c").arg(&cache);
    run(command.arg(format!("{principal}@{REALM}")));
    cache
}

/// A program whose clock is wrong by `+10m`, `-2d` and the like; see [`set_config`].
pub fn skewed(offset: &str, program_name: &str) -> Command {
    let mut command = program("faketime");
    command.args(["-f", offset, program_name]);
    command
}
