//! From values to arguments: a tuple is several, `()` is none, anything else is one.
//!
//! serde hands an array on as it does a tuple; which of them a value is only its type tells.

use std::io;

use bytes::Bytes;
use serde::ser::{Serialize, Serializer};
use serde_json::ser::Formatter;

use super::{Args, EncodeError, HANDED, TOKEN, WANTED, is_tuple};

/// Appends the arguments that a value stands for. After an error both lists are as they were.
#[inline]
pub(crate) fn encode<T: Serialize + ?Sized>(
    value: &T,
    out: &mut Vec<u8>,
    attachments: &mut Vec<Bytes>,
) -> Result<(), EncodeError> {
    let (start, kept) = (out.len(), attachments.len());
    let mut kind = Kind::One;
    let placeholders = Placeholders {
        attachments: &mut *attachments,
    };
    let mut json = Json::with_formatter(&mut *out, placeholders);
    let result = value.serialize(TopLevel {
        json: &mut json,
        kind: &mut kind,
        is_tuple: is_tuple::<T>(),
    });
    match (result, kind) {
        (Err(error), _) => {
            out.truncate(start);
            attachments.truncate(kept);
            Err(error.into())
        }
        (Ok(()), Kind::One) => Ok(()),
        (Ok(()), Kind::None) => {
            out.truncate(start);
            // A JSON null serialises as `()` does, but is a value.
            if !is_tuple::<T>() {
                out.extend_from_slice(b"null");
            }
            Ok(())
        }
        (Ok(()), Kind::Several) => {
            // The brackets of the array that a tuple is.
            out.pop();
            out.remove(start);
            Ok(())
        }
        (Ok(()), Kind::Raw(args)) => {
            out.truncate(start);
            append(&args, out, attachments)
        }
    }
}

/// Appends arguments that came as they are.
fn append(args: &Args, out: &mut Vec<u8>, attachments: &mut Vec<Bytes>) -> Result<(), EncodeError> {
    if args.attachments.is_empty() || attachments.is_empty() {
        out.extend_from_slice(&args.text);
        attachments.extend_from_slice(&args.attachments);
        return Ok(());
    }
    // The attachments get other numbers.
    let values = args
        .to_values()
        .map_err(<serde_json::Error as serde::ser::Error>::custom)?;
    for (i, value) in values.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        encode(value, out, attachments)?;
    }
    Ok(())
}

enum Kind {
    None,
    One,
    Several,
    Raw(Args),
}

type Json<'a> = serde_json::Serializer<&'a mut Vec<u8>, Placeholders<'a>>;

/// Writes bytes as placeholders and keeps them as attachments.
struct Placeholders<'a> {
    attachments: &'a mut Vec<Bytes>,
}

impl Formatter for Placeholders<'_> {
    fn write_byte_array<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        value: &[u8],
    ) -> io::Result<()> {
        write!(
            writer,
            r#"{{"_placeholder":true,"num":{}}}"#,
            self.attachments.len()
        )?;
        self.attachments.push(Bytes::copy_from_slice(value));
        Ok(())
    }
}

/// Sees what kind of value stands at the top; all the rest is serde_json's.
struct TopLevel<'s, 'a> {
    json: &'s mut Json<'a>,
    kind: &'s mut Kind,
    is_tuple: bool,
}

type Inner<'s, 'a> = &'s mut Json<'a>;

macro_rules! serialize_by_json {
    ($($method:ident: $type:ty,)+) => {
        $(#[inline]
        fn $method(self, value: $type) -> Result<(), Self::Error> {
            self.json.$method(value)
        })+
    };
}

impl<'s, 'a> Serializer for TopLevel<'s, 'a> {
    type Ok = ();
    type Error = serde_json::Error;
    type SerializeSeq = <Inner<'s, 'a> as Serializer>::SerializeSeq;
    type SerializeTuple = <Inner<'s, 'a> as Serializer>::SerializeTuple;
    type SerializeTupleStruct = <Inner<'s, 'a> as Serializer>::SerializeTupleStruct;
    type SerializeTupleVariant = <Inner<'s, 'a> as Serializer>::SerializeTupleVariant;
    type SerializeMap = <Inner<'s, 'a> as Serializer>::SerializeMap;
    type SerializeStruct = <Inner<'s, 'a> as Serializer>::SerializeStruct;
    type SerializeStructVariant = <Inner<'s, 'a> as Serializer>::SerializeStructVariant;

    fn serialize_unit(self) -> Result<(), Self::Error> {
        *self.kind = Kind::None;
        Ok(())
    }

    #[inline]
    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, Self::Error> {
        if self.is_tuple {
            *self.kind = Kind::Several;
        }
        self.json.serialize_tuple(len)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Self::Error> {
        if name == TOKEN {
            WANTED.set(true);
            let handed = value.serialize(&mut serde_json::Serializer::new(io::sink()));
            WANTED.set(false);
            handed?;
            if let Some(args) = HANDED.take() {
                *self.kind = Kind::Raw(args);
                return Ok(());
            }
        }
        self.json.serialize_newtype_struct(name, value)
    }

    serialize_by_json! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32,
        serialize_i64: i64, serialize_i128: i128, serialize_u8: u8, serialize_u16: u16,
        serialize_u32: u32, serialize_u64: u64, serialize_u128: u128, serialize_f32: f32,
        serialize_f64: f64, serialize_char: char, serialize_str: &str, serialize_bytes: &[u8],
        serialize_unit_struct: &'static str,
    }

    fn serialize_none(self) -> Result<(), Self::Error> {
        self.json.serialize_none()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Self::Error> {
        self.json.serialize_some(value)
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<(), Self::Error> {
        self.json.serialize_unit_variant(name, index, variant)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Self::Error> {
        self.json
            .serialize_newtype_variant(name, index, variant, value)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, Self::Error> {
        self.json.serialize_seq(len)
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleStruct, Self::Error> {
        self.json.serialize_tuple_struct(name, len)
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, Self::Error> {
        self.json.serialize_tuple_variant(name, index, variant, len)
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, Self::Error> {
        self.json.serialize_map(len)
    }

    fn serialize_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStruct, Self::Error> {
        self.json.serialize_struct(name, len)
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, Self::Error> {
        self.json
            .serialize_struct_variant(name, index, variant, len)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Serialize;

    use super::super::{Args, Value};
    use super::*;

    fn text<T: Serialize + ?Sized>(value: &T) -> String {
        let (mut out, mut attachments) = (Vec::new(), Vec::new());
        encode(value, &mut out, &mut attachments).expect("serialisable");
        let attachments: Vec<_> = attachments
            .iter()
            .map(|a| String::from_utf8_lossy(a))
            .collect();
        let out = String::from_utf8(out).expect("UTF-8");
        match attachments.is_empty() {
            true => out,
            false => format!("{out} + {}", attachments.join(" ")),
        }
    }

    #[derive(Serialize)]
    struct Image {
        name: &'static str,
        data: Bytes,
    }

    #[derive(Serialize)]
    struct Wrapper(u8);

    #[derive(Serialize)]
    struct Pair(u8, u8);

    #[derive(Serialize)]
    #[serde(transparent)]
    struct Transparent((u8, u8));

    #[derive(Serialize)]
    struct Nothing;

    #[derive(Serialize)]
    enum Choice {
        Nothing,
        One(Bytes),
    }

    #[test]
    fn a_tuple_is_several_arguments_and_all_else_is_one() {
        assert_eq!(text(&()), "");
        assert_eq!(text(&&()), "");
        assert_eq!(text(&serde_json::Value::Null), "null");
        assert_eq!(text(&crate::Value::Null), "null");
        assert_eq!(text(&1), "1");
        assert_eq!(text("a"), "\"a\"");
        assert_eq!(text(&("a", 1)), "\"a\",1");
        assert_eq!(text(&(vec![1],)), "[1]");
        assert_eq!(text(&[1, 2]), "[1,2]");
        assert_eq!(text(&[(1, 2)]), "[[1,2]]");
        assert_eq!(text(&([1, 2], 3)), "[1,2],3");
        assert_eq!(text(&[0_u8; 0]), "[]");
        assert_eq!(text(&&&("a", 1)), "\"a\",1");
        assert_eq!(text(&&mut ("a", 1)), "\"a\",1");
        assert_eq!(text(&Transparent((1, 2))), "[1,2]");
        assert_eq!(text(&Nothing), "null");
        assert_eq!(text(&Some(())), "null");
        assert_eq!(text(&vec![1, 2]), "[1,2]");
        assert_eq!(text(&(1, (2, 3))), "1,[2,3]");
        assert_eq!(text(&None::<u8>), "null");
        assert_eq!(text(&Some((1, 2))), "[1,2]");
        assert_eq!(text(&f64::NAN), "null");
        assert_eq!(text(&Wrapper(1)), "1");
        assert_eq!(text(&Pair(1, 2)), "[1,2]");
        assert_eq!(text(&BTreeMap::from([("k", 1)])), r#"{"k":1}"#);
        assert_eq!(text(&u64::MAX), "18446744073709551615");
    }

    #[test]
    fn bytes_travel_as_attachments_wherever_they_stand() {
        let data = Bytes::from_static(b"one");
        assert_eq!(text(&data), r#"{"_placeholder":true,"num":0} + one"#);
        let image = Image {
            name: "x",
            data: data.clone(),
        };
        assert_eq!(
            text(&("a", image, vec![Some(Bytes::from_static(b"two"))])),
            r#""a",{"name":"x","data":{"_placeholder":true,"num":0}},[{"_placeholder":true,"num":1}] + one two"#
        );
        assert_eq!(text(&Choice::Nothing), "\"Nothing\"");
        assert_eq!(
            text(&Choice::One(data)),
            r#"{"One":{"_placeholder":true,"num":0}} + one"#
        );
    }

    #[test]
    fn arguments_are_forwarded_as_they_came() {
        let args = Args::new(r#""a", {"b" : 1}"#, vec![]);
        assert_eq!(text(&args), r#""a", {"b" : 1}"#);
        assert_eq!(text(&&args), r#""a", {"b" : 1}"#);
        let binary = Args::new(
            r#"{"_placeholder":true,"num":0}"#,
            vec![Bytes::from_static(b"x")],
        );
        assert_eq!(text(&binary), r#"{"_placeholder":true,"num":0} + x"#);
        assert_eq!(text(&Args::default()), "");
    }

    #[test]
    fn arguments_inside_of_something_else_are_an_array() {
        let binary = Args::new(
            r#"1,{"_placeholder":true,"num":0}"#,
            vec![Bytes::from_static(b"x")],
        );
        assert_eq!(
            text(&(Bytes::from_static(b"y"), binary)),
            r#"{"_placeholder":true,"num":0},[1,{"_placeholder":true,"num":1}] + y x"#
        );
    }

    #[test]
    fn a_failing_value_leaves_nothing_behind() {
        struct Failing;
        impl Serialize for Failing {
            fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("no"))
            }
        }
        let (mut out, mut attachments) = (b"before".to_vec(), vec![Bytes::new()]);
        let error = encode(&(Bytes::new(), Failing), &mut out, &mut attachments);
        assert_eq!(error.expect_err("fails").to_string(), "no");
        assert_eq!((&out[..], attachments.len()), (&b"before"[..], 1));
    }

    #[test]
    fn dynamic_values_are_serialised_in_order() {
        let value = Value::Object(vec![
            ("z".to_owned(), Value::from(1)),
            ("a".to_owned(), Value::Binary(Bytes::from_static(b"x"))),
        ]);
        assert_eq!(
            text(&value),
            r#"{"z":1,"a":{"_placeholder":true,"num":0}} + x"#
        );
    }
}
