//! Shares that are directories here: a mount, or a plain folder that serves as one.

use std::path::PathBuf;

use homeport_policy::unc::Unc;

use crate::plan::{Remote, SmbShare};
use crate::settings::{Encryption, Mount, SmbSettings};

/// No directory on this computer holds the share.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no directory on this computer holds {unc}")]
pub struct Unmapped {
    /// The network folder.
    pub unc: Unc,
}

impl Unmapped {
    /// The lines of `agent.toml` that would map the share.
    pub fn hint(&self) -> String {
        let parts: Vec<&str> = self.unc.parts().take(2).collect();
        let [server, share] = parts[..] else { return String::new() };
        format!(
            "mount the share and add to agent.toml: [[mount]] unc = '\\\\{server}\\{share}' \
             path = \"/mnt/{server}/{share}\""
        )
    }
}

/// Finds the directory of a network folder: the longest mapped UNC path above it counts.
///
/// # Errors
/// [`Unmapped`] when nothing above it is mapped.
pub fn locate(mounts: &[Mount], unc: &Unc) -> Result<Remote, Unmapped> {
    let above = mounts.iter().filter_map(|mount| Some((mount, unc.below(&mount.unc)?)));
    let best = above.min_by_key(|(_, below)| below.len());
    let (mount, below) = best.ok_or_else(|| Unmapped { unc: unc.clone() })?;
    if let Some(smb) = &mount.smb {
        return Ok(over_smb(unc, smb));
    }
    Ok(Remote {
        unc: unc.clone(),
        path: below.iter().fold(mount.path.clone(), |path, part| path.join(part)),
        mount: mount.path.clone(),
        must_be_mounted: mount.mounted,
        create: false,
        exclusive: false,
        smb: None,
    })
}

/// A network folder that is not mounted, through the helper. Its paths are names for messages, and
/// lead nowhere.
pub fn over_smb(unc: &Unc, smb: &SmbSettings) -> Remote {
    let mut parts = unc.parts().map(str::to_owned);
    let (server, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let path: PathBuf = unc.as_str().replace('\\', "/").into();
    let share = SmbShare {
        server,
        name,
        below: parts.collect(),
        port: smb.port,
        program: smb.helper.clone(),
        processes: smb.processes,
        user: smb.user.clone(),
        realm: smb.realm.clone(),
        ntlm: smb.ntlm,
        password_file: smb.password_file.clone(),
        must_encrypt: smb.encryption == Encryption::Required,
    };
    Remote {
        unc: unc.clone(),
        mount: path.clone(),
        path,
        must_be_mounted: false,
        create: false,
        exclusive: false,
        smb: Some(Box::new(share)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::settings::Backend;

    fn mount(unc: &str, path: &str) -> Mount {
        let (unc, path) = (Unc::parse(unc).unwrap(), path.into());
        Mount { unc, path, mounted: false, backend: Backend::Mounted, smb: None }
    }

    #[test]
    fn the_longest_mapping_counts() {
        let mounts = [mount(r"\\srv\home", "/mnt/home"), mount(r"\\SRV\home\Alice", "/mnt/a")];
        let at = |unc: &str| locate(&mounts, &Unc::parse(unc).unwrap()).map(|remote| remote.path);
        assert_eq!(at(r"\\srv\home\bob\Doc").unwrap(), Path::new("/mnt/home/bob/Doc"));
        assert_eq!(at(r"\\srv\home\alice\Doc").unwrap(), Path::new("/mnt/a/Doc"));
        let error = at(r"\\other\share\x").unwrap_err();
        assert!(error.hint().contains(r"unc = '\\other\share'"), "{}", error.hint());
    }

    #[test]
    fn a_share_that_is_not_mounted_is_named_and_not_looked_for() {
        let smb = Some(SmbSettings::default());
        let mounts = [Mount { smb, backend: Backend::Smb, ..mount(r"\\srv\home", "") }];
        let remote = locate(&mounts, &Unc::parse(r"\\srv\home\alice\Doc").unwrap()).unwrap();
        let share = remote.smb.unwrap();
        assert_eq!((share.server.as_str(), share.name.as_str()), ("srv", "home"));
        assert_eq!(share.below, ["alice", "Doc"]);
        assert_eq!(remote.path, Path::new("//srv/home/alice/Doc"));
    }
}
