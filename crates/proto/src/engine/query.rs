//! The query of a request's URL.
//!
//! It is read as browsers and the reference read it (`application/x-www-form-urlencoded`): a plus is
//! a space, the first `=` of a pair divides it, malformed escapes stay as they are, and bytes that
//! are not UTF-8 become U+FFFD. Nothing in it can make parsing fail.
//!
//! Spec: WHATWG URL, "application/x-www-form-urlencoded parsing".

use std::borrow::Cow;

/// The pairs of a query, in order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Query<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Query<'a> {
    /// Parses a query, which comes without its question mark.
    pub fn parse(query: &'a str) -> Query<'a> {
        let is_plain = memchr::memchr2(b'%', b'+', query.as_bytes()).is_none();
        let read = |text| match is_plain {
            true => Cow::Borrowed(text),
            false => decode(text),
        };
        let pairs = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (read(name), read(value))
            });
        Query {
            pairs: pairs.collect(),
        }
    }

    /// Returns the value of this name; the last one, if there are several.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs
            .iter()
            .rfind(|(n, _)| n == name)
            .map(|(_, value)| &**value)
    }

    /// Iterates over names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (&**name, &**value))
    }
}

fn decode(text: &str) -> Cow<'_, str> {
    if memchr::memchr2(b'%', b'+', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        bytes.push(match first {
            b'+' => b' ',
            b'%' => match escaped(after) {
                Some(byte) => {
                    rest = &after[2..];
                    byte
                }
                None => b'%',
            },
            other => other,
        });
    }
    let text = String::from_utf8(bytes);
    Cow::Owned(text.unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// Reads the two digits after a percent sign.
fn escaped(rest: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*rest.get(at)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(query: &str) -> Vec<(String, String)> {
        Query::parse(query)
            .iter()
            .map(|(n, v)| (n.to_owned(), v.to_owned()))
            .collect()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn pairs_keep_their_order() {
        let expected = [
            pair("EIO", "4"),
            pair("transport", "polling"),
            pair("t", "abc"),
        ];
        assert_eq!(pairs("EIO=4&transport=polling&t=abc"), expected);
    }

    #[test]
    fn last_of_equal_names_counts() {
        let query = Query::parse("a=1&b=2&a=3");
        assert_eq!(query.get("a"), Some("3"));
        assert_eq!(query.get("b"), Some("2"));
        assert_eq!(query.get("c"), None);
    }

    #[test]
    fn escapes_and_pluses_are_decoded() {
        assert_eq!(
            pairs("a%20b=c+d%26%3D%C3%A9&%e2%82%ac"),
            [pair("a b", "c d&=é"), pair("€", "")]
        );
    }

    #[test]
    fn first_equals_sign_divides() {
        assert_eq!(
            pairs("a=b=c&=x&b="),
            [pair("a", "b=c"), pair("", "x"), pair("b", "")]
        );
    }

    #[test]
    fn malformed_escapes_stay() {
        assert_eq!(pairs("a=%"), [pair("a", "%")]);
        assert_eq!(pairs("a=%4"), [pair("a", "%4")]);
        assert_eq!(pairs("a=%zz%41%4z"), [pair("a", "%zzA%4z")]);
        assert_eq!(pairs("a=%+1%é"), [pair("a", "% 1%é")]);
        assert_eq!(pairs("a=%ff"), [pair("a", "\u{fffd}")]);
    }

    #[test]
    fn empty_pairs_are_skipped() {
        assert_eq!(pairs(""), []);
        assert_eq!(pairs("&&a=1&"), [pair("a", "1")]);
    }

    #[test]
    fn plain_text_is_borrowed() {
        let query = Query::parse("sid=abc");
        assert!(matches!(
            query.pairs[0],
            (Cow::Borrowed("sid"), Cow::Borrowed("abc"))
        ));
    }
}
