//! LDIF as real programs export it, the defects a file can have, and writing and reading back.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use base64::{Engine as _, engine::general_purpose::STANDARD};
use homeport_agent::directory::ldif::{
    DEFECTS_MAX, Defect, Entry, LINE_BYTES_MAX, Value, base_name, incomplete_range, read,
};
use proptest::prelude::*;

/// Entries as `line dn | name=value | …`, defects as their message.
fn told(input: &[u8]) -> Vec<String> {
    let value = |value: &Value| match value {
        Value::Text(text) => text.clone(),
        Value::Binary(bytes) => format!("{bytes:02x?}"),
    };
    read(input)
        .map(|found| match found {
            Ok(Entry { line, dn, attributes }) => {
                attributes.iter().fold(format!("{line} {dn}"), |told, (name, v)| {
                    format!("{told} | {name}={}", value(v))
                })
            }
            Err(error) => {
                assert!(!error.hint().is_empty());
                error.to_string()
            }
        })
        .collect()
}

const LDAPSEARCH: &str = "\
# extended LDIF
#
# LDAPv3
# base <dc=corp,dc=test> with scope subtree
# filter: (&(objectClass=user)(msDS-PrimaryComputer=*))
# requesting: msDS-PrimaryComputer objectSid
#

# Anna Beispiel, Staff, corp.test
dn: CN=Anna Beispiel,OU=Staff,DC=corp,DC=test
objectSid:: AQUAAAAAAAUVAAAAZBu7KXBVvKVjFd5OUQQAAA==
msDS-PrimaryComputer: CN=LT-0042,OU=Laptops of the Field Service,OU=Comput
 ers,DC=corp,DC=test
displayName:: QW5uYSBNw7xsbGVy

# M\\C3\\BCller, Staff, corp.test, with a comment that is so long that ldapsearch
  folds it
dn:: Q049TcO8bGxlcixPVT1TdGFmZixEQz1jb3JwLERDPXRlc3Q=
msDS-PrimaryComputer: CN=PC-7,OU=Computers,DC=corp,DC=test
description:  two  spaces 
info:

# search reference
ref: ldap://ForestDnsZones.corp.test/DC=ForestDnsZones,DC=corp,DC=test

# search result
search: 2
result: 0 Success

# numResponses: 4
# numEntries: 2
# numReferences: 1
";

#[test]
fn ldapsearch_with_comments() {
    let expected = [
        "10 CN=Anna Beispiel,OU=Staff,DC=corp,DC=test \
         | objectSid=[01, 05, 00, 00, 00, 00, 00, 05, 15, 00, 00, 00, 64, 1b, bb, 29, 70, 55, bc, \
         a5, 63, 15, de, 4e, 51, 04, 00, 00] \
         | msDS-PrimaryComputer=CN=LT-0042,OU=Laptops of the Field Service,OU=Computers,DC=corp,\
         DC=test | displayName=Anna Müller",
        "18 CN=Müller,OU=Staff,DC=corp,DC=test \
         | msDS-PrimaryComputer=CN=PC-7,OU=Computers,DC=corp,DC=test \
         | description=two  spaces  | info=",
    ];
    assert_eq!(told(LDAPSEARCH.as_bytes()), expected);
    let crlf = LDAPSEARCH.replace('\n', "\r\n");
    assert_eq!(told(crlf.as_bytes()), expected);
}

#[test]
fn ldapsearch_without_comments() {
    let input = "\
dn: CN=Staff,OU=Groups,DC=corp,DC=test
objectClass: top
objectClass: group
member;range=0-1: CN=Anna,DC=corp,DC=test
member;range=0-1: CN=Bert,DC=corp,DC=test

dn:
namingContexts: DC=corp,DC=test";
    assert_eq!(
        told(input.as_bytes()),
        [
            "1 CN=Staff,OU=Groups,DC=corp,DC=test | objectClass=top | objectClass=group \
         | member;range=0-1=CN=Anna,DC=corp,DC=test | member;range=0-1=CN=Bert,DC=corp,DC=test",
            "7  | namingContexts=DC=corp,DC=test",
        ]
    );
}

const LDIFDE: &str = "\
dn: CN=LT-0042,OU=Computers,DC=corp,DC=test\r
changetype: add\r
objectClass: top\r
objectClass: computer\r
cn: LT-0042\r
objectGUID:: QUJDREVGR0hJSktMTU5PUA==\r
servicePrincipalName: HOST/LT-0042.corp.test\r
servicePrincipalName: \r
 RestrictedKrbHost/LT-0042.corp.test\r
\r
dn: CN=M\u{fc}ller,OU=Staff,DC=corp,DC=test\r
changetype: add\r
sAMAccountName: mueller\r
\r
";

#[test]
fn ldifde_in_every_encoding() {
    let expected = [
        "1 CN=LT-0042,OU=Computers,DC=corp,DC=test | objectClass=top | objectClass=computer \
         | cn=LT-0042 \
         | objectGUID=[41, 42, 43, 44, 45, 46, 47, 48, 49, 4a, 4b, 4c, 4d, 4e, 4f, 50] \
         | servicePrincipalName=HOST/LT-0042.corp.test \
         | servicePrincipalName=RestrictedKrbHost/LT-0042.corp.test",
        "11 CN=Müller,OU=Staff,DC=corp,DC=test | sAMAccountName=mueller",
    ];
    assert_eq!(told(LDIFDE.as_bytes()), expected);
    assert_eq!(told(format!("\u{feff}{LDIFDE}").as_bytes()), expected);
    let little: Vec<u8> =
        format!("\u{feff}{LDIFDE}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(told(&little), expected);
    let big: Vec<u8> =
        format!("\u{feff}{LDIFDE}").encode_utf16().flat_map(u16::to_be_bytes).collect();
    assert_eq!(told(&big), ["line 1: the file is UTF-16 with the high byte first"]);
}

#[test]
fn small_samples() {
    #[rustfmt::skip]
    let cases: [(&[u8], &[&str]); 13] = [
        (b"", &[]),
        (b"\n\n# nothing\n", &[]),
        (b"version: 1\n\ndn: a=1\n", &["3 a=1"]),
        (b"version: 1\ndn: a=1\nb: 2\n\n\n\ndn: a=2\n", &["2 a=1 | b=2", "7 a=2"]),
        (b"dn: a=1\nb:2\nc:   3\n", &["1 a=1 | b=2 | c=3"]),
        (b"dn: a=1\nb: 1\n 2\n  3\n", &["1 a=1 | b=12 3"]),
        (b"dn: a=\n 1\nb:: \n IA=\n =\n", &["1 a=1 | b= "]),
        (b"dn: a=1\nb:: YQ\n", &["1 a=1 | b=a"]),
        (b"dn: a=1\nb: \xff\n", &["1 a=1 | b=[ff]"]),
        (b"dn: a=1\nb:: AGE=\n", &["1 a=1 | b=[00, 61]"]),
        (b"dn: a=1\nuserCertificate;binary: a\n", &["1 a=1 | userCertificate;binary=[61]"]),
        (b"DN: a=1\nChangeType: ADD\nb: c:d::e\n", &["1 a=1 | b=c:d::e"]),
        (b"dn: a=1\n# between\n# two\nb: 2\n", &["1 a=1 | b=2"]),
    ];
    for (input, expected) in cases {
        assert_eq!(told(input), expected, "{}", String::from_utf8_lossy(input));
    }
}

#[test]
fn defects_are_told_with_their_line() {
    #[rustfmt::skip]
    let cases: [(&[u8], &[&str]); 17] = [
        (b"cn: x\nsn: y\n\ndn: a=1\n",
            &["line 1: the record begins with \"cn: x\" instead of dn", "4 a=1"]),
        (b"dn: a=1\nb:: ***\nc: 1\n\ndn: a=2\n",
            &["line 2: the value of b is not base64", "5 a=2"]),
        (b"dn: a=1\nphoto:< file:///etc/passwd\n",
            &["line 2: the value of photo is a reference to a URL, which is never fetched"]),
        (b"dn:< file:///x\n",
            &["line 1: the value of dn is a reference to a URL, which is never fetched"]),
        (b"dn:: ***\n", &["line 1: the value of dn is not base64"]),
        (b"dn:: /w==\n", &["line 1: the dn is not UTF-8"]),
        (b"dn: a=1\ndn: a=2\n", &["line 2: a second dn within one record"]),
        (b"dn: a=1\nb\nc c: 1\n: 2\n",
            &["line 2: no colon in \"b\"", "line 3: \"c c\" is no attribute name",
                "line 4: \"\" is no attribute name"]),
        (b"dn: a=1\n\n stray\n",
            &["1 a=1", "line 3: a line that begins with a space continues no line"]),
        (b"version: 2\n\ndn: a=1\n", &["line 1: LDIF version \"2\" is not known", "3 a=1"]),
        (b"dn: a=1\nchangetype: delete\n",
            &["line 2: a change record (changetype: delete) is no content"]),
        (b"dn: a=1\nchangetype: modify\nreplace: sn\nsn: x\n-\n\ndn: a=2\n",
            &["line 2: a change record (changetype: modify) is no content", "7 a=2"]),
        (b"dn: a=1\n\nsearch: 2\nresult: 4 Size limit exceeded\n",
            &["1 a=1",
            "line 4: the search ended with \"4 Size limit exceeded\", so entries may be missing"]),
        (b"result: 32 No such object\n",
            &["line 1: the search ended with \"32 No such object\", so entries may be missing"]),
        (b"# LDAPv3\n#\n\ndn: a=1\nb: 2\n",
            &["4 a=1 | b=2",
                "line 5: the end of the search is missing, so entries may be missing"]),
        (b"dn: a=1\nb: 1\n 1\n 1\n# c\n c\nd\n", &["line 7: no colon in \"d\""]),
        (b"SGVsbG8\n\ndn: a=1\n", &["line 1: no colon in \"SGVsbG8\"", "3 a=1"]),
    ];
    for (input, expected) in cases {
        assert_eq!(told(input), expected, "{}", String::from_utf8_lossy(input));
    }
}

#[test]
fn defects_are_bounded() {
    let many = "cn: x\n\n".repeat(DEFECTS_MAX + 50);
    let found: Vec<_> = read(many.as_bytes()).collect();
    assert_eq!(found.len(), DEFECTS_MAX + 1);
    assert_eq!(found.last().unwrap().as_ref().unwrap_err().kind, Defect::TooManyDefects);
    let one_record = format!("dn: a=1\n{}", "bad\n".repeat(10_000));
    assert_eq!(read(one_record.as_bytes()).count(), DEFECTS_MAX + 1);
    let few = "cn: x\n\n".repeat(DEFECTS_MAX);
    assert_eq!(read(few.as_bytes()).count(), DEFECTS_MAX);
}

#[test]
fn lines_are_bounded() {
    let fits = format!("dn: a=1\nb: {}\n", "x".repeat(LINE_BYTES_MAX - 3));
    assert!(read(fits.as_bytes()).all(|found| found.is_ok()));
    for long in [
        format!("dn: a=1\nb: {}\n\ndn: a=2\n", "x".repeat(LINE_BYTES_MAX)),
        format!("dn: a=1\nb: {}\n\ndn: a=2\n", "x\n ".repeat(LINE_BYTES_MAX)),
    ] {
        let found: Vec<_> = read(long.as_bytes()).collect();
        let error = found[0].as_ref().unwrap_err();
        assert_eq!((error.line, &error.kind), (2, &Defect::LineTooLong));
        assert_eq!(found[1].as_ref().unwrap().dn, "a=2");
    }
}

#[test]
fn ranges_and_options() {
    assert_eq!(base_name("member;range=0-1499"), "member");
    assert_eq!(base_name("cn"), "cn");
    for (name, incomplete) in [
        ("member", false),
        ("member;range=0-1499", true),
        ("member;Range=0-1499", true),
        ("member;range=1500-*", false),
        ("member;range=0-*", false),
        ("cn;lang-de", false),
        ("range=0-1", false),
        ("member;binary;range=0-9", true),
    ] {
        assert_eq!(incomplete_range(name), incomplete, "{name}");
    }
}

/// Shapes in which reading anything twice would take minutes.
#[test]
fn long_inputs_are_read_to_their_end() {
    let folded = format!("dn: a=1\nb: {}\n", "x\n ".repeat(200_000));
    assert_eq!(read(folded.as_bytes()).filter(|found| found.is_ok()).count(), 1);
    let wide = format!("dn: a=1\n{}", "b: 1\n".repeat(200_000));
    assert_eq!(read(wide.as_bytes()).next().unwrap().unwrap().attributes.len(), 200_000);
    let comments = "# c\n c\n".repeat(200_000);
    assert_eq!(read(comments.as_bytes()).count(), 0);
    let entries = "dn: a=1\nb: 1\n\n".repeat(200_000);
    assert_eq!(read(entries.as_bytes()).count(), 200_000);
}

// ---------------------------------------------------------------- writing and reading back

/// Writes as RFC 2849 asks: base64 where a value is not a safe string, folded at 76 columns.
fn write(entries: &[Entry], newline: &str) -> Vec<u8> {
    let mut output = format!("version: 1{newline}");
    for entry in entries {
        output.push_str(newline);
        push_line(&mut output, newline, "dn", entry.dn.as_bytes());
        for (name, value) in &entry.attributes {
            match value {
                Value::Text(text) => push_line(&mut output, newline, name, text.as_bytes()),
                Value::Binary(bytes) => push_line(&mut output, newline, name, bytes),
            }
        }
    }
    output.into_bytes()
}

fn push_line(output: &mut String, newline: &str, name: &str, value: &[u8]) {
    let safe = value.iter().all(|byte| (0x20..0x7f).contains(byte))
        && !value.first().is_some_and(|byte| b" :<".contains(byte))
        && value.last() != Some(&b' ');
    let line = if safe {
        format!("{name}: {}", String::from_utf8_lossy(value))
    } else {
        format!("{name}:: {}", STANDARD.encode(value))
    };
    let mut rest = line.as_str();
    let mut room = 76;
    while rest.len() > room {
        output.push_str(&rest[..room]);
        output.push_str(newline);
        output.push(' ');
        rest = &rest[room..];
        room = 75;
    }
    output.push_str(rest);
    output.push_str(newline);
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let names = vec!["cn", "description", "member;range=0-1499", "displayName;lang-de", "info"];
    let text = (proptest::sample::select(names), "[ -~]{0,200}|[^\0]{0,40}|[ \r\n:<#]{0,5}")
        .prop_map(|(name, text)| (name.to_owned(), Value::Text(text)));
    let bytes = proptest::collection::vec(any::<u8>(), 0..300)
        .prop_map(|bytes| ("objectSid".to_owned(), Value::Binary(bytes)));
    let not_text = proptest::collection::vec(any::<u8>(), 0..300).prop_map(|mut bytes| {
        bytes.push(0xff);
        ("blob".to_owned(), Value::Binary(bytes))
    });
    let attributes =
        proptest::collection::vec(prop_oneof![3 => text, 1 => bytes, 1 => not_text], 0..8);
    ("[A-Z]{2}=[ -~]{0,150}|CN=[^\0]{0,30}|", attributes).prop_map(|(dn, attributes)| Entry {
        line: 0,
        dn,
        attributes,
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        entries in proptest::collection::vec(any_entry(), 0..6),
        newline in proptest::sample::select(vec!["\n", "\r\n"]),
        utf16: bool,
    ) {
        let mut written = write(&entries, newline);
        if utf16 {
            let text = String::from_utf8(written).unwrap();
            written = format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect();
        }
        let found: Result<Vec<Entry>, _> = read(&written).collect();
        let found: Vec<Entry> =
            found.unwrap().into_iter().map(|entry| Entry { line: 0, ..entry }).collect();
        prop_assert_eq!(found, entries);
    }

    /// Any bytes come to an end, with lines that exist.
    #[test]
    fn any_bytes_are_survived(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        parts in proptest::collection::vec(
            proptest::sample::select(vec![
                "dn: a=1\n", "dn", ":", "::", ":<", " ", "\n", "\r\n", "#", "b: 2\n", "version: ",
                "result: ", "changetype: ", "\u{feff}", "# LDAPv3\n", "\u{fc}",
            ]),
            0..60,
        ),
    ) {
        for input in [bytes, parts.concat().into_bytes()] {
            let lines = input.iter().filter(|byte| **byte == b'\n').count() + 1;
            for found in read(&input) {
                let line = found.map_or_else(|error| error.line, |entry| entry.line);
                prop_assert!(line <= lines.max(1), "line {} of {}", line, lines);
            }
        }
    }
}
