//! From arguments to values: a tuple takes several, `()` none, anything else the first.

use std::borrow::Cow;

use bytes::Bytes;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};

use socketio_proto::socket::{SplitArgs, readable, split_args};

use super::{Args, DecodeError, HANDED, TOKEN, Value, is_tuple};

type JsonError = serde_json::Error;

/// Decodes arguments: valid JSON values, separated by commas, and the attachments they refer to.
#[inline]
pub(crate) fn decode<T: DeserializeOwned>(
    args: &str,
    attachments: &[Bytes],
) -> Result<T, DecodeError> {
    let all = All {
        args,
        attachments,
        is_tuple: is_tuple::<T>(),
    };
    T::deserialize(all).or_else(|error| again(args, attachments, &error))
}

/// Decodes the `auth` of a client that sends none: `{}`, as in JavaScript, or nothing for who takes that.
pub(crate) fn decode_no_auth<T: DeserializeOwned>() -> Result<T, DecodeError> {
    T::deserialize(NoAuth).map_err(|error| DecodeError {
        message: format!("there is none: {error}"),
    })
}

struct NoAuth;

impl<'de> Deserializer<'de> for NoAuth {
    type Error = JsonError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        serde_json::Deserializer::from_str("{}").deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        visitor.visit_none()
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        if name == TOKEN {
            HANDED.set(Some(Args::default()));
            return visitor.visit_unit();
        }
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// Strings in Rust have no half surrogate pairs, of which serde_json complains.
#[cold]
fn again<T: DeserializeOwned>(
    args: &str,
    attachments: &[Bytes],
    error: &JsonError,
) -> Result<T, DecodeError> {
    let decoded = match readable(args) {
        Cow::Borrowed(_) => Err(error.to_string()),
        Cow::Owned(args) => T::deserialize(All {
            args: &args,
            attachments,
            is_tuple: is_tuple::<T>(),
        })
        .map_err(|error| error.to_string()),
    };
    decoded.map_err(|message| DecodeError { message })
}

/// All arguments.
struct All<'de> {
    args: &'de str,
    attachments: &'de [Bytes],
    /// Whether several are wanted: serde asks for an array as it does for a tuple.
    is_tuple: bool,
}

impl<'de> All<'de> {
    /// The first argument.
    #[inline]
    fn first(self) -> One<'de> {
        match self.args {
            "" => One::Missing {
                index: 0,
                expected: 1,
            },
            // Further arguments may follow: they are not read.
            args if self.attachments.is_empty() => One::Json(args),
            args => One::Binary {
                text: split_args(args).next().unwrap_or_default(),
                attachments: self.attachments,
            },
        }
    }
}

macro_rules! by_first {
    ($($method:ident($($name:ident: $type:ty),*))+) => {
        $(#[inline]
        fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, JsonError> {
            self.first().$method($($name,)* visitor)
        })+
    };
}

impl<'de> Deserializer<'de> for All<'de> {
    type Error = JsonError;

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        if !self.is_tuple {
            return self.first().deserialize_tuple(len, visitor);
        }
        let All {
            args, attachments, ..
        } = self;
        visitor.visit_seq(Elements {
            split: split_args(args),
            attachments,
            index: 0,
            len,
        })
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        if name == TOKEN {
            HANDED.set(Some(Args::new(self.args, self.attachments.to_vec())));
            return visitor.visit_unit();
        }
        visitor.visit_newtype_struct(self)
    }

    by_first! {
        deserialize_any() deserialize_bool() deserialize_i8() deserialize_i16() deserialize_i32()
        deserialize_i64() deserialize_i128() deserialize_u8() deserialize_u16() deserialize_u32()
        deserialize_u64() deserialize_u128() deserialize_f32() deserialize_f64() deserialize_char()
        deserialize_str() deserialize_string() deserialize_bytes() deserialize_byte_buf()
        deserialize_option() deserialize_unit_struct(name: &'static str) deserialize_seq()
        deserialize_tuple_struct(name: &'static str, len: usize) deserialize_map()
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
        deserialize_identifier() deserialize_ignored_any()
    }
}

/// The arguments one by one.
struct Elements<'de> {
    split: SplitArgs<'de>,
    attachments: &'de [Bytes],
    index: usize,
    len: usize,
}

impl<'de> SeqAccess<'de> for Elements<'de> {
    type Error = JsonError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, JsonError> {
        let is_last = self.index + 1 == self.len;
        let rest = self.split.rest();
        let one = match self.split.next() {
            first if is_last => One::Last {
                rest,
                first,
                attachments: self.attachments,
                index: self.index,
                expected: self.len,
            },
            None => One::Missing {
                index: self.index,
                expected: self.len,
            },
            Some(text) if self.attachments.is_empty() => One::Json(text),
            Some(text) => One::Binary {
                text,
                attachments: self.attachments,
            },
        };
        let is_missing = matches!(one, One::Missing { .. } | One::Last { first: None, .. });
        self.index += 1;
        match seed.deserialize(one) {
            Ok(value) => Ok(Some(value)),
            Err(error) if is_missing => Err(error),
            Err(error) => Err(JsonError::custom(format_args!(
                "argument {}: {error}",
                self.index
            ))),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.len.saturating_sub(self.index))
    }
}

/// One argument.
enum One<'de> {
    /// JSON, possibly with more behind it.
    Json(&'de str),
    /// JSON with attachments.
    Binary {
        text: &'de str,
        attachments: &'de [Bytes],
    },
    /// The last one that is wanted. [`Args`] takes all that are left.
    Last {
        rest: &'de str,
        first: Option<&'de str>,
        attachments: &'de [Bytes],
        index: usize,
        expected: usize,
    },
    /// There are fewer arguments than wanted.
    Missing { index: usize, expected: usize },
}

impl<'de> One<'de> {
    fn plain(self) -> One<'de> {
        match self {
            One::Last {
                first: Some(text),
                attachments: [],
                ..
            } => One::Json(text),
            One::Last {
                first: Some(text),
                attachments,
                ..
            } => One::Binary { text, attachments },
            One::Last {
                first: None,
                index,
                expected,
                ..
            } => One::Missing { index, expected },
            other => other,
        }
    }
}

macro_rules! by_kind {
    ($($method:ident($($name:ident: $type:ty),*))+) => {
        $(#[inline]
        fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, JsonError> {
            match self.plain() {
                One::Json(text) => {
                    serde_json::Deserializer::from_str(text).$method($($name,)* visitor)
                }
                One::Binary { text, attachments } => {
                    binary(text, attachments)?.$method($($name,)* visitor)
                }
                One::Missing { index, expected } => Err(missing(index, expected)),
                One::Last { .. } => Err(missing(0, 1)),
            }
        })+
    };
}

impl<'de> Deserializer<'de> for One<'de> {
    type Error = JsonError;

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        match self {
            One::Last {
                rest, attachments, ..
            } if name == TOKEN => {
                HANDED.set(Some(Args::new(rest, attachments.to_vec())));
                visitor.visit_unit()
            }
            one => match one.plain() {
                One::Json(text) => serde_json::Deserializer::from_str(text)
                    .deserialize_newtype_struct(name, visitor),
                One::Binary { text, attachments } => {
                    binary(text, attachments)?.deserialize_newtype_struct(name, visitor)
                }
                One::Missing { index, expected } => Err(missing(index, expected)),
                One::Last { .. } => Err(missing(0, 1)),
            },
        }
    }

    /// What takes any value takes none as well: it is JavaScript's `undefined`.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self.plain() {
            One::Json(text) => serde_json::Deserializer::from_str(text).deserialize_any(visitor),
            One::Binary { text, attachments } => {
                binary(text, attachments)?.deserialize_any(visitor)
            }
            One::Missing { .. } | One::Last { .. } => visitor.visit_unit(),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self.plain() {
            One::Json(text) => {
                serde_json::Deserializer::from_str(text).deserialize_ignored_any(visitor)
            }
            One::Binary { .. } | One::Missing { .. } | One::Last { .. } => visitor.visit_unit(),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self.plain() {
            One::Missing { .. } | One::Last { .. } => visitor.visit_none(),
            One::Json(text) => serde_json::Deserializer::from_str(text).deserialize_option(visitor),
            One::Binary { text, attachments } => {
                binary(text, attachments)?.deserialize_option(visitor)
            }
        }
    }

    by_kind! {
        deserialize_bool() deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64()
        deserialize_i128() deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64()
        deserialize_u128() deserialize_f32() deserialize_f64() deserialize_char() deserialize_str()
        deserialize_string() deserialize_bytes() deserialize_byte_buf() deserialize_unit()
        deserialize_unit_struct(name: &'static str) deserialize_seq()
        deserialize_tuple(len: usize) deserialize_tuple_struct(name: &'static str, len: usize)
        deserialize_map() deserialize_struct(name: &'static str, fields: &'static [&'static str])
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
        deserialize_identifier()
    }
}

fn binary(text: &str, attachments: &[Bytes]) -> Result<Value, JsonError> {
    Value::parse(text, attachments).map_err(JsonError::custom)
}

#[cold]
fn missing(index: usize, expected: usize) -> JsonError {
    match (index, expected) {
        (0, 1) => JsonError::custom("expected an argument, got none"),
        _ => JsonError::custom(format_args!("expected {expected} arguments, got {index}")),
    }
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde::{Deserialize, Serialize};

    use super::super::encode;
    use super::*;

    fn json<T: DeserializeOwned>(args: &str) -> Result<T, String> {
        decode(args, &[]).map_err(|error| error.to_string())
    }

    #[derive(Debug, Deserialize, PartialEq, Serialize)]
    struct Image {
        name: String,
        data: Bytes,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(transparent)]
    struct Transparent((u8, u8));

    #[derive(Debug, Deserialize, PartialEq, Serialize)]
    enum Choice {
        Nothing,
        One(Bytes),
        Named { data: Bytes },
    }

    #[test]
    fn a_tuple_takes_several_arguments_and_all_else_the_first() {
        assert_eq!(json(r#""a",1"#), Ok(("a".to_owned(), 1)));
        assert_eq!(json(r#""a",1,true"#), Ok("a".to_owned()));
        assert_eq!(json(r#" "a" , 1 "#), Ok(("a".to_owned(), 1)));
        assert_eq!(json("[1,2],3"), Ok(vec![1, 2]));
        assert_eq!(json("[1,2],3"), Ok(((1, 2), 3)));
        assert_eq!(json("[1,2],3"), Ok([1, 2]));
        assert_eq!(json("[1,2],3"), Ok(([1, 2], 3)));
        assert_eq!(json("[1,2],3"), Ok(Transparent((1, 2))));
        assert_eq!(json("1,2"), Ok(()));
        assert_eq!(json(""), Ok(()));
        assert_eq!(json::<(u8,)>("1,2"), Ok((1,)));
        assert_eq!(json("7"), Ok(Some(7)));
        assert_eq!(json("null"), Ok(None::<u8>));
    }

    #[test]
    fn missing_arguments_are_none_or_an_error() {
        assert_eq!(json(""), Ok(None::<u8>));
        assert_eq!(json("1"), Ok((1, None::<u8>)));
        assert_eq!(
            json::<u8>(""),
            Err("expected an argument, got none".to_owned())
        );
        assert_eq!(
            json::<(u8, u8, u8)>("1,2"),
            Err("expected 3 arguments, got 2".to_owned())
        );
    }

    #[test]
    fn an_error_says_which_argument_is_wrong() {
        let error = json::<(u8, String)>("1,2").expect_err("no string");
        assert!(error.starts_with("argument 2: invalid type: integer `2`, expected a string"));
    }

    #[test]
    fn what_takes_any_value_takes_none_as_null() {
        assert_eq!(json(""), Ok(Value::Null));
        assert_eq!(json(""), Ok(serde_json::Value::Null));
        assert_eq!(json("1"), Ok((1, Value::Null)));
        assert!(json::<serde::de::IgnoredAny>("").is_ok());
        let bytes = [Bytes::from_static(b"x")];
        assert_eq!(decode::<Value>("", &bytes).ok(), Some(Value::Null));
    }

    #[test]
    fn half_a_surrogate_pair_is_decoded_as_a_replacement_character() {
        let args = r#""\ud800",{"\udc00":["\ud83e\udd80"]}"#;
        let object = Value::from(vec![(
            "\u{fffd}".to_owned(),
            Value::from(vec![Value::from("🦀")]),
        )]);
        let expected = ("\u{fffd}".to_owned(), object.clone());
        assert_eq!(json(args), Ok(expected.clone()));
        assert_eq!(decode(args, &[Bytes::new()]).ok(), Some(expected));
        let kept: Args = json(args).expect("arguments");
        assert_eq!(kept.iter().collect::<Vec<_>>().join(","), args);
        assert_eq!(
            kept.to_values().expect("values"),
            [Value::from("\u{fffd}"), object]
        );
        let error = json::<u8>(args).expect_err("no number");
        assert!(
            error.starts_with("invalid type: string \"\u{fffd}\""),
            "{error}"
        );
    }

    // As in JavaScript, where only packets that have attachments are searched for placeholders.
    #[test]
    fn what_looks_like_a_placeholder_in_text_stays_as_it_is() {
        for text in [
            r#"{"_placeholder":true}"#,
            r#"{"_placeholder":true,"num":0}"#,
            r#"[{"a":{"_placeholder":true,"num":"x"}}]"#,
        ] {
            let args: Args = json(text).expect("arguments");
            let values = args.to_values().expect("values");
            assert_eq!(values, [json::<Value>(text).expect("a value")], "{text}");
            let again = Args::from_values(&values).expect("serialisable");
            assert_eq!(again.iter().collect::<Vec<_>>(), [text]);
            assert!(again.attachments().is_empty());
            // In a message of MessagePack it can stand beside bytes.
            let bytes = [Bytes::from_static(b"x")];
            let beside = r#"[{"_placeholder":true,"num":0},{"_placeholder":true}]"#;
            let Value::Array(items) = decode(beside, &bytes).expect("a value") else {
                panic!("no array")
            };
            assert_eq!(items[0], Value::Binary(bytes[0].clone()));
            assert_eq!(items[1].get("_placeholder"), Some(&Value::Bool(true)));
        }
    }

    #[test]
    fn attachments_come_back_wherever_they_stand() {
        let (one, two) = (Bytes::from_static(b"one"), Bytes::from_static(b"two"));
        let value = (
            Image {
                name: "x".to_owned(),
                data: one.clone(),
            },
            vec![Some(two.clone()), None],
            Choice::One(one.clone()),
            Choice::Named { data: two.clone() },
            Choice::Nothing,
            vec![1u8, 2],
        );
        let (mut text, mut attachments) = (Vec::new(), Vec::new());
        encode(&value, &mut text, &mut attachments).expect("serialisable");
        let text = String::from_utf8(text).expect("UTF-8");
        let decoded: (Image, Vec<Option<Bytes>>, Choice, Choice, Choice, Vec<u8>) =
            decode(&text, &attachments).expect("the same");
        assert_eq!(decoded, value);
        let list: Vec<u8> = decode(
            r#"{"_placeholder":true,"num":0}"#,
            std::slice::from_ref(&one),
        )
        .expect("bytes");
        assert_eq!(list, b"one");
        let swapped: Bytes = decode(r#"{"num":0,"_placeholder":true}"#, &[one]).expect("bytes");
        assert_eq!(&swapped[..], b"one");
    }

    #[test]
    fn a_placeholder_without_attachments_is_an_object() {
        let value: Value = json(r#"{"_placeholder":true,"num":0}"#).expect("an object");
        assert_eq!(value.get("num"), Some(&Value::from(0)));
    }

    #[test]
    fn all_arguments_can_be_taken_as_they_are() {
        let attachments = [Bytes::from_static(b"x")];
        let text = r#"1,{"_placeholder":true,"num":0}"#;
        let args: Args = decode(text, &attachments).expect("arguments");
        assert_eq!(
            args.iter().collect::<Vec<_>>(),
            ["1", r#"{"_placeholder":true,"num":0}"#]
        );
        assert_eq!((args.len(), args.attachments()), (2, &attachments[..]));
        let (number, bytes): (u8, Bytes) = args.decode().expect("the same");
        assert_eq!((number, &bytes[..]), (1, &b"x"[..]));
        for (text, expected) in [
            ("1,2,[3]", vec!["2", "[3]"]),
            ("1, [2,3]", vec!["[2,3]"]),
            ("1", vec![]),
        ] {
            let (first, rest): (u8, Args) = json(text).expect("the rest");
            assert_eq!((first, rest.iter().collect::<Vec<_>>()), (1, expected));
        }
        let (first, rest): (u8, Args) = decode(text, &attachments).expect("the rest");
        assert_eq!((first, rest.attachments()), (1, &attachments[..]));
        // Inside of something else they are an array.
        let (nested,): (Vec<Args>,) = json("[[2,3]]").expect("an array of arguments");
        assert_eq!(nested[0].iter().collect::<Vec<_>>(), ["2", "3"]);
    }

    #[test]
    fn random_values_survive_the_way_there_and_back() {
        let mut state = 7_u64;
        let mut random = move |bound: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % bound
        };
        fn value(random: &mut impl FnMut(u64) -> u64, depth: u64) -> Value {
            match random(if depth == 0 { 5 } else { 7 }) {
                0 => Value::Null,
                1 => Value::Bool(random(2) == 0),
                2 => Value::from(random(1_000_000)),
                3 => Value::from(["", "a", "ünï\"\\\n", "_placeholder"][random(4) as usize]),
                4 => Value::Binary(vec![1; random(5) as usize].into()),
                5 => (0..random(4))
                    .map(|_| value(random, depth - 1))
                    .collect::<Vec<_>>()
                    .into(),
                _ => (0..random(4))
                    .map(|i| (format!("k{i}"), value(random, depth - 1)))
                    .collect::<Vec<_>>()
                    .into(),
            }
        }
        for _ in 0..2000 {
            let original = (value(&mut random, 4), value(&mut random, 4));
            let (mut text, mut attachments) = (Vec::new(), Vec::new());
            encode(&original, &mut text, &mut attachments).expect("serialisable");
            let text = String::from_utf8(text).expect("UTF-8");
            let decoded: (Value, Value) = decode(&text, &attachments).expect("the same");
            assert_eq!(decoded, original);
        }
    }
}
