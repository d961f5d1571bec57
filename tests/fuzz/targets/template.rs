//! Path templates: the first line is the template, the others are what the directory says of the
//! user. No value brings a part of the path with it.
#![no_main]

use std::sync::Arc;

use homeport_policy::expand::expand;
use homeport_policy::facts::{Computer, Directory, Facts, Names, Network, Os, User};
use homeport_policy::unc::check_name;
use homeport_policy::value::Template;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let written = lines.next().unwrap_or_default();
    let template = match Template::parse(written) {
        Ok(template) => template,
        Err(error) => {
            assert!(!error.to_string().is_empty() && !error.hint().is_empty());
            return;
        }
    };
    assert_eq!(template.as_str(), written);
    assert_eq!(Template::parse(written).as_ref(), Ok(&template));
    let plain = facts("x", "x", r"\\home\share");
    let user = plain.user.clone().unwrap();
    let Ok(usual) = expand(&template, &user, &plain) else {
        assert!(written.len() > 30_000 || written.to_lowercase().contains("%ad:"), "{written:?}");
        return;
    };
    let (value, name) = (lines.next().unwrap_or("y"), lines.next().unwrap_or("y"));
    let other = facts(value, name, r"\\home\share");
    let user = other.user.clone().unwrap();
    match expand(&template, &user, &other) {
        Ok(unc) => {
            assert!(unc.parts().all(|part| check_name(part).is_ok()));
            assert_eq!(unc.parts().count(), usual.parts().count(), "{unc} and {usual}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let home = facts("x", "x", value);
    let user = home.user.clone().unwrap();
    if let Ok(unc) = expand(&template, &user, &home) {
        assert!(unc.parts().all(|part| check_name(part).is_ok()));
    }
});

fn facts(value: &str, name: &str, home: &str) -> Facts {
    let attributes = [("department", value), ("homedirectory", home)];
    let user = User {
        name: name.to_owned(),
        domain: value.to_owned(),
        dns_domain: name.to_owned(),
        attributes: attributes.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        ..User::default()
    };
    let computer = Computer {
        name: value.to_owned(),
        dn: None,
        groups: Names::default(),
        os: Os::Linux,
        site: None,
        logon_server: Some(name.to_owned()),
    };
    Facts {
        user: Some(Arc::new(user)),
        computer: Arc::new(computer),
        directory: Directory::Answered,
        schema_has_primary_computer: true,
        network: Network::default(),
        profile_link: None,
    }
}
