//! Rules that are taken out one by one (`just mutations`) are where their list says: it is hours until somebody runs it.

use std::collections::BTreeMap;

use crate::root;

/// Name, file, and what stands there and instead of it.
struct Mutation<'a> {
    name: &'a str,
    file: &'a str,
    before: &'a str,
    after: &'a str,
}

fn mutations(list: &str) -> Vec<Mutation<'_>> {
    list.split("\n[")
        .filter_map(|entry| {
            let (name, fields) = entry.split_once("]\n")?;
            let field = |name: &str| {
                let value = fields
                    .lines()
                    .find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
                value.unwrap_or_else(|| panic!("an entry has no `{name}`: {entry}"))
            };
            Some(Mutation {
                name: name.trim_start_matches('['),
                file: field("file"),
                before: field("before"),
                after: field("after"),
            })
        })
        .collect()
}

#[test]
fn rules_that_are_taken_out_stand_where_the_list_says() {
    let list = std::fs::read_to_string(root().join("tests/mutations/list")).unwrap();
    let all = mutations(&list);
    assert!(all.len() > 20, "{} entries", all.len());
    // One after the other, as they are built.
    let mut texts: BTreeMap<&str, String> = BTreeMap::new();
    let mut astray = Vec::new();
    for mutation in &all {
        let text = texts.entry(mutation.file).or_insert_with(|| {
            std::fs::read_to_string(root().join(mutation.file))
                .unwrap_or_else(|error| panic!("{}: {error}", mutation.file))
        });
        let count = text.matches(mutation.before).count();
        if count == 1 {
            *text = text.replace(mutation.before, mutation.after);
        } else {
            astray.push(format!(
                "{}: stands {count} times in {}",
                mutation.name, mutation.file
            ));
        }
    }
    assert!(astray.is_empty(), "correct tests/mutations/list: {astray:#?}");
}
