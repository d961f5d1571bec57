//! How amounts are told: one item, two items.

use homeport_sync::Counts;

/// So many of something: the word gets an `s` unless it is one.
pub fn count(number: u64, word: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {word}{plural}")
}

/// So many of something, and the verb that goes with it.
pub fn count_is(number: u64, word: &str) -> String {
    format!("{} {}", count(number, word), if number == 1 { "is" } else { "are" })
}

/// What the brake holds, in words.
pub fn held_counts(deletes: u64, changes: u64) -> String {
    match (deletes, changes) {
        (deletes, 0) => count(deletes, "delete"),
        (0, changes) => count(changes, "change"),
        (deletes, changes) => {
            format!("{} and {}", count(deletes, "delete"), count(changes, "change"))
        }
    }
}

/// The counts of an exchange as one line, without what is zero.
pub fn counts_line(counts: &Counts) -> String {
    let conflicts = counts.conflicts_open;
    let all = [
        (counts.downloaded, "in"),
        (counts.uploaded, "out"),
        (counts.renamed, "renamed"),
        (counts.deleted_local, "removed here"),
        (counts.deleted_remote, "removed on the share"),
        (counts.unchanged, "unchanged"),
        (conflicts, if conflicts == 1 { "open conflict" } else { "open conflicts" }),
        (counts.screened, "screened"),
        (counts.skipped, "skipped"),
        (counts.put_off, "put off until the network's budget allows it"),
        (counts.failed, "failed"),
    ];
    let told = all.iter().filter(|(count, _)| *count > 0);
    let mut told: Vec<String> = told.map(|(count, text)| format!("{count} {text}")).collect();
    if conflicts > 0 {
        told.push("see `homeport conflicts list`".to_owned());
    }
    if told.is_empty() { "nothing to do".to_owned() } else { told.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_one_and_two_are_two() {
        assert_eq!((count(0, "item"), count(1, "item")), ("0 items".into(), "1 item".into()));
        assert_eq!(count_is(1, "change"), "1 change is");
        assert_eq!(held_counts(1, 2), "1 delete and 2 changes");
        let counts = Counts { uploaded: 1, conflicts_open: 1, ..Counts::default() };
        let line = "1 out, 1 open conflict, see `homeport conflicts list`";
        assert_eq!(counts_line(&counts), line);
        assert_eq!(counts_line(&Counts::default()), "nothing to do");
    }
}
