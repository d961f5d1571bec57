//! What the lab's domain holds: the file `corp.ldif`, and what a program writes better than a hand.
use std::fmt::Write as _;

use super::ldif;

pub const BASE: &str = "DC=corp,DC=test";
pub const STAFF: &str = "OU=Staff,DC=corp,DC=test";
pub const WORKSTATIONS: &str = "OU=Workstations,DC=corp,DC=test";
pub const SALES: &str = r"OU=Sales\, EMEA,OU=Staff,DC=corp,DC=test";

pub const ALICE: &str = "CN=Alice Archer,OU=Staff,DC=corp,DC=test";
pub const BOB: &str = "CN=Bob Baker,OU=Accounting,OU=Staff,DC=corp,DC=test";
pub const CAROL: &str = r"CN=Carol Cook,OU=Sales\, EMEA,OU=Staff,DC=corp,DC=test";
pub const DAVE: &str = "CN=Dave Dyer,OU=Staff,DC=corp,DC=test";
pub const ERIN: &str = "CN=Erin Ekman,OU=Staff,DC=corp,DC=test";
pub const FRANK: &str = "CN=Frank Frost,OU=Staff,DC=corp,DC=test";
pub const GRACE: &str = "CN=Grace Many,OU=Staff,DC=corp,DC=test";
pub const WALTER: &str = "CN=Walter Wall,OU=Staff,DC=corp,DC=test";
pub const BIG_GROUP: &str = "CN=Big,OU=Groups,DC=corp,DC=test";
pub const DESK_1: &str = "CN=DESK-1,OU=Workstations,DC=corp,DC=test";
pub const DESK_2: &str = "CN=DESK-2,OU=Workstations,DC=corp,DC=test";
pub const STALE_5: &str = "CN=STALE-5,OU=Workstations,DC=corp,DC=test";

/// The password of every person, and of the administrator.
pub const PASSWORD: &str = "Passw0rd!";
pub const SERVICE: &str = "svc-homeport@CORP.TEST";
pub const SERVICE_PASSWORD: &str = "Svc-pass-1";
/// DESK-1's own; its keytab is `Dc::keytab`.
pub const MACHINE_PASSWORD: &str = "Desk1-machine-pass";

/// More groups, and more members, than Active Directory's 1500 values at a time.
pub const MANY: usize = 1600;
/// frank's picture: not text, and large.
pub const PICTURE_BYTES: usize = 60_000;

const CORP: &str = include_str!("corp.ldif");

/// Everything, as changes for `ldbmodify`. The thousands of groups are left out of a twin: it is
/// there to be told apart, not to be heavy.
pub fn ldif(heavy: bool) -> String {
    let mut text = String::new();
    for line in CORP.lines() {
        match line.strip_prefix("password: ") {
            Some(clear) => text.push_str(&ldif::password(clear)),
            None => writeln!(text, "{line}").unwrap(),
        }
    }
    // A JPEG's first bytes, then every byte there is: neither UTF-8 nor free of zeroes.
    let mut picture = vec![0xFF, 0xD8, 0xFF, 0xE0];
    picture.extend((0..=u8::MAX).cycle().take(PICTURE_BYTES - picture.len()));
    writeln!(text, "\ndn: {FRANK}\nchangetype: modify\nadd: thumbnailPhoto").unwrap();
    text.push_str(&ldif::binary("thumbnailPhoto", &picture));
    text.push_str("-\nadd: jpegPhoto\n");
    text.push_str(&ldif::binary("jpegPhoto", &picture[..1000]));
    if heavy {
        add_groups(&mut text);
    }
    text
}

fn add_groups(text: &mut String) {
    let group = |at: usize| format!("CN=G{at:04},OU=Groups,{BASE}");
    for at in 1..=MANY {
        writeln!(text, "\ndn: {}\nchangetype: add\nobjectClass: group", group(at)).unwrap();
        writeln!(text, "sAMAccountName: G{at:04}\nmember: {GRACE}").unwrap();
    }
    writeln!(text, "\ndn: {BIG_GROUP}\nchangetype: add\nobjectClass: group").unwrap();
    writeln!(text, "sAMAccountName: Big").unwrap();
    for at in 1..=MANY {
        writeln!(text, "member: {}", group(at)).unwrap();
    }
}
