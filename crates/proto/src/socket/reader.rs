//! JSON read member by member, in one pass: for texts of a known shape, parts of which stay text.

use std::borrow::Cow;

use super::json::{MalformedJson, Scanner, readable};

/// A place in a JSON text.
///
/// Each method takes one value or key; a value that is not of the kind asked for is passed over.
/// The shape that the reader is led through is the caller's, so that values which are kept as text
/// may be nested [`MAX_DEPTH`](super::MAX_DEPTH) deep wherever they stand.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    scanner: Scanner<'a>,
    /// A container was entered, and nothing in it was read.
    is_at_start: bool,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a str) -> Reader<'a> {
        let mut scanner = Scanner::new(text);
        scanner.space();
        Reader {
            scanner,
            is_at_start: false,
        }
    }

    /// Enters an object, whose members [`next_key`](Reader::next_key) gives.
    pub(crate) fn enter_object(&mut self) -> Result<bool, MalformedJson> {
        self.enter(b'{')
    }

    /// Enters an array, whose items follow as long as [`next_item`](Reader::next_item) says so.
    pub(crate) fn enter_array(&mut self) -> Result<bool, MalformedJson> {
        self.enter(b'[')
    }

    /// Enters the next value, or passes over it.
    fn enter(&mut self, bracket: u8) -> Result<bool, MalformedJson> {
        if self.scanner.peek() != Some(bracket) {
            return self.skip().map(|()| false);
        }
        self.scanner.at += 1;
        self.scanner.space();
        self.is_at_start = true;
        Ok(true)
    }

    /// Gives the key of the next member, whose value has to be taken; `None` at the end.
    pub(crate) fn next_key(&mut self) -> Result<Option<Cow<'a, str>>, MalformedJson> {
        if !self.next(b'}')? {
            return Ok(None);
        }
        if self.scanner.peek() != Some(b'"') {
            return Err(self.scanner.malformed());
        }
        let key = self.string()?;
        self.scanner.space();
        self.scanner.expect(b':')?;
        self.scanner.space();
        Ok(Some(key))
    }

    /// Says whether there is another item, which has to be taken.
    pub(crate) fn next_item(&mut self) -> Result<bool, MalformedJson> {
        self.next(b']')
    }

    fn next(&mut self, bracket: u8) -> Result<bool, MalformedJson> {
        self.scanner.space();
        let is_first = std::mem::take(&mut self.is_at_start);
        if self.scanner.peek() == Some(bracket) {
            self.scanner.at += 1;
            return Ok(false);
        }
        if !is_first {
            self.scanner.expect(b',')?;
            self.scanner.space();
        }
        Ok(true)
    }

    /// Checks that the text is a list of values without brackets.
    pub(crate) fn list(&mut self) -> Result<(), MalformedJson> {
        if self.scanner.peek().is_none() {
            return Ok(());
        }
        loop {
            self.scanner.value(1)?;
            self.scanner.space();
            if self.scanner.peek() != Some(b',') {
                return self.end();
            }
            self.scanner.at += 1;
            self.scanner.space();
        }
    }

    /// Takes a value as text.
    pub(crate) fn raw(&mut self) -> Result<Cow<'a, str>, MalformedJson> {
        let start = self.scanner.at;
        self.scanner.has_lone_surrogate = false;
        self.scanner.value(0)?;
        Ok(self.since(start))
    }

    /// Takes a value as text, in which others stand `depth` deep that may be as deep as any.
    pub(crate) fn raw_within(&mut self, depth: usize) -> Result<Cow<'a, str>, MalformedJson> {
        if depth == 0 {
            return self.raw();
        }
        let start = self.scanner.at;
        let mut has_lone_surrogate = false;
        let entered = match self.first() {
            Some(b'[') => self.enter_array()?,
            Some(b'{') => self.enter_object()?,
            _ => return self.raw(),
        };
        debug_assert!(entered, "looked at before");
        let is_object = self.scanner.text.as_bytes()[start] == b'{';
        loop {
            let more = match is_object {
                true => self.next_key()?.is_some(),
                false => self.next_item()?,
            };
            has_lone_surrogate |= self.scanner.has_lone_surrogate;
            if !more {
                break;
            }
            self.raw_within(depth - 1)?;
            has_lone_surrogate |= self.scanner.has_lone_surrogate;
        }
        self.scanner.has_lone_surrogate = has_lone_surrogate;
        Ok(self.since(start))
    }

    /// Where in the text it is.
    pub(super) fn at(&self) -> usize {
        self.scanner.at
    }

    /// The first byte of what comes next.
    pub(crate) fn first(&self) -> Option<u8> {
        self.scanner.peek()
    }

    /// Takes the rest of the array that was entered, as text without the bracket.
    pub(crate) fn rest_of_array(&mut self) -> Result<Cow<'a, str>, MalformedJson> {
        self.scanner.has_lone_surrogate = false;
        let mut range = None;
        while self.next_item()? {
            let start = self.scanner.at;
            self.scanner.value(1)?;
            let (first, _) = range.unwrap_or((start, 0));
            range = Some((first, self.scanner.at));
        }
        let (start, end) = range.unwrap_or_default();
        let text = &self.scanner.text[start..end];
        Ok(match self.scanner.has_lone_surrogate {
            false => Cow::Borrowed(text),
            true => readable(text),
        })
    }

    /// Takes a string.
    pub(crate) fn text(&mut self) -> Result<Option<Cow<'a, str>>, MalformedJson> {
        match self.scanner.peek() {
            Some(b'"') => self.string().map(Some),
            _ => self.skip().map(|()| None),
        }
    }

    /// Takes a string, or a number in its digits.
    pub(crate) fn text_or_number(&mut self) -> Result<Option<Cow<'a, str>>, MalformedJson> {
        match self.scanner.peek() {
            Some(b'-' | b'0'..=b'9') => self.raw().map(Some),
            _ => self.text(),
        }
    }

    /// Takes an integer that is not negative, however it is written.
    pub(crate) fn integer(&mut self) -> Result<Option<u64>, MalformedJson> {
        let text = self.raw()?;
        Ok(text.parse().ok().or_else(|| {
            let value: f64 = text.parse().ok()?;
            let is_exact = value.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&value);
            is_exact.then_some(value as u64)
        }))
    }

    /// Takes a number.
    pub(crate) fn number(&mut self) -> Result<Option<f64>, MalformedJson> {
        Ok(self.raw()?.parse().ok())
    }

    /// Takes a boolean.
    pub(crate) fn boolean(&mut self) -> Result<Option<bool>, MalformedJson> {
        Ok(match &*self.raw()? {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        })
    }

    /// Passes over a value.
    pub(crate) fn skip(&mut self) -> Result<(), MalformedJson> {
        self.scanner.value(0)
    }

    /// Checks that nothing follows.
    pub(crate) fn end(&mut self) -> Result<(), MalformedJson> {
        self.scanner.end()
    }

    fn string(&mut self) -> Result<Cow<'a, str>, MalformedJson> {
        let start = self.scanner.at;
        self.scanner.has_lone_surrogate = false;
        self.scanner.at += 1;
        self.scanner.string()?;
        let inner = &self.scanner.text[start + 1..self.scanner.at - 1];
        if !inner.contains('\\') {
            return Ok(Cow::Borrowed(inner));
        }
        let text = self.since(start);
        serde_json::from_str(&text)
            .map(Cow::Owned)
            .map_err(|_| self.scanner.malformed())
    }

    /// The valid text from a place to this one, readable for every decoder.
    fn since(&self, start: usize) -> Cow<'a, str> {
        let text = &self.scanner.text[start..self.scanner.at];
        match self.scanner.has_lone_surrogate {
            false => Cow::Borrowed(text),
            true => readable(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_member_by_member() {
        let text =
            r#" { "a" : [ 1 , "x\ud800" ] , "\u0062":{} ,"c":"\n", "d":7.0,"e":true,"f":-1} "#;
        let mut reader = Reader::new(text);
        assert_eq!(reader.enter_object(), Ok(true));
        assert_eq!(reader.next_key().unwrap().unwrap(), "a");
        assert_eq!(reader.enter_array(), Ok(true));
        assert_eq!(reader.next_item(), Ok(true));
        assert_eq!(reader.integer(), Ok(Some(1)));
        assert_eq!(reader.rest_of_array().unwrap(), r#""x\ufffd""#);
        assert_eq!(reader.next_key().unwrap().unwrap(), "b");
        assert_eq!(reader.enter_object(), Ok(true));
        assert_eq!(reader.next_key(), Ok(None));
        assert_eq!(reader.next_key().unwrap().unwrap(), "c");
        assert_eq!(reader.text().unwrap().unwrap(), "\n");
        assert_eq!(reader.next_key().unwrap().unwrap(), "d");
        assert_eq!(reader.integer(), Ok(Some(7)));
        assert_eq!(reader.next_key().unwrap().unwrap(), "e");
        assert_eq!(reader.boolean(), Ok(Some(true)));
        assert_eq!(reader.next_key().unwrap().unwrap(), "f");
        assert_eq!(reader.integer(), Ok(None));
        assert_eq!(reader.next_key(), Ok(None));
        assert_eq!(reader.end(), Ok(()));
    }

    #[test]
    fn what_is_not_of_the_kind_is_passed_over() {
        let mut reader = Reader::new(r#"[{"a":1},[2],null,[]]"#);
        assert_eq!(reader.enter_object(), Ok(false));
        assert_eq!(reader.end(), Ok(()));
        let mut reader = Reader::new("[1,]");
        assert_eq!(reader.enter_array(), Ok(true));
        assert_eq!(reader.next_item(), Ok(true));
        assert!(reader.rest_of_array().is_err());
        for text in ["{1:2}", "{\"a\" 1}", "{\"a\"", "{", ""] {
            let mut reader = Reader::new(text);
            assert!(
                reader
                    .enter_object()
                    .and_then(|_| reader.next_key())
                    .is_err()
            );
        }
    }
}
