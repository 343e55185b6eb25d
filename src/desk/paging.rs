//! Pages of lists: none is longer than [`limits::KEYS_LISTED_MAX`], and each says where the next one begins.

use super::Refusal;
use crate::limits;

/// A piece of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    pub rows: Vec<T>,
    /// The last row's name, where there is more behind it.
    pub next: Option<String>,
}

/// How many rows a page has: as many as are asked for, or as may be.
pub fn most(asked: Option<usize>) -> Result<usize, Refusal> {
    match asked {
        None => Ok(limits::KEYS_LISTED_MAX),
        Some(most @ 1..=limits::KEYS_LISTED_MAX) => Ok(most),
        Some(_) => Err(Refusal::Most),
    }
}

/// A page of what is all there, by name.
pub(super) fn by_name<T>(mut rows: Vec<T>, name: fn(&T) -> &str, after: Option<&str>, most: usize) -> Page<T> {
    rows.sort_by(|one, other| name(one).cmp(name(other)));
    let from = after.map_or(0, |after| rows.partition_point(|row| name(row) <= after));
    rows.drain(..from);
    let more = rows.len() > most;
    rows.truncate(most);
    let next = rows.last().filter(|_| more).map(|last| name(last).to_owned());
    Page { rows, next }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_together_are_the_list() {
        let all = || ["d", "a", "c", "b", "e"].map(str::to_owned).to_vec();
        for (size, pages) in [(1, 5), (2, 3), (4, 2), (5, 1), (6, 1)] {
            let (mut after, mut seen, mut count) = (None, Vec::new(), 0);
            loop {
                let page = by_name(all(), |row| row, after.as_deref(), size);
                seen.extend(page.rows);
                count += 1;
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!((seen.concat().as_str(), count), ("abcde", pages), "{size}");
        }
        assert_eq!(by_name(all(), |row| row, Some("bb"), 1).rows, ["c"]);
        assert_eq!(by_name(all(), |row| row, Some("e"), 1), Page { rows: Vec::new(), next: None });
    }

    #[test]
    fn a_page_has_a_size() {
        for (asked, expected) in [
            (None, Ok(limits::KEYS_LISTED_MAX)),
            (Some(0), Err(Refusal::Most)),
            (Some(1), Ok(1)),
            (Some(limits::KEYS_LISTED_MAX), Ok(limits::KEYS_LISTED_MAX)),
            (Some(limits::KEYS_LISTED_MAX + 1), Err(Refusal::Most)),
        ] {
            assert_eq!(most(asked), expected);
        }
    }
}
