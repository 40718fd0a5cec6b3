//! Texts of a peer as a log, a terminal or a report may show them.

use std::fmt::{self, Write as _};

/// A text of which a peer may have made a part: on one line, cut after 300 characters, with control
/// characters and marks of direction escaped.
///
/// Whatever stands in it can neither steer a terminal, nor begin a line of its own, nor fill a disk.
#[derive(Clone, Copy)]
pub struct Printable<T> {
    text: T,
    max: usize,
    keeps_lines: bool,
}

impl<T: fmt::Display> Printable<T> {
    /// Takes any text.
    pub const fn new(text: T) -> Printable<T> {
        Printable {
            text,
            max: 300,
            keeps_lines: false,
        }
    }

    /// Cuts it after so many characters.
    #[must_use]
    pub const fn up_to(mut self, max: usize) -> Self {
        self.max = max;
        self
    }

    /// Leaves the ends of lines as they are.
    #[must_use]
    pub const fn with_lines(mut self) -> Self {
        self.keeps_lines = true;
        self
    }
}

impl<T: fmt::Display> fmt::Display for Printable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut filter = Filter {
            out: f,
            left: self.max,
            keeps_lines: self.keeps_lines,
            is_cut: false,
        };
        // The end of what is shown ends the work for a long text, and is no failure.
        match write!(filter, "{}", self.text) {
            Err(_) if filter.is_cut => filter.out.write_char('…'),
            result => result,
        }
    }
}

impl<T: fmt::Display> fmt::Debug for Printable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

struct Filter<'a, 'b> {
    out: &'a mut fmt::Formatter<'b>,
    left: usize,
    keeps_lines: bool,
    is_cut: bool,
}

impl fmt::Write for Filter<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if self.left == 0 {
                self.is_cut = true;
                return Err(fmt::Error);
            }
            self.left -= 1;
            match is_unprintable(c) && !(self.keeps_lines && c == '\n') {
                true => match c {
                    '\n' | '\r' | '\t' => write!(self.out, "{}", c.escape_default())?,
                    c => write!(self.out, "{}", c.escape_unicode())?,
                },
                false => self.out.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// Says whether a character is a control character, ends a line, or changes the direction of the text.
pub fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{061c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
                | '\u{feff}'
        )
}

/// A text of JSON in which nothing is unprintable but the ends of its lines: what stands in its strings is
/// written as `\u202e`, say, and means the same.
#[must_use]
pub fn printable_json(json: String) -> String {
    let is_raw = |c: char| c != '\n' && is_unprintable(c);
    if !json.contains(is_raw) {
        return json;
    }
    let mut out = String::with_capacity(json.len() + 64);
    for c in json.chars() {
        match is_raw(c) {
            // None of them is beyond 16 bits.
            true => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_that_can_be_shown_means_the_same() {
        let all: String = (0..=0x1_ffff).filter_map(char::from_u32).collect();
        let json = serde_json::to_string_pretty(&[&all, "plain"]).unwrap();
        let shown = printable_json(json);
        assert!(!shown.replace('\n', "").contains(is_unprintable));
        let read: Vec<String> = serde_json::from_str(&shown).unwrap();
        assert_eq!(read, [&all, "plain"]);
        assert_eq!(printable_json("{}\n".to_owned()), "{}\n");
    }

    #[test]
    fn nothing_unprintable_passes_wherever_it_stands() {
        for c in (0..=0x1_ffff).filter_map(char::from_u32) {
            for text in [
                format!("{c}"),
                format!("a{c}"),
                format!("{c}b"),
                format!("a{c}{c}b"),
            ] {
                let shown = Printable::new(&text).to_string();
                assert!(!shown.contains(is_unprintable), "{c:?}");
                assert_eq!(shown == text, !is_unprintable(c), "{c:?}");
                let lines = Printable::new(&text).with_lines().to_string();
                assert!(!lines.contains(|c| c != '\n' && is_unprintable(c)), "{c:?}");
                assert_eq!(format!("{:?}", Printable::new(&text)), shown);
            }
        }
    }

    #[test]
    fn a_text_is_cut_only_beyond_its_length() {
        for max in [0, 1, 2, 300] {
            for length in [0, 1, 2, 3, 299, 300, 301, 1_000_000] {
                let shown = Printable::new("é".repeat(length)).up_to(max).to_string();
                assert_eq!(shown.chars().count(), length.min(max + 1));
                assert_eq!(shown.ends_with('…'), length > max);
            }
        }
        assert_eq!(
            Printable::new("\r\n\t\0\u{202e}").to_string(),
            r"\r\n\t\u{0}\u{202e}"
        );
    }
}
