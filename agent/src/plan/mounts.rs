//! Shares that are directories here: a mount, or a plain folder that serves as one.

use homeport_policy::unc::Unc;

use crate::plan::Remote;
use crate::settings::Mount;

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
    Ok(Remote {
        unc: unc.clone(),
        path: below.iter().fold(mount.path.clone(), |path, part| path.join(part)),
        mount: mount.path.clone(),
        must_be_mounted: mount.mounted,
        create: false,
        exclusive: false,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn mount(unc: &str, path: &str) -> Mount {
        Mount { unc: Unc::parse(unc).unwrap(), path: path.into(), mounted: false }
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
}
