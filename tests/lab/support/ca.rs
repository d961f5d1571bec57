//! A certificate authority for the lab's servers, made with openssl and valid for a few days.
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::{program, root, run};

/// Elliptic keys: they are made in milliseconds.
const KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

pub struct Ca {
    dir: PathBuf,
    /// The authority's certificate, PEM.
    pub file: PathBuf,
}

/// A server's certificate and key, PEM.
#[derive(Clone, Debug)]
pub struct Cert {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Ca {
    pub fn new(name: &str) -> Self {
        let dir = root().join("ca").join(name);
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("ca.pem");
        let mut command = program("openssl");
        command.args(["req", "-x509", "-days", "3", "-subj"]).arg(format!("/CN={name}")).args(KEY);
        run(command.arg("-keyout").arg(dir.join("ca.key")).arg("-out").arg(&file));
        Self { dir, file }
    }

    /// The authority every server of the lab begins with.
    pub fn lab() -> &'static Self {
        static LAB: OnceLock<Ca> = OnceLock::new();
        LAB.get_or_init(|| Self::new("lab"))
    }

    /// A certificate for one host name, given as subjectAltName: clients look nowhere else.
    pub fn issue(&self, host: &str) -> Cert {
        self.issue_for(host, "3")
    }

    /// One that ran out a day ago.
    pub fn issue_expired(&self, host: &str) -> Cert {
        self.issue_for(host, "-1")
    }

    fn issue_for(&self, host: &str, days: &str) -> Cert {
        let at = |ending: &str| self.dir.join(format!("{host}{days}.{ending}"));
        let (cert, key, request) = (at("pem"), at("key"), at("csr"));
        let mut command = program("openssl");
        command.args(["req", "-subj"]).arg(format!("/CN={host}")).args(KEY);
        run(command.arg("-keyout").arg(&key).arg("-out").arg(&request));
        let extensions = at("ext");
        let text = format!("subjectAltName=DNS:{host}\nextendedKeyUsage=serverAuth\n");
        std::fs::write(&extensions, text).unwrap();
        self.sign(&request, &cert, &extensions, days);
        Cert { cert, key }
    }

    fn sign(&self, request: &Path, cert: &Path, extensions: &Path, days: &str) {
        let mut command = program("openssl");
        command.args(["x509", "-req", "-set_serial", "1", "-days", days, "-in"]).arg(request);
        command.arg("-CA").arg(&self.file).arg("-CAkey").arg(self.dir.join("ca.key"));
        run(command.arg("-extfile").arg(extensions).arg("-out").arg(cert));
    }
}
