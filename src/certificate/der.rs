//! What a certificate says of itself that nobody here verifies: whom it is for, and until when.
//!
//! TLS libraries check a peer's certificate against a name and answer yes or no; an own one is to be found by its names,
//! and told of before it ends. Only as much of X.509 is read as leads there. It reads what an operator has put in a file,
//! so what it does not understand is left out, and is no fault.

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// Names under `subjectAltName`, in lower case, as they stand there, wildcards included.
    pub(super) names: Vec<String>,
    /// Seconds since 1970 at which it ends.
    pub(super) not_after: Option<i64>,
}

const SEQUENCE: u8 = 0x30;
const OBJECT_ID: u8 = 0x06;
const OCTET_STRING: u8 = 0x04;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// Tags of the certificate's own optional parts.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// A name of DNS among alternative names.
const DNS_NAME: u8 = 0x82;
/// 2.5.29.17
const SUBJECT_ALT_NAME: [u8; 3] = [0x55, 0x1d, 0x11];

/// What the certificate says, as far as it can be read.
pub(super) fn facts(certificate: &[u8]) -> Facts {
    read(certificate).unwrap_or_default()
}

fn read(certificate: &[u8]) -> Option<Facts> {
    let mut outer = Elements(Elements(certificate).next_of(SEQUENCE)?);
    let mut parts = Elements(outer.next_of(SEQUENCE)?);
    // Version, where it is told, and serial number.
    if parts.next()?.tag == VERSION {
        parts.next()?;
    }
    let _signature = parts.next_of(SEQUENCE)?;
    let _issuer = parts.next_of(SEQUENCE)?;
    let mut validity = Elements(parts.next_of(SEQUENCE)?);
    let not_after = validity.nth(1).and_then(|element| seconds(&element));
    let extensions =
        parts.find(|part| part.tag == EXTENSIONS).and_then(|part| Elements(part.content).next_of(SEQUENCE));
    Some(Facts { names: extensions.map(alternative_names).unwrap_or_default(), not_after })
}

fn alternative_names(extensions: &[u8]) -> Vec<String> {
    let value = Elements(extensions).find_map(|extension| {
        let mut parts = Elements(extension.content);
        (parts.next_of(OBJECT_ID)? == SUBJECT_ALT_NAME).then_some(())?;
        // Whether it is critical may stand between.
        let value = parts.find(|part| part.tag == OCTET_STRING)?.content;
        Elements(value).next_of(SEQUENCE)
    });
    let names = Elements(value.unwrap_or_default()).filter(|name| name.tag == DNS_NAME);
    names.filter_map(|name| std::str::from_utf8(name.content).ok()).map(str::to_ascii_lowercase).collect()
}

struct Element<'a> {
    tag: u8,
    content: &'a [u8],
}

/// The elements of a DER encoding, one after another; ends at what is none.
struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    /// The next one's content, if it is of that kind.
    fn next_of(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|element| element.tag == tag).map(|element| element.content)
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        let (&[tag, first], mut rest) = self.0.split_first_chunk()?;
        let mut length = usize::from(first);
        if first >= 0x80 {
            let (bytes, behind) =
                rest.split_at_checked(usize::from(first & 0x7f)).filter(|(bytes, _)| bytes.len() <= 4)?;
            length = bytes.iter().fold(0, |length, &byte| length << 8 | usize::from(byte));
            rest = behind;
        }
        let (content, behind) = rest.split_at_checked(length)?;
        self.0 = behind;
        Some(Element { tag, content })
    }
}

/// Seconds since 1970 of a time in UTC.
fn seconds(time: &Element<'_>) -> Option<i64> {
    let text = std::str::from_utf8(time.content).ok()?;
    let (year, rest) = match time.tag {
        // Two digits mean 1950 to 2049.
        UTC_TIME => {
            let (digits, rest) = text.split_at_checked(2)?;
            let year: i64 = digits.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (digits, rest) = text.split_at_checked(4)?;
            (digits.parse().ok()?, rest)
        }
        _ => return None,
    };
    let two = |at: usize| rest.get(at..at + 2)?.parse::<i64>().ok();
    let (month, day) = (two(0)?, two(2)?);
    let of_day = (two(4)? * 60 + two(6)?) * 60 + two(8)?;
    rest.ends_with('Z').then_some(days(year, month, day)? * 86_400 + of_day)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let date = time::Date::from_calendar_date(
        i32::try_from(year).ok()?,
        time::Month::try_from(u8::try_from(month).ok()?).ok()?,
        u8::try_from(day).ok()?,
    );
    Some(
        i64::from(date.ok()?.to_julian_day()) - i64::from(time::Date::from_ordinal_date(1970, 1).ok()?.to_julian_day()),
    )
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType, date_time_ymd};

    use super::*;

    fn made(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn names_and_end_are_read() {
        let made = made(&["Example.com", "*.example.com"], |params| {
            params.not_after = date_time_ymd(2031, 2, 3);
            params.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
        });
        let facts = facts(&made);
        assert_eq!(facts.names, ["example.com", "*.example.com"]);
        assert_eq!(facts.not_after, Some(1_927_843_200));
    }

    #[test]
    fn a_time_is_told_in_two_ways() {
        for (year, seconds) in [(2049, 2_493_072_000), (2050, 2_524_608_000), (1999, 915_148_800)] {
            let made = made(&[], |params| params.not_after = date_time_ymd(year, 1, 1));
            assert_eq!(facts(&made), Facts { names: Vec::new(), not_after: Some(seconds) }, "{year}");
        }
    }

    #[test]
    fn what_is_no_certificate_says_nothing() {
        let whole = made(&["example.com"], |_| ());
        for end in 0..whole.len() {
            // Shorter by the signature, it would still say all that is asked.
            let _ = facts(&whole[..end]);
        }
        for bytes in [&b""[..], b"\x30", b"\x30\x84\xff\xff\xff\xff", b"\x30\x85\x01\x01\x01\x01\x01", b"text"] {
            assert_eq!(facts(bytes), Facts::default());
        }
    }
}
