//! Where a request may show its key: in the path, the query, `X-Livechain-Key` or `Authorization: Bearer`.
//!
//! One that shows two different ones is refused: whoever reads the other one (a balancer that logs, a rule that limits)
//! would decide about somebody else. The same key twice is fine; libraries do that. An empty place is a key that is no
//! key, and not the wish to be anonymous. Nothing is decoded: no key of ours needs it.

/// The texts of a request that may hold a key.
#[derive(Clone, Copy, Default)]
pub struct KeyPlaces<'a> {
    /// What stands for `{key}` in `/v1/{key}/…`.
    pub path: Option<&'a [u8]>,
    /// All of the query.
    pub query: Option<&'a [u8]>,
    /// The value of `X-Livechain-Key`.
    pub key_field: Option<&'a [u8]>,
    /// The value of `Authorization`.
    pub authorization: Option<&'a [u8]>,
}

impl std::fmt::Debug for KeyPlaces<'_> {
    /// Without a word of it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyPlaces").finish_non_exhaustive()
    }
}

/// A request that shows two different keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TwoKeys;

/// The key that a request shows, as it is written, or none; it may be anything, a token of another kind among it.
#[inline]
pub fn shown_key<'a>(places: &KeyPlaces<'a>) -> Result<Option<&'a [u8]>, TwoKeys> {
    let mut shown = places.path;
    if let Some(key) = places.key_field {
        shown = same(shown, key)?;
    }
    if let Some(key) = places.authorization.and_then(bearer) {
        shown = same(shown, key)?;
    }
    if let Some(query) = places.query {
        for key in in_query(query) {
            shown = same(shown, key)?;
        }
    }
    Ok(shown)
}

fn same<'a>(shown: Option<&'a [u8]>, key: &'a [u8]) -> Result<Option<&'a [u8]>, TwoKeys> {
    if shown.is_none_or(|shown| shown == key) { Ok(Some(key)) } else { Err(TwoKeys) }
}

/// The token of `Bearer …`, the scheme in any case; none for other schemes, which are not ours to judge.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let scheme = value.get(..6).filter(|scheme| scheme.eq_ignore_ascii_case(b"Bearer"))?;
    match value[scheme.len()..] {
        [] => Some(&[]),
        [b' ', ..] => Some(value[scheme.len()..].trim_ascii_start()),
        _ => None,
    }
}

fn in_query(query: &[u8]) -> impl Iterator<Item = &[u8]> {
    query.split(|byte| *byte == b'&').filter_map(|pair| pair.strip_prefix(b"key="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_wherever_it_is_shown() {
        // path, query, X-Livechain-Key, Authorization → what is shown
        type Row = ([&'static str; 4], Result<Option<&'static str>, TwoKeys>);
        const NONE: &str = "(none)";
        let rows: [Row; 22] = [
            ([NONE, NONE, NONE, NONE], Ok(None)),
            (["a", NONE, NONE, NONE], Ok(Some("a"))),
            ([NONE, "key=a", NONE, NONE], Ok(Some("a"))),
            ([NONE, "x=1&key=a&meta=1", NONE, NONE], Ok(Some("a"))),
            ([NONE, "monkey=a&keys=b&key", NONE, NONE], Ok(None)),
            ([NONE, NONE, "a", NONE], Ok(Some("a"))),
            ([NONE, NONE, NONE, "Bearer a"], Ok(Some("a"))),
            ([NONE, NONE, NONE, "bEARER   a"], Ok(Some("a"))),
            ([NONE, NONE, NONE, "Bearer a b"], Ok(Some("a b"))),
            ([NONE, NONE, NONE, "Basic a"], Ok(None)),
            ([NONE, NONE, NONE, "Bearera"], Ok(None)),
            ([NONE, NONE, NONE, "a"], Ok(None)),
            (["a", "key=a&key=a", "a", "Bearer a"], Ok(Some("a"))),
            (["a", NONE, "a", "Basic b"], Ok(Some("a"))),
            // An empty place counts as one.
            ([NONE, "key=", NONE, NONE], Ok(Some(""))),
            ([NONE, NONE, "", NONE], Ok(Some(""))),
            ([NONE, NONE, NONE, "Bearer"], Ok(Some(""))),
            (["a", "key=", NONE, NONE], Err(TwoKeys)),
            (["a", "key=b", NONE, NONE], Err(TwoKeys)),
            ([NONE, "key=a&key=b", NONE, NONE], Err(TwoKeys)),
            ([NONE, NONE, "a", "Bearer b"], Err(TwoKeys)),
            (["a", NONE, NONE, "Bearer A"], Err(TwoKeys)),
        ];
        for (texts, expected) in rows {
            let [path, query, key_field, authorization] =
                texts.map(|text| Some(text.as_bytes()).filter(|_| text != NONE));
            let shown = shown_key(&KeyPlaces { path, query, key_field, authorization });
            assert_eq!(shown, expected.map(|key| key.map(str::as_bytes)), "{texts:?}");
        }
    }
}
