//! What was seen of a directory, judged: well, worth a look, or not working, and how to mend it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use crate::directory::cache::Why;
use crate::directory::error::DirectoryError;
use crate::directory::keytab::Principal;
use crate::doctor::Finding;
use crate::limits::{DOCTOR_CERTIFICATE_WARN, DOCTOR_SKEW_FAIL, DOCTOR_SKEW_WARN};
use crate::outcome::chain;

/// A stage that failed.
pub fn failure(check: &'static str, error: &DirectoryError) -> Finding {
    Finding::fail(check, chain(error), error.hint())
}

/// How far a server's clock is from this computer's.
pub fn skew(server: &str, skew: Option<Duration>) -> Finding {
    let Some(skew) = skew else {
        return Finding::ok("clock", format!("{server}: it does not say its time"));
    };
    let found = format!("{server}: {} s apart from this computer's", skew.as_secs());
    let mend = "set both clocks by the same time service (chrony, systemd-timesyncd)";
    match skew {
        _ if skew >= DOCTOR_SKEW_FAIL => {
            Finding::fail("clock", format!("{found}; Kerberos refuses from 300 s on"), mend)
        }
        _ if skew >= DOCTOR_SKEW_WARN => Finding::warn("clock", found, mend),
        _ => Finding::ok("clock", found),
    }
}

/// A certificate that was accepted: whose it is, who issued it, and until when it is good.
pub fn certificate(server: &str, der: Option<&[u8]>, now_unix: i64) -> Finding {
    let parsed = der.and_then(|der| parse_x509_certificate(der).ok());
    let Some((_, certificate)) = parsed else {
        return Finding::ok(
            "tls",
            format!("{server}: trusted; what its certificate says is unread"),
        );
    };
    let names = certificate.subject_alternative_name().ok().flatten();
    let names: Vec<String> = names.map_or(Vec::new(), |names| {
        let names = names.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        });
        names.take(NAMES_SHOWN).collect()
    });
    let until = certificate.validity().not_after.timestamp();
    let day = chrono::DateTime::from_timestamp(until, 0).unwrap_or_default().format("%Y-%m-%d");
    let issuer = certificate.issuer();
    let found =
        format!("{server}: certificate of {}, issued by {issuer}, until {day}", names.join(", "));
    let left = u64::try_from(until.saturating_sub(now_unix)).unwrap_or_default();
    let whole = until.saturating_sub(certificate.validity().not_before.timestamp());
    // Certificates of a few days are renewed by programs, in time.
    let third = u64::try_from(whole / 3).unwrap_or_default();
    match left {
        _ if left < DOCTOR_CERTIFICATE_WARN.as_secs().min(third) => {
            let found = format!("{found} ({} days left)", left / 86_400);
            Finding::warn("tls", found, "renew the server's certificate")
        }
        _ => Finding::ok("tls", found),
    }
}

/// Names of one certificate that are shown.
const NAMES_SHOWN: usize = 3;

/// The functional level of a domain (MS-ADTS 6.1.4.3).
pub fn functional_level(number: &str) -> &str {
    match number {
        "0" => "2000",
        "1" => "2003 interim",
        "2" => "2003",
        "3" => "2008",
        "4" => "2008 R2",
        "5" => "2012",
        "6" => "2012 R2",
        "7" => "2016",
        "10" => "2025",
        other => other,
    }
}

/// Whether the schema has `msDS-PrimaryComputer`.
pub fn schema(has: bool) -> Finding {
    if has {
        return Finding::ok("schema", "has msDS-PrimaryComputer");
    }
    let mend = "extend the schema (adprep of Windows Server 2012 or later); until then only \
                policy's own list, primary-computers.assign, can name primary computers";
    Finding::warn("schema", "has no msDS-PrimaryComputer", mend)
}

/// What was seen of the rights to one attribute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Right {
    /// Its name.
    pub attribute: String,
    /// How many users were looked at.
    pub users: usize,
    /// Those of whom it may not be read.
    pub denied: Vec<String>,
    /// Those of whom nobody can tell, because their access list may not be read.
    pub untold: usize,
}

/// Whether an attribute may be read. `asked`: somebody asked for this one user, so that one who is
/// denied is a failure; in a sample it is worth a look.
pub fn right(right: &Right, who: &str, asked: bool) -> Finding {
    let Right { attribute, users, denied, untold } = right;
    let mend = format!(
        "give {who} the right to read the property {attribute}, and look for entries that deny it \
         (Active Directory leaves out what may not be read, and says nothing)"
    );
    let shown: Vec<&str> = denied.iter().take(NAMES_SHOWN).map(String::as_str).collect();
    let more = denied.len().saturating_sub(shown.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let shown = shown.join(", ");
    match (denied.len(), untold) {
        (0, 0) if asked => Finding::ok("rights", format!("{attribute} may be read")),
        (0, 0) => Finding::ok("rights", format!("{attribute} may be read of {users} users")),
        (0, untold) => {
            let found = format!(
                "whether {attribute} may be read cannot be told of {untold} of {users} users"
            );
            let mend = format!("give {who} the right to read permissions, or compare as another");
            Finding::warn("rights", found, mend)
        }
        (all, _) if asked || all == *users => {
            Finding::fail("rights", format!("{attribute} may not be read of {shown}{more}"), mend)
        }
        (some, _) => {
            let found =
                format!("{attribute} may not be read of {some} of {users} users: {shown}{more}");
            Finding::warn("rights", found, mend)
        }
    }
}

/// What a keytab says about whom the agent binds as.
pub fn keytab(path: &Path, meta: &Metadata, principals: &[Principal], who: &str) -> Finding {
    let path = path.display();
    let mode = meta.mode() & 0o7777;
    let mut names: Vec<String> =
        principals.iter().map(|principal| principal.name.clone()).collect();
    names.dedup();
    let shown = names.iter().take(NAMES_SHOWN).cloned().collect::<Vec<_>>().join(", ");
    let version = principals.iter().filter(|known| known.name == who).map(|known| known.version);
    let Some(version) = version.max() else {
        let found = format!("{path} has no key of {who}; it has keys of {shown}");
        let mend = "set directory.principal to one of them (case counts), or join the domain";
        return Finding::fail("keytab", found, mend);
    };
    if mode & 0o077 != 0 {
        let found = format!("{path}: its mode {mode:o} lets others be this computer");
        let mend = "chmod 600 it, and change the computer's password (`adcli update`)";
        return Finding::warn("keytab", found, mend);
    }
    Finding::ok("keytab", format!("{path}: key {version} of {who}, mode {mode:o}"))
}

/// A cache file that is there. `intact`: what the agent would say of it.
pub fn cache(path: &Path, meta: &Metadata, age: Duration, intact: Result<usize, Why>) -> Finding {
    let path = path.display();
    let (owner, mode) = (meta.uid(), meta.mode() & 0o7777);
    let age = humantime::format_duration(Duration::from_secs(age.as_secs()));
    let found = format!("{path}: written {age} ago, owner {owner}, mode {mode:o}");
    match intact {
        Ok(users) => Finding::ok("cache", format!("{found}, intact, {users} users")),
        Err(why @ Why::Owner(_)) => {
            let mend = "run doctor as the agent's account; what it cannot trust it does not read";
            Finding::warn("cache", format!("{found}; not read, because {why}"), mend)
        }
        Err(why) => {
            let mend = "the agent sets it aside and asks anew; find out who changed it";
            Finding::fail("cache", format!("{found}; not believed, because {why}"), mend)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::directory::error::{Refusal, SecretError, TlsProblem};
    use crate::doctor::Level;

    fn told(finding: &Finding) -> (Level, String) {
        (finding.level, finding.to_string())
    }

    #[test]
    fn clocks() {
        for (seconds, level, part) in [
            (Some(0), Level::Ok, "dc1: 0 s apart"),
            (Some(59), Level::Ok, "59 s"),
            (Some(60), Level::Warn, "60 s apart from this computer's — to mend: set both clocks"),
            (Some(299), Level::Warn, "299 s"),
            (Some(300), Level::Fail, "Kerberos refuses from 300 s on — to mend: set both clocks"),
            (None, Level::Ok, "does not say its time"),
        ] {
            let (found, text) = told(&skew("dc1", seconds.map(Duration::from_secs)));
            assert_eq!(found, level, "{seconds:?}");
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn rights() {
        let denied = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let looked = |users, names: &[&str], untold| Right {
            attribute: "profilePath".to_owned(),
            users,
            denied: denied(names),
            untold,
        };
        for (seen, asked, level, part) in [
            (looked(1, &[], 0), true, Level::Ok, "profilePath may be read"),
            (looked(9, &[], 0), false, Level::Ok, "may be read of 9 users"),
            (looked(9, &["a"], 0), false, Level::Warn, "of 1 of 9 users: a — to mend: give svc"),
            (looked(9, &["a", "b", "c", "d"], 0), false, Level::Warn, "a, b, c and 1 more"),
            (looked(2, &["a", "b"], 0), false, Level::Fail, "may not be read of a, b"),
            (looked(1, &["a"], 0), true, Level::Fail, "may not be read of a — to mend: give svc"),
            (looked(3, &[], 2), false, Level::Warn, "cannot be told of 2 of 3 users"),
        ] {
            let (found, text) = told(&right(&seen, "svc", asked));
            assert_eq!(found, level, "{seen:?}");
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn every_stage_says_what_mends_it() {
        let io = || std::io::Error::other("x");
        let server = || "dc1".to_owned();
        let answer = |code| Refusal { code, text: String::new() };
        let kerberos = |message: &str| DirectoryError::Kerberos {
            service: "ldap/dc1".to_owned(),
            who: "D$".to_owned(),
            message: message.to_owned(),
        };
        let tls = |problem| {
            let source = Box::new(ldap3::LdapError::from(io()));
            DirectoryError::Tls { server: server(), problem, source }
        };
        let bind = |code| {
            let (who, answer) = ("svc".to_owned(), answer(code));
            DirectoryError::Bind { server: server(), who, answer }
        };
        let open = SecretError::Open { mode: 0o644 };
        for (error, mend) in [
            (DirectoryError::NoDomain, "set directory.domain or directory.servers"),
            (DirectoryError::Connect { server: server(), source: io() }, "no firewall is between"),
            (tls(TlsProblem::UnknownAuthority), "set directory.ca-file"),
            (tls(TlsProblem::WrongName), "subjectAltName"),
            (tls(TlsProblem::Time), "renew the server's certificate"),
            (bind(49), "check the name and its secret"),
            (bind(8), "try another directory.security"),
            (kerberos("Clock skew too great"), "set this computer's clock"),
            (kerberos("Preauthentication failed"), "the keytab is old"),
            (DirectoryError::Secret { path: "s".into(), source: open }, "chmod 600"),
        ] {
            let (level, text) = told(&failure("bind", &error));
            assert_eq!(level, Level::Fail);
            assert!(text.contains(mend) && text.contains("— to mend: "), "{text}");
        }
    }

    #[test]
    fn schema_and_levels() {
        assert_eq!(schema(true).level, Level::Ok);
        let (level, text) = told(&schema(false));
        assert!(level == Level::Warn && text.contains("primary-computers.assign"), "{text}");
        assert_eq!((functional_level("6"), functional_level("99")), ("2012 R2", "99"));
    }

    #[test]
    fn files() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path();
        let key = |name: &str, version| Principal { name: name.to_owned(), version };
        let keys = [key("D$@X", 2), key("D$@X", 3), key("host/d@X", 3)];
        let meta = |mode| {
            file.as_file().set_permissions(std::fs::Permissions::from_mode(mode)).unwrap();
            file.as_file().metadata().unwrap()
        };
        let (level, text) = told(&keytab(path, &meta(0o600), &keys, "D$@X"));
        assert!(level == Level::Ok && text.contains("key 3 of D$@X, mode 600"), "{text}");
        let (level, text) = told(&keytab(path, &meta(0o640), &keys, "D$@X"));
        assert!(level == Level::Warn && text.contains("chmod 600"), "{text}");
        let (level, text) = told(&keytab(path, &meta(0o600), &keys, "d$@X"));
        assert!(level == Level::Fail && text.contains("has keys of D$@X, host/d@X"), "{text}");
        let hour = Duration::from_secs(3_600);
        for (intact, wanted, part) in [
            (Ok(3), Level::Ok, "written 1h ago"),
            (Err(Why::Owner(7)), Level::Warn, "run doctor as the agent's account"),
            (Err(Why::Hash), Level::Fail, "find out who changed it"),
            (Err(Why::Mode(0o644)), Level::Fail, "mode 644 lets others read"),
        ] {
            let (level, text) = told(&cache(path, &meta(0o600), hour, intact));
            assert_eq!(level, wanted, "{text}");
            assert!(text.contains(part), "{text}");
        }
    }
}
