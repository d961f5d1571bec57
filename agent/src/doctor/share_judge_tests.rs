//! Facts of shares, and what doctor makes of them.

use std::time::{Duration, UNIX_EPOCH};

use homeport_policy::unc::Unc;
use proptest::prelude::*;

use super::super::share_access::{Descriptor, Kind, flag};
use super::super::share_facts::{Look, Referral, Tree};
use super::super::share_sddl;
use super::super::smb_negotiate::Negotiated;
use super::*;

const ME: &str = "S-1-5-21-1-2-3-1001";
const STAFF: &str = "S-1-5-21-1-2-3-1200";
const PATH: &str = r"\\files\home$\dir1\dir2";

/// A share that answers from lists, as a server does: who may not read the list of a folder's rights
/// is told nothing of it.
struct Played {
    /// Of the share, its root, `dir1` and `dir2`.
    lists: [Descriptor; 4],
    /// Whether the lists may be read by everybody, as by an administrator.
    shown: bool,
}

impl Played {
    fn granted(&self, depth: usize) -> u32 {
        let sids = sids();
        self.lists[0].granted(&sids) & self.lists[depth + 1].granted(&sids)
    }

    fn tried(&self, depth: usize, right: u32) -> Seen {
        match self.granted(depth) & right == right {
            true => Seen::Well("yes".to_owned()),
            false => denied(),
        }
    }
}

impl Look for Played {
    fn session(&mut self) -> Seen {
        Seen::Well("as alice".to_owned())
    }

    fn tree(&mut self) -> (Seen, Tree) {
        let list = match self.shown {
            true => Ok(self.lists[0].clone()),
            false => Err("only administrators may".to_owned()),
        };
        let seen = match self.lists[0].granted(&sids()) {
            0 => denied(),
            _ => Seen::Well("connected".to_owned()),
        };
        let tree = Tree { caching: Some(Caching::Manual), continuous: None, list: Some(list) };
        (seen, tree)
    }

    fn open(&mut self, below: &[&str]) -> Seen {
        self.tried(below.len(), mask::READ_ATTRIBUTES)
    }

    fn list(&mut self, below: &[&str]) -> Seen {
        self.tried(below.len(), mask::LIST)
    }

    fn descriptor(&mut self, below: &[&str]) -> Result<Descriptor, String> {
        match self.shown || self.granted(below.len()) & mask::READ_CONTROL != 0 {
            true => Ok(self.lists[below.len() + 1].clone()),
            false => Err(NtStatus::ACCESS_DENIED.to_string()),
        }
    }

    fn referrals(&mut self, _: &[&str]) -> Vec<Referral> {
        Vec::new()
    }
}

fn denied() -> Seen {
    Seen::Failed { status: Some(NtStatus::ACCESS_DENIED), why: "refused".to_owned() }
}

fn sids() -> std::collections::BTreeSet<String> {
    [ME, STAFF, "S-1-1-0", "S-1-5-11"].map(str::to_owned).into()
}

fn facts() -> Facts {
    let now = UNIX_EPOCH + Duration::from_secs(1_900_000_000);
    let mut facts = Facts::new(Unc::parse(PATH).unwrap(), now);
    (facts.sids, facts.who) = (sids(), Some(STAFF.to_owned()));
    facts
}

fn looked(played: &mut Played) -> Facts {
    let mut facts = facts();
    facts.look(played);
    facts
}

/// The lists of the KB's own minimum.
fn minimum() -> [Descriptor; 4] {
    let list = |text: &str| share_sddl::parse(text).unwrap();
    let system = "(A;OICI;FA;;;SY)";
    [
        list(&format!("D:(A;;0x1301bf;;;{STAFF})")),
        list(&format!("O:BAD:(A;;FR;;;{STAFF})(A;OICIIO;FA;;;CO){system}")),
        list(&format!("O:BAD:(A;;FR;;;{STAFF}){system}")),
        list(&format!("O:{ME}D:(A;OICI;FRFW;;;{ME}){system}")),
    ]
}

#[test]
fn the_documented_minimum_is_well() {
    let report = judge(&looked(&mut Played { lists: minimum(), shown: true }));
    assert_eq!((report.verdict, report.report.warn), (Verdict::Well, 0), "{report}");
    assert_eq!((report.first_failure, report.changes), (None, vec![]));
}

/// KB 2512089: the user may reach dir1 and dir2, and not look at the root.
#[test]
fn a_root_that_refuses_is_named_with_its_status_and_the_entry_that_mends_it() {
    for shown in [false, true] {
        let mut lists = minimum();
        lists[1] = share_sddl::parse("O:BAD:(A;OICIIO;FA;;;CO)(A;OICI;FA;;;SY)").unwrap();
        let mut played = Played { lists, shown };
        let report = judge(&looked(&mut played));
        assert_eq!(report.verdict, Verdict::Denied);
        let first = report.first_failure.clone().unwrap();
        assert_eq!((first.part.as_str(), first.stage), (r"\\files\home$", Stage::Open));
        assert_eq!(first.status, Some(NtStatus::ACCESS_DENIED));
        assert_eq!(first.missing.as_deref(), Some("Read Attributes"));
        let [change] = report.changes.as_slice() else { panic!("{report}") };
        assert_eq!(change.command.sddl, format!("(A;;0x120089;;;{STAFF})"));
        assert!(change.command.windows.starts_with(r#"icacls "\\files\home$" /grant"#));
        let text = report.to_string();
        let line = r"the first part that fails: \\files\home$ (open, STATUS_ACCESS_DENIED \
                     (0xC0000022), missing: Read Attributes)";
        assert!(text.contains(&line.replace("\\\n                     ", "")), "{text}");
        mend(&mut played, &report);
        assert_eq!(judge(&looked(&mut played)).verdict, Verdict::Well);
    }
}

/// The helper may not read the share's own list; what it refuses shows all the same.
#[test]
fn share_permissions_that_nobody_may_read_are_named_when_the_folders_lists_grant_all() {
    let mut lists = minimum();
    lists[0] = share_sddl::parse(&format!("D:(A;;0x120116;;;{STAFF})")).unwrap();
    let mut played = Played { lists, shown: false };
    let report = judge(&looked(&mut played));
    let first = report.first_failure.clone().unwrap();
    assert_eq!(first.missing.as_deref(), Some("Change in the share permissions"));
    let [change] = report.changes.as_slice() else { panic!("{report}") };
    assert!(change.of_share, "{report}");
    mend(&mut played, &report);
    assert_eq!(judge(&looked(&mut played)).verdict, Verdict::Well);
}

/// Carries out what a report says.
fn mend(played: &mut Played, report: &ShareReport) {
    let parts = [r"\\files\home$", r"\\files\home$", r"\\files\home$\dir1", PATH];
    for Mend { part, of_share, what, command } in &report.changes {
        let first = if *of_share { 0 } else { 1 };
        let at = first + parts[first..].iter().position(|known| known == part).unwrap();
        let entry = share_sddl::parse(&format!("D:{}", command.sddl)).unwrap().list.unwrap();
        let entry = entry[0].clone();
        let change = if *what == "add" { Change::Add(entry) } else { Change::Remove(entry) };
        played.lists[at].apply(&change);
    }
}

#[test]
fn what_fails_at_the_server_says_what_helps() {
    let failed = |status, why: &str| Seen::Failed { status, why: why.to_owned() };
    for (stage, status, verdict, part) in [
        (Stage::Name, Some(NtStatus::BAD_NETWORK_PATH), Verdict::Away, "this computer's DNS"),
        (Stage::Port, Some(NtStatus::CONNECTION_REFUSED), Verdict::Away, "port 445"),
        (Stage::Dialect, None, Verdict::Broken, "SMB 2 or later"),
        (Stage::Session, Some(NtStatus::LOGON_FAILURE), Verdict::Broken, "klist"),
        (Stage::Tree, Some(NtStatus::BAD_NETWORK_NAME), Verdict::Broken, "may be renamed"),
        (Stage::Open, Some(NtStatus::IO_TIMEOUT), Verdict::Away, "wait for the server"),
        (Stage::Open, Some(NtStatus::NOT_FOUND), Verdict::Broken, "moved the folder"),
        (Stage::List, Some(NtStatus(0xc000_0001)), Verdict::Broken, "0xC0000001"),
    ] {
        let mut facts = facts();
        facts.step(r"\\files", stage, failed(status, "it said no"));
        let report = judge(&facts);
        assert_eq!(report.verdict, verdict, "{stage:?}");
        assert!(report.to_string().contains(part), "{report}");
        facts.by_smb = false;
        let expected = if stage.is_of_server() { Verdict::Well } else { verdict };
        assert_eq!(judge(&facts).verdict, expected, "{stage:?} of a share that needs no SMB");
    }
}

#[test]
fn what_else_is_worth_a_look() {
    let well = Negotiated {
        dialect: 0x0311,
        signing_required: true,
        encryption: true,
        dfs: false,
        guid: [0; 16],
        time: Some(facts().now),
    };
    let with = |change: fn(&mut Facts, &mut Negotiated)| {
        let (mut facts, mut said) = (facts(), well.clone());
        change(&mut facts, &mut said);
        facts.negotiated = Some(said);
        facts.step(r"\\files", Stage::Dialect, Seen::Well("SMB".to_owned()));
        judge(&facts)
    };
    assert_eq!(with(|_, _| {}).report.warn, 0);
    let owned = |facts: &mut Facts, owner: &str| {
        let list = Ok(share_sddl::parse(&format!("O:{owner}D:NO_ACCESS_CONTROL")).unwrap());
        facts.lists.push(Listed { place: Place::Folder, part: PATH.to_owned(), list });
    };
    for (change, part) in [
        ((|_, said| said.dialect = 0x0210) as fn(&mut Facts, &mut Negotiated), "cannot encrypt"),
        (|_, said| said.signing_required = false, "does not require signing"),
        (|facts, _| facts.now += Duration::from_secs(90), "90 s apart"),
        (|facts, _| facts.now -= Duration::from_secs(90), "90 s apart"),
        (|facts, _| facts.caching = Some(Caching::Forbidden), "CachingMode Manual"),
        (|facts, _| facts.continuous = Some(true), "continuously available"),
        (
            |facts, _| facts.unc = Unc::parse(&format!(r"{PATH}\{}", "x".repeat(240))).unwrap(),
            "has 264 characters",
        ),
        (
            |facts, _| {
                facts.referrals.push(Referral {
                    part: r"\\corp\dfs\home".to_owned(),
                    targets: vec![r"\\a\home".to_owned(), r"\\b\home".to_owned()],
                })
            },
            "leave one target enabled",
        ),
        (|facts, _| facts.other_names.push(r"\\alias\home$".to_owned()), "under another name"),
    ] {
        let report = with(change);
        assert_eq!((report.report.warn, report.report.fail), (1, 0), "{part}: {report}");
        assert!(report.to_string().contains(part), "{report}");
    }
    let mut foreign = facts();
    owned(&mut foreign, "S-1-5-21-1-2-3-9");
    assert!(judge(&foreign).to_string().contains("neither the user nor Administrators"));
    let mut own = facts();
    owned(&mut own, ME);
    assert!(judge(&own).to_string().contains("ok    owner"));
}

#[test]
fn without_a_user_nothing_is_claimed() {
    let mut facts = looked(&mut Played { lists: minimum(), shown: true });
    (facts.sids, facts.who) = (["S-1-1-0".to_owned()].into(), None);
    let report = judge(&facts);
    assert_eq!((report.verdict, report.changes.len()), (Verdict::Well, 0));
    assert!(report.to_string().contains("--sid"), "{report}");
}

#[test]
fn json_has_what_scripts_need() {
    let mut lists = minimum();
    lists[1].list = Some(vec![]);
    let report = judge(&looked(&mut Played { lists, shown: false }));
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["verdict"], "denied");
    assert_eq!(json["first-failure"]["status"], "STATUS_ACCESS_DENIED (0xC0000022)");
    assert_eq!(json["first-failure"]["stage"], "open");
    assert_eq!(json["changes"][0]["what"], "add");
    assert!(json["changes"][0]["sddl"].as_str().unwrap().starts_with("(A;;0x120089"));
    assert!(json["findings"].as_array().unwrap().len() > 3);
}

fn list() -> impl Strategy<Value = Descriptor> {
    let kind = prop_oneof![3 => Just(Kind::Allow), 2 => Just(Kind::Deny)];
    let sid = prop::sample::select(vec![ME, STAFF, "S-1-1-0", "S-1-5-32-544", "S-1-3-0"]);
    let flags = prop::sample::select(vec![0, 0, 3, flag::BELOW_ONLY | 3, flag::INHERITED | 3]);
    let bits = prop_oneof![
        any::<u32>(),
        prop::sample::select(vec![mask::READ, mask::WRITE, mask::CHANGE, mask::FULL])
    ];
    let ace = (kind, sid, flags, bits).prop_map(|(kind, sid, flags, mask)| Ace {
        kind,
        flags,
        mask,
        sid: sid.to_owned(),
    });
    prop::collection::vec(ace, 0..6)
        .prop_map(|list| Descriptor { list: Some(list), ..Descriptor::default() })
}

proptest! {
    /// Whatever the lists say: once everything that is printed was done, nothing fails any more.
    #[test]
    fn doing_what_is_printed_makes_it_well(
        lists in [list(), list(), list(), list()],
        shown: bool,
    ) {
        let mut played = Played { lists, shown };
        // Where lists may not be read, only what the table says can be printed at first; what still
        // denies shows once they can be.
        for _ in 0..4 {
            let report = judge(&looked(&mut played));
            if report.verdict == Verdict::Well {
                break;
            }
            prop_assert_eq!(report.verdict, Verdict::Denied);
            prop_assert!(!report.changes.is_empty(), "{}", report);
            prop_assert!(report.first_failure.is_some());
            mend(&mut played, &report);
            played.shown = true;
        }
        let report = judge(&looked(&mut played));
        prop_assert_eq!(report.verdict, Verdict::Well, "{}", report);
    }
}
