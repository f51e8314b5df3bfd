//! The known name that somebody most likely meant.

/// The candidate with the fewest edits to `name`, if they are few enough for a slip of the hand: at most a third of its
/// length. Of equals the first.
pub(super) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // A name this long is no slip of the hand, and the distance costs the product of both lengths.
    if name.len() > 128 {
        return None;
    }
    // `retention_ms` and `retentionMs` are how other tools spell `retention.ms`.
    let mut dotted = String::with_capacity(name.len() + 8);
    for c in name.chars() {
        match c {
            '_' | '-' => dotted.push('.'),
            c if c.is_ascii_uppercase() => {
                dotted.push('.');
                dotted.push(c.to_ascii_lowercase());
            }
            c => dotted.push(c),
        }
    }
    candidates
        .map(|candidate| {
            (
                distance(name, candidate).min(distance(&dotted, candidate)),
                candidate,
            )
        })
        .filter(|(edits, candidate)| edits * 3 <= candidate.len())
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance, on bytes: names of settings are ASCII.
fn distance(left: &str, right: &str) -> usize {
    let right = right.as_bytes();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, r) in right.iter().enumerate() {
            let substitute = diagonal + usize::from(l != *r);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}
