//! Edits `user-dirs.dirs`, the file in which XDG user directories are named; text in, text out.

/// Directory of the file below the home.
pub const FILE: &str = ".config/user-dirs.dirs";

/// The value of a variable, as written between the quotes.
pub fn get<'a>(text: &'a str, variable: &str) -> Option<&'a str> {
    // As in a shell, the last assignment counts.
    text.lines().rev().find_map(|line| assignment(line, variable))
}

fn assignment<'a>(line: &'a str, variable: &str) -> Option<&'a str> {
    let value = line.trim().strip_prefix(variable)?.strip_prefix('=')?;
    value.strip_prefix('"')?.strip_suffix('"')
}

/// Sets a variable, or removes it with `None`; every other line stays as it is.
pub fn set(text: &str, variable: &str, value: Option<&str>) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut at = None;
    for line in text.lines() {
        if assignment(line, variable).is_some() {
            at.get_or_insert(lines.len());
        } else {
            lines.push(line.to_owned());
        }
    }
    if let Some(value) = value {
        let line = format!("{variable}=\"{value}\"");
        lines.insert(at.unwrap_or(lines.len()), line);
    }
    let mut text = lines.join("\n");
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

/// Writes a path the way the file wants it: absolute, with the shell's special characters escaped.
pub fn quoted(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for c in path.chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# made by xdg-user-dirs-update\nXDG_DESKTOP_DIR=\"$HOME/Desktop\"\n\
                        XDG_DOCUMENTS_DIR=\"$HOME/Dokumente\"\n";

    #[test]
    fn set_and_set_back_gives_the_same_file() {
        let before = get(FILE, "XDG_DOCUMENTS_DIR").unwrap().to_owned();
        let changed = set(FILE, "XDG_DOCUMENTS_DIR", Some("/cache/Documents"));
        assert_eq!(get(&changed, "XDG_DOCUMENTS_DIR"), Some("/cache/Documents"));
        assert!(changed.starts_with("# made by"), "{changed}");
        assert_eq!(set(&changed, "XDG_DOCUMENTS_DIR", Some(&before)), FILE);
    }

    #[test]
    fn a_variable_that_was_not_there_goes_again() {
        let changed = set(FILE, "XDG_MUSIC_DIR", Some("/m"));
        assert_eq!(set(&changed, "XDG_MUSIC_DIR", None), FILE);
        assert_eq!(set("", "XDG_MUSIC_DIR", None), "");
    }
}
