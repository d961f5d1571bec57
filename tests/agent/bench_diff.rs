//! `policy diff` over a directory of 100,000 users: how long, and how much memory (`cargo bench -p homeport-agent`).
#![allow(clippy::disallowed_methods, reason = "a benchmark measures")]
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

const USERS: usize = 100_000;
const COMPUTERS: usize = 20_000;
const GROUPS: usize = 500;
/// Direct memberships of a user, besides what nests above them.
const MEMBERSHIPS: usize = 20;
const TARGET_SECONDS: f64 = 30.0;
const TARGET_MIB: f64 = 500.0;

/// A directory as an export has it: users in 40 units, groups that nest, primary computers.
fn directory(users: usize, computers: usize) -> String {
    let base = "DC=corp,DC=test";
    let mut out = String::from("version: 1\n\n");
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "dn: CN=ms-DS-Primary-Computer,CN=Schema,CN=Configuration,{base}\n\
         objectClass: attributeSchema\nattributeID: 1.2.840.113556.1.4.2167\n"
    );
    for group in 0..GROUPS {
        let above = group / 10;
        let member_of = match group {
            0..10 => String::new(),
            _ => format!("memberOf: CN=G{above},OU=Groups,{base}\n"),
        };
        let _ = writeln!(
            out,
            "dn: CN=G{group},OU=Groups,{base}\nobjectClass: group\nsAMAccountName: G{group}\n\
             {member_of}"
        );
    }
    for computer in 0..computers {
        let unit = computer % 40;
        let _ = writeln!(
            out,
            "dn: CN=PC-{computer},OU=U{unit},OU=Staff,{base}\nobjectClass: computer\n\
             sAMAccountName: PC-{computer}$\noperatingSystem: Windows 11 Enterprise\n"
        );
    }
    for user in 0..users {
        let (unit, first, second) = (user % 40, user % computers, (user * 7 + 1) % computers);
        let _ = write!(
            out,
            "dn: CN=User {user},OU=U{unit},OU=Staff,{base}\nobjectClass: user\n\
             sAMAccountName: user{user}\nmail: user{user}@corp.test\ndepartment: D{unit}\n\
             homeDirectory: \\\\files\\home\\user{user}\n\
             profilePath: \\\\files\\profiles\\user{user}\n\
             msDS-PrimaryComputer: CN=PC-{first},OU=U{},OU=Staff,{base}\n\
             msDS-PrimaryComputer: CN=PC-{second},OU=U{},OU=Staff,{base}\n",
            first % 40,
            second % 40
        );
        for membership in 0..MEMBERSHIPS {
            let group = (user * 31 + membership * 17) % GROUPS;
            let _ = writeln!(out, "memberOf: CN=G{group},OU=Groups,{base}");
        }
        out.push('\n');
    }
    out
}

fn policy(directory: &Path, changed: bool) {
    fs::create_dir_all(directory).unwrap();
    for object in 0..20 {
        let only = changed && object == 7;
        let text = format!(
            "schema = 1\n[policy]\nid = 'o{object}'\nversion = 1\n[link]\nto = 'ou:OU=U{object},OU=Staff,DC=corp,DC=test'\n\
             [filter]\ngroups = ['CORP\\G{object}', 'CORP\\G{}']\n\
             [computer.folder-redirection]\nprimary-computers-only = {only}\n\
             [user.folder-redirection.documents]\nsetting = 'basic'\n\
             target = {{ kind = 'create-per-user', root = '\\\\files\\home' }}\n",
            object + 20
        );
        fs::write(directory.join(format!("o{object}.toml")), text).unwrap();
    }
}

/// Peak memory of the children so far, in MiB.
fn peak_mib() -> f64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: f64 =
        line.and_then(|l| l.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or(0.0);
    kib / 1024.0
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    // The measured half runs in a process of its own, so that its peak is its own.
    if let [_, mark, root] = &args[..]
        && mark == "--measured"
    {
        return measured(Path::new(root));
    }
    let quick = args.iter().any(|arg| arg == "--quick") || !args.iter().any(|arg| arg == "--bench");
    let (users, computers) = if quick { (USERS / 20, COMPUTERS / 20) } else { (USERS, COMPUTERS) };
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("corp.ldif"), directory(users, computers)).unwrap();
    policy(&root.path().join("old"), false);
    policy(&root.path().join("new"), true);
    let bytes = fs::metadata(root.path().join("corp.ldif")).unwrap().len();
    println!("{users} users, {computers} computers, {GROUPS} groups, {} MiB of LDIF", bytes >> 20);
    let own = std::env::current_exe().unwrap();
    let status = Command::new(own).arg("--measured").arg(root.path()).status().unwrap();
    // The short form shows that the benchmark runs; the targets are those of the full one.
    if status.success() || quick { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn measured(root: &Path) -> ExitCode {
    use homeport_agent::{directory::file, rehearse::rehearse, source};
    use homeport_policy::{facts::Os, parse::parse};
    let set = |name: &str| {
        let files = source::read(&root.join(name)).unwrap();
        parse(&files, &std::collections::BTreeMap::new()).set.unwrap()
    };
    let start = Instant::now();
    let snapshot = file::load(&root.join("corp.ldif")).unwrap();
    let loaded = start.elapsed().as_secs_f64();
    let found = rehearse(&set("old"), &set("new"), &snapshot, Os::Windows, false);
    let seconds = start.elapsed().as_secs_f64();
    let mib = peak_mib();
    println!(
        "{} pairs, {} change; {} kinds of computers",
        found.pairs,
        found.pairs_changed,
        found.kinds.len()
    );
    println!("policy diff: {seconds:.2} s (load {loaded:.2} s; target {TARGET_SECONDS} s)");
    println!("peak memory: {mib:.0} MiB (target {TARGET_MIB} MiB)");
    if seconds <= TARGET_SECONDS && mib <= TARGET_MIB {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
