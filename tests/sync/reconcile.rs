//! Every triple of base, here and there, held against a second statement of the rules.

use homeport_sync::{Action, Clash, Content, Kind, reconcile};

/// What can stand under a name, absence included.
fn states() -> [Option<Content>; 6] {
    [
        None,
        Some(Content::File([1; 32])),
        Some(Content::File([2; 32])),
        Some(Content::Link("elsewhere".into())),
        Some(Content::Dir),
        Some(Content::Unread(Kind::File)),
    ]
}

/// Whether two states are known to be equal; what was not read is known of nothing.
fn known_equal(a: Option<&Content>, b: Option<&Content>) -> bool {
    let read = |state: Option<&Content>| !matches!(state, Some(Content::Unread(_)));
    read(a) && read(b) && a == b
}

/// The rules, asked in another order than the engine asks them.
fn model(base: Option<&Content>, here: Option<&Content>, there: Option<&Content>) -> Action {
    if known_equal(here, there) {
        return match (known_equal(base, here), here) {
            (true, _) => Action::Nothing,
            (false, None) => Action::Forget,
            (false, Some(_)) => Action::Adopt,
        };
    }
    let bring = if there.is_some() { Action::CopyIn } else { Action::DeleteHere };
    let send = if here.is_some() { Action::CopyOut } else { Action::DeleteThere };
    if known_equal(base, here) {
        return bring;
    }
    if known_equal(base, there) {
        return send;
    }
    let (Some(a), Some(b)) = (here, there) else {
        return if here.is_some() { send } else { bring };
    };
    let folders = [a, b].iter().filter(|content| content.kind() == Kind::Dir).count();
    Action::Conflict(match (folders, base) {
        (1, _) => Clash::TypeDiffers,
        (_, Some(_)) => Clash::BothChanged,
        (_, None) => Clash::BothCreated,
    })
}

fn triples() -> impl Iterator<Item = [Option<Content>; 3]> {
    states().into_iter().flat_map(|base| {
        states().into_iter().flat_map(move |here| {
            let base = base.clone();
            states().into_iter().map(move |there| [base.clone(), here.clone(), there])
        })
    })
}

fn decide([base, here, there]: &[Option<Content>; 3]) -> Action {
    reconcile(base.as_ref(), here.as_ref(), there.as_ref())
}

#[test]
fn every_triple_is_decided_as_the_rules_say() {
    for triple in triples() {
        let [base, here, there] = &triple;
        let expected = model(base.as_ref(), here.as_ref(), there.as_ref());
        assert_eq!(decide(&triple), expected, "base, here, there: {triple:?}");
    }
}

#[test]
fn nothing_is_deleted_without_a_base() {
    for triple in triples().filter(|[base, ..]| base.is_none()) {
        let deletes = matches!(decide(&triple), Action::DeleteHere | Action::DeleteThere);
        assert!(!deletes, "base, here, there: {triple:?}");
    }
}

#[test]
fn equal_content_is_never_a_conflict() {
    for triple in triples().filter(|[_, a, b]| known_equal(a.as_ref(), b.as_ref())) {
        let conflict = matches!(decide(&triple), Action::Conflict(_));
        assert!(!conflict, "base, here, there: {triple:?}");
    }
}

#[test]
fn only_what_is_as_recorded_is_deleted() {
    for triple in triples() {
        let [base, here, there] = &triple;
        let doomed = match decide(&triple) {
            Action::DeleteHere => here,
            Action::DeleteThere => there,
            _ => continue,
        };
        assert!(known_equal(base.as_ref(), doomed.as_ref()), "base, here, there: {triple:?}");
    }
}

#[test]
fn the_sides_are_treated_alike() {
    let mirrored = |action| match action {
        Action::CopyIn => Action::CopyOut,
        Action::CopyOut => Action::CopyIn,
        Action::DeleteHere => Action::DeleteThere,
        Action::DeleteThere => Action::DeleteHere,
        same => same,
    };
    for triple in triples() {
        let [base, here, there] = triple.clone();
        assert_eq!(decide(&[base, there, here]), mirrored(decide(&triple)), "of {triple:?}");
    }
}
