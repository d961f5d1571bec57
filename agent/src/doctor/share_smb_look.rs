//! The looking of `homeport doctor '\\server\share\folder'` where nothing is mounted: through
//! `homeport-smb`, as whoever runs this. Each question has a deadline.
#![expect(clippy::disallowed_methods, reason = "edge: looks whether the helper is installed")]

use std::collections::BTreeSet;

use super::share_access::Descriptor;
use super::share_facts::{Look, NtStatus, Referral, Seen, Tree};
use super::share_look::status_of;
use super::share_smb_text;
use crate::limits::{DOCTOR_TIMEOUT, SMB_LIST};
use crate::plan::SmbShare;
use crate::settings::SmbSettings;
use crate::share::helper::{Is, Limits, Refused, SmbVolume, Start};

/// Whether the helper is there.
pub fn is_installed(smb: &SmbSettings) -> bool {
    smb.helper.is_file()
}

/// A share that the helper looks at.
#[derive(Debug)]
pub struct Helper {
    share: SmbShare,
    /// `None` before the first question.
    connected: Option<Result<SmbVolume, Refusal>>,
    /// Folders that are links to other places, below the share.
    links: BTreeSet<String>,
}

#[derive(Clone, Debug)]
struct Refusal {
    status: Option<NtStatus>,
    why: String,
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        let status = match refused.status {
            0 => status_of(&refused.source),
            status => Some(NtStatus(status)),
        };
        Self { status, why: refused.source.to_string() }
    }
}

impl From<Refusal> for Seen {
    fn from(Refusal { status, why }: Refusal) -> Self {
        Self::Failed { status, why }
    }
}

/// Whether a connection failed at the share, when the person was signed in already.
fn is_of_share(status: Option<NtStatus>) -> bool {
    [NtStatus::BAD_NETWORK_NAME, NtStatus::ACCESS_DENIED, NtStatus::ACCESS_DENIED_TO_SHARE]
        .map(Some)
        .contains(&status)
}

impl Helper {
    /// A share, whichever of its folders; nothing is asked yet.
    pub fn new(share: SmbShare) -> Self {
        let share = SmbShare { below: Vec::new(), processes: 1, ..share };
        Self { share, connected: None, links: BTreeSet::new() }
    }

    /// The connection, made by the first question. Without it nothing more is asked: each question
    /// would wait as long.
    fn volume(&mut self) -> Result<&SmbVolume, Refusal> {
        let share = &self.share;
        let connected = self.connected.get_or_insert_with(|| {
            let (connect, answer) = (DOCTOR_TIMEOUT, DOCTOR_TIMEOUT);
            let limits = Limits { connect, answer, call: DOCTOR_TIMEOUT * 2, list: SMB_LIST };
            let start = Start { limits, ..Start::new(share.clone()) };
            let volume = SmbVolume::new(start).map_err(Refused::from)?;
            volume.connect().map(|()| volume).map_err(not_connected)
        });
        connected.as_ref().map_err(Clone::clone)
    }

    fn asked<T>(
        &mut self,
        below: &[&str],
        ask: impl FnOnce(&SmbVolume, &str) -> Result<T, Refused>,
    ) -> Result<T, Seen> {
        let volume = self.volume().map_err(|_| no_connection())?;
        ask(volume, &below.join("/")).map_err(|refused| Refusal::from(refused).into())
    }

    fn who(&self) -> String {
        let SmbShare { user, password_file, .. } = &self.share;
        match (user, password_file) {
            (Some(user), Some(_)) => format!("as {user}, by tickets or password"),
            (Some(user), None) => format!("as {user}"),
            (None, _) => "with this account's tickets".to_owned(),
        }
    }
}

/// A connection that was not made. "Not permitted", and no status, is what libsmbclient makes of a
/// sign-in that failed, and the helper of tickets that are not there.
fn not_connected(refused: Refused) -> Refusal {
    let is_sign_in =
        refused.status == 0 && refused.source.kind() == std::io::ErrorKind::PermissionDenied;
    let refusal = Refusal::from(refused);
    let status = if is_sign_in { Some(NtStatus::LOGON_FAILURE) } else { refusal.status };
    Refusal { status, ..refusal }
}

fn no_connection() -> Seen {
    Seen::Unknown("there is no connection to the share".to_owned())
}

impl Look for Helper {
    fn session(&mut self) -> Seen {
        let who = self.who();
        match self.volume().map(drop) {
            Ok(()) => Seen::Well(format!("signed in {who}; every message is signed")),
            Err(refusal) if is_of_share(refusal.status) => Seen::Well(format!("signed in {who}")),
            Err(refusal) => refusal.into(),
        }
    }

    fn tree(&mut self) -> (Seen, Tree) {
        let seen = match self.volume().map(drop) {
            Ok(()) => Seen::Well("connected".to_owned()),
            Err(refusal) if is_of_share(refusal.status) => refusal.into(),
            Err(_) => no_connection(),
        };
        let why = "only administrators of the server may ask for it".to_owned();
        (seen, Tree { list: Some(Err(why)), ..Tree::default() })
    }

    fn open(&mut self, below: &[&str]) -> Seen {
        match self.asked(below, SmbVolume::attributes) {
            Ok(Is::Folder) => Seen::Well("may be opened".to_owned()),
            Ok(Is::Other) => Seen::Failed {
                status: Some(NtStatus::NOT_A_DIRECTORY),
                why: "it is no folder".to_owned(),
            },
            Err(seen) => seen,
        }
    }

    fn list(&mut self, below: &[&str]) -> Seen {
        match self.asked(below, SmbVolume::may_list) {
            Ok(links) => {
                let path = |name: String| [below, &[name.as_str()]].concat().join("/");
                self.links.extend(links.into_iter().map(|name| path(name).to_lowercase()));
                Seen::Well("may be listed".to_owned())
            }
            Err(seen) => seen,
        }
    }

    fn descriptor(&mut self, below: &[&str]) -> Result<Descriptor, String> {
        let text = self.asked(below, SmbVolume::security).map_err(|seen| match seen {
            Seen::Failed { status: Some(status), why } => format!("{status}: {why}"),
            Seen::Failed { why, .. } | Seen::Unknown(why) | Seen::Well(why) => why,
        })?;
        share_smb_text::parse(&text).map_err(|error| error.to_string())
    }

    fn referrals(&mut self, below: &[&str]) -> Vec<Referral> {
        let paths = (1..=below.len()).map(|count| &below[..count]);
        let links = paths.filter(|path| self.links.contains(&path.join("/").to_lowercase()));
        let SmbShare { server, name, .. } = &self.share;
        let part = |path: &[&str]| format!(r"\\{server}\{name}\{}", path.join("\\"));
        links.map(|path| Referral { part: part(path), targets: Vec::new() }).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn the_servers_status_counts_before_this_systems() {
        let denied = || io::Error::from_raw_os_error(13);
        let told = Refusal::from(Refused { status: 0xc000_00cc, source: denied() });
        assert_eq!(told.status, Some(NtStatus::BAD_NETWORK_NAME));
        let untold = Refusal::from(Refused { status: 0, source: denied() });
        assert_eq!(untold.status, Some(NtStatus::ACCESS_DENIED));
        let inner = io::Error::new(denied().kind(), Refused { status: 7, source: denied() });
        let wrapped = io::Error::new(denied().kind(), inner);
        assert_eq!(Refused::from(wrapped).status, 7);
    }

    #[test]
    fn without_the_program_nothing_is_known_of_the_share() {
        let mut helper = Helper::new(SmbShare {
            server: "srv".to_owned(),
            name: "home".to_owned(),
            below: Vec::new(),
            port: 445,
            program: "/nonexistent/homeport-smb".into(),
            processes: 4,
            user: None,
            realm: None,
            ntlm: false,
            password_file: None,
            must_encrypt: false,
        });
        assert!(matches!(helper.session(), Seen::Failed { .. }));
        assert!(matches!(helper.tree().0, Seen::Unknown(_)));
        assert!(matches!(helper.open(&[]), Seen::Unknown(_)));
        assert!(helper.descriptor(&[]).is_err());
    }
}
