//! Values and the arguments of events.
//!
//! On the wire an event's arguments are JSON values, some of which stand for binary attachments. Here
//! they are a text of values separated by commas, and the attachments.

mod decode;
mod encode;
mod value;

use std::cell::{Cell, RefCell};
use std::fmt;

use bytes::Bytes;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Visitor};
use serde::ser::{Serialize, SerializeSeq, Serializer};
use thiserror::Error;

use socketio_proto::Printable;
use socketio_proto::socket::split_args;

pub(crate) use decode::{decode, decode_no_auth};
pub(crate) use encode::encode;
pub use value::Value;

/// Says whether a type is a tuple, or a reference to one: `()` and `(A, B)` are, arrays, lists and structs
/// are not.
///
/// Traits cannot tell (an `impl` for tuples would collide with that for everything that is `Serialize`),
/// and neither can serde. The compiler writes the names of tuples, and of nothing else, with a
/// parenthesis in front; a test would find that changed.
#[inline]
fn is_tuple<T: ?Sized>() -> bool {
    let mut name = std::any::type_name::<T>();
    while let Some(referred) = name.strip_prefix('&') {
        name = referred.strip_prefix("mut ").unwrap_or(referred);
    }
    name.starts_with('(')
}

/// Why arguments cannot be sent.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct EncodeError(#[from] serde_json::Error);

/// Why arguments do not fit the type they are wanted as; printed, it is one line of 300 characters at
/// most, without control characters.
#[derive(Debug, Error)]
#[error("{}", Printable::new(.message))]
pub struct DecodeError {
    message: String,
}

/// All arguments of an event as they came: cheap to keep, to clone and to send on.
///
/// As the argument of a handler it takes everything, as the last of a tuple all that is left; emitted,
/// it gives everything, without decoding in between.
///
/// # Examples
///
/// ```
/// use socketio::{Args, Server, Socket};
///
/// let io = Server::new();
/// io.on("echo", async |socket: Socket, args: Args| {
///     socket.emit("echo", args);
/// });
/// ```
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Args {
    /// Valid JSON values, separated by commas. UTF-8.
    text: Bytes,
    attachments: Vec<Bytes>,
}

impl Args {
    /// Keeps arguments: valid JSON values, separated by commas.
    pub(crate) fn new(text: &str, attachments: Vec<Bytes>) -> Args {
        Args::from_valid(Bytes::copy_from_slice(text.as_bytes()), attachments)
    }

    /// Keeps the same without a copy; it is UTF-8.
    pub(crate) fn from_valid(text: Bytes, attachments: Vec<Bytes>) -> Args {
        Args { text, attachments }
    }

    /// The text, which can be kept without being copied.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.text
    }

    /// Makes arguments of what could be emitted: a tuple is several, `()` none, anything else one.
    ///
    /// # Errors
    ///
    /// When it cannot be serialised.
    pub fn from_value<T: Serialize + ?Sized>(value: &T) -> Result<Args, EncodeError> {
        let (mut text, mut attachments) = (Vec::new(), Vec::new());
        encode(value, &mut text, &mut attachments)?;
        Ok(Args {
            text: text.into(),
            attachments,
        })
    }

    /// Makes arguments of values.
    ///
    /// ```
    /// use socketio::{Args, Value};
    ///
    /// let args = Args::from_values(&[Value::from(1), Value::from("two")])?;
    /// assert_eq!(args.iter().collect::<Vec<_>>(), ["1", "\"two\""]);
    /// # Ok::<_, socketio::EncodeError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When a value cannot be serialised.
    pub fn from_values<T: Serialize>(values: &[T]) -> Result<Args, EncodeError> {
        let (mut text, mut attachments) = (Vec::new(), Vec::new());
        for value in values {
            if !text.is_empty() {
                text.push(b',');
            }
            encode(&(value,), &mut text, &mut attachments)?;
        }
        Ok(Args {
            text: text.into(),
            attachments,
        })
    }

    /// Gives the arguments as values, with the attachments in their places: for those who do not know
    /// how many there are.
    ///
    /// # Errors
    ///
    /// When a value is nested too deeply, or a number is beyond all floats.
    ///
    /// # Examples
    ///
    /// ```
    /// use socketio::{Args, Value};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let values = [Value::from("room 1"), Value::from(7)];
    /// assert_eq!(Args::from_values(&values)?.to_values()?, values);
    /// # Ok(())
    /// # }
    /// ```
    pub fn to_values(&self) -> Result<Vec<Value>, DecodeError> {
        self.iter()
            .map(|text| Value::parse(text, &self.attachments))
            .collect()
    }

    fn text(&self) -> &str {
        // Only valid texts are kept; an empty one is better than a panic.
        std::str::from_utf8(&self.text).unwrap_or_default()
    }

    /// The number of arguments.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Says whether there is no argument.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The arguments as JSON texts; attachments are placeholders in them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        split_args(self.text())
    }

    /// The attachments.
    pub fn attachments(&self) -> &[Bytes] {
        &self.attachments
    }

    /// Decodes the arguments as a handler's argument is decoded.
    ///
    /// # Errors
    ///
    /// When they are not of this type.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        decode(self.text(), &self.attachments)
    }
}

impl fmt::Debug for Args {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Args([{}], {} attachments)",
            self.text(),
            self.attachments.len()
        )
    }
}

/// The name under which serde hands [`Args`] on: who knows it takes them as they are.
const TOKEN: &str = "$socketio::Args";

thread_local! {
    /// Set while somebody who knows the token asks for arguments as they are.
    static WANTED: Cell<bool> = const { Cell::new(false) };
    static HANDED: RefCell<Option<Args>> = const { RefCell::new(None) };
}

impl Serialize for Args {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(TOKEN, &Nested(self))
    }
}

/// Arguments inside of something else: an array.
struct Nested<'a>(&'a Args);

impl Serialize for Nested<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if WANTED.take() {
            HANDED.set(Some(self.0.clone()));
            return serializer.serialize_unit();
        }
        let values: Vec<Value> = self.0.to_values().map_err(serde::ser::Error::custom)?;
        let mut array = serializer.serialize_seq(Some(values.len()))?;
        values
            .iter()
            .try_for_each(|value| array.serialize_element(value))?;
        array.end()
    }
}

impl<'de> Deserialize<'de> for Args {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Args, D::Error> {
        struct ArgsVisitor;
        impl<'de> Visitor<'de> for ArgsVisitor {
            type Value = Args;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("arguments")
            }

            fn visit_unit<E: serde::de::Error>(self) -> Result<Args, E> {
                HANDED.take().ok_or_else(|| E::custom("no arguments"))
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(self, d: D) -> Result<Args, D::Error> {
                let values = Vec::<Value>::deserialize(d)?;
                let (mut text, mut attachments) = (Vec::new(), Vec::new());
                for (i, value) in values.iter().enumerate() {
                    if i > 0 {
                        text.push(b',');
                    }
                    encode(value, &mut text, &mut attachments).map_err(serde::de::Error::custom)?;
                }
                Ok(Args {
                    text: text.into(),
                    attachments,
                })
            }
        }
        deserializer.deserialize_newtype_struct(TOKEN, ArgsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tuples_are_tuples() {
        struct Own;
        type Long = (
            u8,
            u8,
            u8,
            u8,
            u8,
            u8,
            u8,
            u8,
            u8,
            u8,
            u8,
            u8,
            u8,
            u8,
            u8,
            u8,
        );
        for (is, name) in [
            (is_tuple::<()>(), "()"),
            (is_tuple::<(u8,)>(), "(u8,)"),
            (is_tuple::<(Own, &str)>(), "(Own, &str)"),
            (is_tuple::<([u8; 2], (u8, u8))>(), "([u8; 2], (u8, u8))"),
            (is_tuple::<Long>(), "16 of them"),
            (is_tuple::<&(u8, u8)>(), "&(u8, u8)"),
            (is_tuple::<&&mut (u8, u8)>(), "&&mut (u8, u8)"),
        ] {
            assert!(is, "{name}");
        }
        for (is, name) in [
            (is_tuple::<[u8; 2]>(), "[u8; 2]"),
            (is_tuple::<[(u8, u8); 2]>(), "[(u8, u8); 2]"),
            (is_tuple::<&[(u8, u8)]>(), "&[(u8, u8)]"),
            (is_tuple::<Vec<(u8, u8)>>(), "Vec<(u8, u8)>"),
            (is_tuple::<Box<(u8, u8)>>(), "Box<(u8, u8)>"),
            (is_tuple::<Option<()>>(), "Option<()>"),
            (is_tuple::<Own>(), "Own"),
            (is_tuple::<str>(), "str"),
            (is_tuple::<fn() -> (u8, u8)>(), "fn() -> (u8, u8)"),
            (is_tuple::<&dyn Fn(u8)>(), "&dyn Fn(u8)"),
        ] {
            assert!(!is, "{name}");
        }
    }

    #[test]
    fn values_are_an_argument_each_there_and_back() {
        let values = [
            Value::Null,
            Value::Array(vec![
                Value::Binary(Bytes::from_static(b"x")),
                Value::from(1),
            ]),
            Value::Binary(Bytes::from_static(b"y")),
        ];
        let args = Args::from_values(&values).unwrap();
        let texts: Vec<&str> = args.iter().collect();
        assert_eq!(
            texts,
            [
                "null",
                r#"[{"_placeholder":true,"num":0},1]"#,
                r#"{"_placeholder":true,"num":1}"#
            ]
        );
        assert_eq!(args.attachments(), [&b"x"[..], b"y"]);
        assert_eq!(args.to_values().unwrap(), values);
    }
}
