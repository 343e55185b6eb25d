//! The agreement (RFC 7692, section 7.1): a client offers, a server takes one offer and says with which parameters.
//!
//! An offer that we cannot keep is passed over for the next one; no compression is an agreement too. An answer that
//! does not fit what was offered fails the connection, since from then on either side would read the other's bytes
//! differently.
//!
//! zlib's raw format has no window of 8 bits. As a server we take no offer that binds us to it; as a client that is
//! bound to it we send everything uncompressed, which is always allowed. To read such a stream is no trouble.

/// Window of 32 KiB: what holds when nothing is said.
const BITS_MAX: u8 = 15;
/// Smallest that may be said.
const BITS_MIN: u8 = 8;
/// Smallest that zlib makes.
const BITS_MADE_MIN: u8 = 9;

/// What we agree to, in either role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflateTerms {
    window_bits: u8,
    takeover: bool,
}

/// One direction of an agreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Direction {
    /// 8 to 15.
    pub window_bits: u8,
    /// A message may refer to the ones before it.
    pub takeover: bool,
}

/// What both sides keep to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// What we send.
    pub ours: Direction,
    /// What we receive.
    pub theirs: Direction,
    /// The offer named the server's window, so that the answer must.
    names_server_window: bool,
}

/// The field is not what its grammar asks for (RFC 6455, section 9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

const NAME: &[u8] = b"permessage-deflate";

impl DeflateTerms {
    /// `window_bits` bound the window of either direction: 9 to 15; others are taken for the nearest of these.
    #[must_use]
    pub const fn new(window_bits: u8, takeover: bool) -> Self {
        let window_bits = match window_bits {
            ..BITS_MADE_MIN => BITS_MADE_MIN,
            BITS_MADE_MIN..=BITS_MAX => window_bits,
            _ => BITS_MAX,
        };
        Self { window_bits, takeover }
    }

    /// As a server: the first of a client's offers that can be kept. `offers` is the value of
    /// `Sec-WebSocket-Extensions`.
    pub fn choose(self, offers: &[u8]) -> Result<Option<Agreed>, Malformed> {
        let mut chosen = None;
        let mut rest = offers;
        // To the end in any case: a malformed field is refused whatever stands before.
        while let Some((name, params)) = extension(&mut rest)? {
            if chosen.is_none() && name.eq_ignore_ascii_case(NAME) {
                chosen = params.and_then(|params| self.accept(params));
            }
        }
        Ok(chosen)
    }

    fn accept(self, offer: Params) -> Option<Agreed> {
        let asked = match offer.server_bits {
            None => BITS_MAX,
            Some(Window::Bits(bits)) if bits >= BITS_MADE_MIN => bits,
            Some(_) => return None,
        };
        let takeover = self.takeover && !offer.client_no_takeover;
        let their_bits = match offer.client_bits {
            Some(Window::Bits(bits)) => bits.min(self.window_bits),
            Some(Window::Unsaid) => self.window_bits,
            // It cannot be told, and its window would be kept for as long as the connection lives.
            None if takeover && self.window_bits < BITS_MAX => return None,
            None => BITS_MAX,
        };
        Some(Agreed {
            ours: Direction {
                window_bits: asked.min(self.window_bits),
                takeover: self.takeover && !offer.server_no_takeover,
            },
            theirs: Direction { window_bits: their_bits, takeover },
            names_server_window: offer.server_bits.is_some(),
        })
    }

    /// As a client: the value of `Sec-WebSocket-Extensions` in the request.
    #[must_use]
    pub fn offer(self) -> String {
        let mut offer = String::from("permessage-deflate; client_max_window_bits");
        if !self.takeover {
            offer.push_str("; server_no_context_takeover; client_no_context_takeover");
        }
        if self.window_bits < BITS_MAX {
            offer.push_str("; server_max_window_bits=");
            offer.push_str(&self.window_bits.to_string());
        }
        offer
    }

    /// As a client: what the server's value of `Sec-WebSocket-Extensions` agrees to.
    pub fn check(self, answer: &[u8]) -> Result<Agreed, &'static str> {
        const MALFORMED: &str = "Sec-WebSocket-Extensions is malformed";
        let mut rest = answer;
        let (name, params) = extension(&mut rest).map_err(|_| MALFORMED)?.ok_or(MALFORMED)?;
        if !name.eq_ignore_ascii_case(NAME) {
            return Err("an extension that was not asked for");
        }
        let params = params.ok_or("a parameter of compression that was not asked for")?;
        if extension(&mut rest).map_err(|_| MALFORMED)?.is_some() {
            return Err("more than one extension");
        }
        let their_bits = match params.server_bits {
            None => BITS_MAX,
            Some(Window::Bits(bits)) => bits,
            Some(Window::Unsaid) => return Err("a window without a size"),
        };
        let our_bits = match params.client_bits {
            None => BITS_MAX,
            Some(Window::Bits(bits)) => bits,
            Some(Window::Unsaid) => return Err("a window without a size"),
        };
        if their_bits > self.window_bits {
            return Err("a larger window than was asked for");
        }
        if !self.takeover && !params.server_no_takeover {
            return Err("a context that was not asked for");
        }
        Ok(Agreed {
            ours: Direction {
                window_bits: our_bits.min(self.window_bits),
                takeover: self.takeover && !params.client_no_takeover,
            },
            theirs: Direction { window_bits: their_bits, takeover: !params.server_no_takeover },
            names_server_window: params.server_bits.is_some(),
        })
    }
}

impl Agreed {
    /// As a server: the value of `Sec-WebSocket-Extensions` in the answer.
    #[must_use]
    pub fn answer(&self) -> String {
        let mut answer = String::from("permessage-deflate");
        if !self.ours.takeover {
            answer.push_str("; server_no_context_takeover");
        }
        if !self.theirs.takeover {
            answer.push_str("; client_no_context_takeover");
        }
        if self.names_server_window || self.ours.window_bits < BITS_MAX {
            answer.push_str("; server_max_window_bits=");
            answer.push_str(&self.ours.window_bits.to_string());
        }
        // Smaller only where the offer allowed it to be said.
        if self.theirs.window_bits < BITS_MAX {
            answer.push_str("; client_max_window_bits=");
            answer.push_str(&self.theirs.window_bits.to_string());
        }
        answer
    }

    /// As the other side sees it.
    #[cfg(test)]
    pub(in crate::websocket) fn turned(self) -> Self {
        Self { ours: self.theirs, theirs: self.ours, ..self }
    }
}

/// The parameters that exist, each of which may stand once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Params {
    server_no_takeover: bool,
    client_no_takeover: bool,
    server_bits: Option<Window>,
    client_bits: Option<Window>,
}

/// A window parameter, of which the value may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Window {
    Bits(u8),
    Unsaid,
}

impl Params {
    /// False: none that exists, one with a wrong value, or one that stands twice.
    fn take(&mut self, name: &[u8], value: Option<&[u8]>) -> bool {
        let flag = |flag: &mut bool| value.is_none() && !std::mem::replace(flag, true);
        let bits = |slot: &mut Option<Window>| match value.map(window_bits) {
            Some(None) => false,
            Some(Some(bits)) => slot.replace(Window::Bits(bits)).is_none(),
            None => slot.replace(Window::Unsaid).is_none(),
        };
        match name {
            b"server_no_context_takeover" => flag(&mut self.server_no_takeover),
            b"client_no_context_takeover" => flag(&mut self.client_no_takeover),
            b"server_max_window_bits" => bits(&mut self.server_bits),
            b"client_max_window_bits" => bits(&mut self.client_bits),
            _ => false,
        }
    }
}

/// 8 to 15, without a leading zero.
fn window_bits(value: &[u8]) -> Option<u8> {
    let bits = match value {
        [digit @ b'8'..=b'9'] => digit - b'0',
        [b'1', digit @ b'0'..=b'5'] => 10 + digit - b'0',
        _ => return None,
    };
    debug_assert!((BITS_MIN..=BITS_MAX).contains(&bits), "as the digits say");
    Some(bits)
}

type Extension<'v> = (&'v [u8], Option<Params>);

/// Takes one extension off a list: its name, and its parameters where they are some of ours.
fn extension<'v>(rest: &mut &'v [u8]) -> Result<Option<Extension<'v>>, Malformed> {
    // Empty members of a list are passed over (RFC 9110, section 5.6.1).
    loop {
        *rest = rest.trim_ascii_start();
        match rest.split_first() {
            None => return Ok(None),
            Some((b',', behind)) => *rest = behind,
            Some(_) => break,
        }
    }
    let name = token(rest)?;
    let mut params = Some(Params::default());
    loop {
        match rest.split_first() {
            None => return Ok(Some((name, params))),
            Some((b',', behind)) => {
                *rest = behind;
                return Ok(Some((name, params)));
            }
            Some((b';', behind)) => {
                *rest = behind.trim_ascii_start();
                let param = token(rest)?;
                let value = value(rest)?;
                params = params.and_then(|mut params| params.take(param, value).then_some(params));
            }
            Some(_) => return Err(Malformed),
        }
    }
}

/// Takes a token and the white space behind it.
fn token<'v>(rest: &mut &'v [u8]) -> Result<&'v [u8], Malformed> {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let end = rest.iter().position(|byte| !is_token(byte)).unwrap_or(rest.len());
    let (token, behind) = rest.split_at(end);
    *rest = behind.trim_ascii_start();
    if token.is_empty() { Err(Malformed) } else { Ok(token) }
}

/// Takes a parameter's value: a token, in quotes or not (RFC 6455, section 9.1).
fn value<'v>(rest: &mut &'v [u8]) -> Result<Option<&'v [u8]>, Malformed> {
    let Some((b'=', behind)) = rest.split_first() else { return Ok(None) };
    *rest = behind.trim_ascii_start();
    let Some((b'"', quoted)) = rest.split_first() else { return token(rest).map(Some) };
    *rest = quoted;
    let value = token(rest)?;
    let Some((b'"', behind)) = rest.split_first() else { return Err(Malformed) };
    *rest = behind.trim_ascii_start();
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn direction(window_bits: u8, takeover: bool) -> Direction {
        Direction { window_bits, takeover }
    }

    #[test]
    fn a_server_takes_an_offer_that_it_can_keep() {
        let full = DeflateTerms::new(15, true);
        let small = DeflateTerms::new(11, true);
        let alone = DeflateTerms::new(12, false);
        for (terms, offer, answer) in [
            (full, "permessage-deflate", Some("permessage-deflate")),
            (full, "Permessage-Deflate ; client_max_window_bits", Some("permessage-deflate")),
            (
                full,
                "permessage-deflate; server_max_window_bits=15",
                Some("permessage-deflate; server_max_window_bits=15"),
            ),
            (
                full,
                "permessage-deflate; server_max_window_bits=\"10\"",
                Some("permessage-deflate; server_max_window_bits=10"),
            ),
            (
                full,
                "permessage-deflate; client_max_window_bits=9",
                Some("permessage-deflate; client_max_window_bits=9"),
            ),
            (
                full,
                "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
                Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
            ),
            (
                small,
                "permessage-deflate; client_max_window_bits",
                Some("permessage-deflate; server_max_window_bits=11; client_max_window_bits=11"),
            ),
            (
                small,
                "permessage-deflate; client_max_window_bits=8; server_max_window_bits=9",
                Some("permessage-deflate; server_max_window_bits=9; client_max_window_bits=8"),
            ),
            // A window that would be kept and cannot be bounded.
            (small, "permessage-deflate", None),
            (
                alone,
                "permessage-deflate",
                Some(
                    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12",
                ),
            ),
            // The next offer is taken.
            (
                full,
                "permessage-deflate; server_max_window_bits=8, x-other; a=b, permessage-deflate; client_no_context_takeover",
                Some("permessage-deflate; client_no_context_takeover"),
            ),
            (full, "permessage-deflate; server_max_window_bits", None),
            (full, "permessage-deflate; server_max_window_bits=7", None),
            (full, "permessage-deflate; server_max_window_bits=16", None),
            (full, "permessage-deflate; client_max_window_bits=08", None),
            (full, "permessage-deflate; server_no_context_takeover=1", None),
            (full, "permessage-deflate; client_max_window_bits; client_max_window_bits", None),
            (full, "permessage-deflate; unknown", None),
            (full, "x-webkit-deflate-frame", None),
            (full, ", ,", None),
            (full, "", None),
        ] {
            let agreed = terms.choose(offer.as_bytes()).unwrap();
            assert_eq!(agreed.map(|agreed| agreed.answer()).as_deref(), answer, "{offer}");
        }
    }

    #[test]
    fn a_field_off_its_grammar_is_malformed() {
        let full = DeflateTerms::new(15, true);
        for value in [
            "permessage-deflate;",
            "a;=",
            "=",
            "a=b",
            "a b",
            "a;b=",
            "a;b=\"c",
            "a;b=\"\"",
            "a;;b",
            "permessage-deflate, (",
        ] {
            assert_eq!(full.choose(value.as_bytes()), Err(Malformed), "{value}");
            assert!(full.check(value.as_bytes()).is_err(), "{value}");
        }
    }

    #[test]
    fn a_client_holds_the_server_to_its_offer() {
        let full = DeflateTerms::new(15, true);
        let alone = DeflateTerms::new(10, false);
        assert_eq!(
            alone.offer(),
            "permessage-deflate; client_max_window_bits; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10"
        );
        for (terms, answer, expected) in [
            (full, "permessage-deflate", Ok((direction(15, true), direction(15, true)))),
            (full, "permessage-deflate; server_no_context_takeover", Ok((direction(15, true), direction(15, false)))),
            (full, "permessage-deflate; client_max_window_bits=8", Ok((direction(8, true), direction(15, true)))),
            (
                alone,
                "permessage-deflate; server_no_context_takeover; server_max_window_bits=9",
                Ok((direction(10, false), direction(9, false))),
            ),
            (alone, "permessage-deflate; server_no_context_takeover", Err("a larger window than was asked for")),
            (alone, "permessage-deflate; server_max_window_bits=10", Err("a context that was not asked for")),
            (full, "permessage-deflate; client_max_window_bits", Err("a window without a size")),
            (full, "permessage-deflate; x", Err("a parameter of compression that was not asked for")),
            (full, "permessage-deflate, permessage-deflate", Err("more than one extension")),
            (full, "x-other", Err("an extension that was not asked for")),
        ] {
            let agreed = terms.check(answer.as_bytes()).map(|agreed| (agreed.ours, agreed.theirs));
            assert_eq!(agreed, expected, "{answer}");
        }
    }

    proptest! {
        #[test]
        fn two_of_us_always_agree(ours in (9_u8..16, any::<bool>()), theirs in (9_u8..16, any::<bool>())) {
            let (client, server) = (DeflateTerms::new(ours.0, ours.1), DeflateTerms::new(theirs.0, theirs.1));
            let at_server = server.choose(client.offer().as_bytes()).unwrap().expect("an offer that leaves all open");
            let at_client = client.check(at_server.answer().as_bytes()).unwrap();
            // What is sent never needs more than the other side keeps.
            for (sender, reader) in [(at_server.ours, at_client.theirs), (at_client.ours, at_server.theirs)] {
                prop_assert!(sender.window_bits <= reader.window_bits);
                prop_assert!(!sender.takeover || reader.takeover);
            }
        }

        #[test]
        fn no_bytes_panic(value in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = DeflateTerms::new(9, true).choose(&value);
            let _ = DeflateTerms::new(9, true).check(&value);
        }
    }
}
