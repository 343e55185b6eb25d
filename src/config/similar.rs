//! Which known word was meant by one that is not known.

/// Longest word compared: the cost is the product of both lengths.
const WORD_BYTES_MAX: usize = 64;

/// The nearest known word, if it is near enough: a third of its letters may differ. That lets `conections_max` through and
/// keeps `id` from being offered for every short word.
pub(super) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    if word.len() > WORD_BYTES_MAX {
        return None;
    }
    let word = word.to_ascii_lowercase().replace('-', "_");
    let near = known.iter().map(|&candidate| (distance(&word, candidate), candidate)).min()?;
    (near.0 <= near.1.len().max(word.len()) / 3).then_some(near.1)
}

/// Insertions, deletions and replacements between two words (Levenshtein), one row of the table at a time.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_what_was_meant() {
        let known = ["name", "id", "network_id", "block_time", "providers"];
        let check = |word, expected| assert_eq!(nearest(word, &known), expected, "{word}");
        check("nme", Some("name"));
        check("Name", Some("name"));
        check("block-time", Some("block_time"));
        check("netwrok_id", Some("network_id"));
        check("provider", Some("providers"));
        check("x", None);
        check("colour", None);
        check(&"n".repeat(10_000), None);
    }
}
