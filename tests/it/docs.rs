//! The pages say what the code does: options, and the tests that docs/conformance.md names.

use std::collections::BTreeSet;
use std::path::Path;

use crate::rooms::{inside_src, sources};

fn page(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).unwrap()
}

/// Code that is part of the library: without comments and what comes after `#[cfg(test)]`.
fn library() -> impl Iterator<Item = (String, String)> {
    sources().into_iter().filter_map(|(path, text)| {
        let name = inside_src(&path).display().to_string();
        let is_test = name.ends_with("tests.rs") || name.starts_with("spark/");
        let code = text.split("#[cfg(test)]\nmod tests {").next()?.to_owned();
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        (!is_test).then(|| (name, lines.collect::<Vec<_>>().join("\n")))
    })
}

/// Text in quotes, without escapes.
fn texts(code: &str) -> impl Iterator<Item = &str> {
    code.lines().flat_map(|line| line.split('"').skip(1).step_by(2))
}

/// What code asks options for: the first argument of such calls, a text or a constant that is one, and lists of names.
fn known_to_the_code() -> BTreeSet<String> {
    const CALLS: &[&str] = &["options.get(", "options.parse(", "options.positive(", "options.boolean("];
    let mut names = BTreeSet::new();
    let is_option = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '.')
            && !text.starts_with("kafka.")
    };
    for (_, code) in library() {
        let mut add = |text: &str| {
            if is_option(text) {
                names.insert(text.to_owned());
            }
        };
        // `parse::<u64>(` is a call of `parse(`.
        let plain = code.replace("::<u64>(", "(").replace("::<usize>(", "(");
        for (at, call) in CALLS.iter().flat_map(|call| plain.match_indices(call)) {
            let argument = plain[at + call.len()..].split([',', ')']).next().unwrap_or_default().trim();
            match argument.strip_prefix('"') {
                Some(text) => add(text.trim_end_matches('"')),
                None => code.match_indices(&format!("const {argument}: &str = ")).for_each(|(at, _)| {
                    texts(&code[at..]).take(1).for_each(&mut add);
                }),
            }
        }
        let lists = code.match_indices("_OPTIONS: ").chain(code.match_indices("check_known("));
        for (at, _) in lists {
            let list = code[at..].split(';').next().unwrap_or_default();
            texts(list).for_each(&mut add);
        }
    }
    names
}

#[test]
fn every_option_that_the_code_knows_is_in_the_page() {
    let page = page("options.md");
    let known = known_to_the_code();
    for certain in ["subscribe", "failOnDataLoss", "numRows", "fetchOffset.numRetries", "storeErrors"] {
        assert!(known.contains(certain), "the search no longer finds {certain}: {known:?}");
    }
    let missing: Vec<_> = known.iter().filter(|name| !page.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/options.md does not name the options {missing:?}");
}

#[test]
fn every_option_of_the_page_is_known_to_the_code() {
    let code: String = library().map(|(_, code)| code).collect();
    let quoted: BTreeSet<String> = texts(&code).map(str::to_owned).collect();
    let page = page("options.md");
    let mut unknown = Vec::new();
    let mut names = 0;
    for line in page.lines().filter(|line| line.starts_with("| `") || line.starts_with("| option `")) {
        let cell = line.split('|').nth(1).unwrap_or_default();
        for name in cell.split('`').skip(1).step_by(2) {
            let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c));
            // Command-line words and settings of librdkafka that the code only passes on are not looked for.
            if !is_name || name.starts_with('-') || name.starts_with('.') {
                continue;
            }
            names += 1;
            let setting = name.strip_prefix("kafka.").unwrap_or(name);
            if !quoted.contains(name) && !quoted.contains(setting) {
                unknown.push(name.to_owned());
            }
        }
    }
    assert!(names > 50, "the search finds only {names} names");
    assert!(unknown.is_empty(), "docs/options.md names what the code does not know: {unknown:?}");
}

#[test]
fn every_test_that_the_conformance_page_names_exists() {
    let mut code: String = sources().into_iter().map(|(_, text)| text).collect();
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it")).unwrap() {
        let path = entry.unwrap().path();
        let files = if path.is_dir() {
            std::fs::read_dir(path).unwrap().map(|file| file.unwrap().path()).collect()
        } else {
            vec![path]
        };
        files.iter().for_each(|file| code += &std::fs::read_to_string(file).unwrap());
    }
    let page = page("conformance.md");
    let named: BTreeSet<&str> = page
        .lines()
        .filter(|line| line.starts_with("| "))
        .filter_map(|line| line.rsplit_once(" | "))
        .flat_map(|(_, here)| here.split('`').skip(1).step_by(2))
        .filter(|name| {
            name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') && name.len() > 8
        })
        .collect();
    assert!(named.len() > 50, "the search finds only {} tests", named.len());
    let missing: Vec<_> = named.iter().filter(|name| !code.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "docs/conformance.md names tests that do not exist: {missing:?}");
}
