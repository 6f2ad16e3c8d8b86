//! Reading the body of `values_image`, straight into bytes. Pure; knows no connection.
//!
//! A 20 MiB image is 28 MB of base64 or 75 MB of array: neither may become a tree of JSON values,
//! so a visitor fills one `Vec<u8>` from either form.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::rules::{MAX_IMAGE_BYTES, Refusal};

/// The three fields, each present.
#[derive(Debug, PartialEq, Eq)]
pub struct ImageRequest {
    /// As sent, unchecked.
    pub range: String,
    /// The decoded bytes.
    pub image: Vec<u8>,
    /// As sent, unchecked.
    pub name: String,
    /// How the image travelled.
    pub encoding: Encoding,
}

/// The two forms of the field `image`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// A base64 string.
    Base64,
    /// An array of numbers.
    Array,
}

/// Reads a body.
///
/// # Errors
/// [`Refusal::Json`] when it is no JSON object; [`Refusal::Range`], [`Refusal::Image`] for a field
/// that is missing or malformed; [`Refusal::TooLarge`] over [`MAX_IMAGE_BYTES`].
pub fn read(body: &[u8]) -> Result<ImageRequest, Refusal> {
    #[derive(Deserialize)]
    struct Fields {
        range: Option<String>,
        image: Option<Image>,
        name: Option<String>,
    }
    let fields: Fields =
        serde_json::from_slice(body).map_err(|error| Refusal::Json(error.to_string()))?;
    let range = fields
        .range
        .ok_or_else(|| Refusal::Range("`range` is missing".into()))?;
    let name = fields
        .name
        .ok_or_else(|| Refusal::Image("`name` is missing".into()))?;
    let Image(decoded) = fields
        .image
        .ok_or_else(|| Refusal::Image("`image` is missing".into()))?;
    let (image, encoding) = decoded?;
    Ok(ImageRequest {
        range,
        image,
        name,
        encoding,
    })
}

/// The field `image`. A wrong one is kept as its refusal, so that it keeps its own code instead of
/// becoming a JSON error.
struct Image(Result<(Vec<u8>, Encoding), Refusal>);

impl<'de> Deserialize<'de> for Image {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Image;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a base64 string or an array of bytes")
            }

            fn visit_str<E>(self, text: &str) -> Result<Image, E> {
                // Told from the length first: no buffer is made for an image that is refused.
                let least = text.len() / 4 * 3;
                if least > MAX_IMAGE_BYTES + 2 {
                    return Ok(Image(Err(too_large(least))));
                }
                let decoded = STANDARD.decode(text).map_err(|error| {
                    Refusal::Image(format!("`image` is no padded standard base64: {error}"))
                });
                Ok(Image(decoded.map(|bytes| (bytes, Encoding::Base64))))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Image, A::Error> {
                let mut bytes = Vec::new();
                let mut wrong = None;
                let mut count = 0usize;
                while let Some(Octet(octet)) = seq.next_element()? {
                    match octet {
                        Some(byte) if bytes.len() <= MAX_IMAGE_BYTES => bytes.push(byte),
                        Some(_) => {}
                        None => wrong = wrong.or(Some(count)),
                    }
                    count += 1;
                }
                Ok(Image(match wrong {
                    Some(index) => Err(Refusal::Image(format!(
                        "element {index} of `image` is no number from 0 to 255"
                    ))),
                    None if count > MAX_IMAGE_BYTES => Err(too_large(count)),
                    None => Ok((bytes, Encoding::Array)),
                }))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Image, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(not_an_image())
            }

            fn visit_bool<E>(self, _: bool) -> Result<Image, E> {
                Ok(not_an_image())
            }

            fn visit_u64<E>(self, _: u64) -> Result<Image, E> {
                Ok(not_an_image())
            }

            fn visit_i64<E>(self, _: i64) -> Result<Image, E> {
                Ok(not_an_image())
            }

            fn visit_f64<E>(self, _: f64) -> Result<Image, E> {
                Ok(not_an_image())
            }
        }

        deserializer.deserialize_any(Either)
    }
}

fn not_an_image() -> Image {
    Image(Err(Refusal::Image(
        "`image` is neither a string nor an array".into(),
    )))
}

fn too_large(bytes: usize) -> Refusal {
    Refusal::TooLarge(format!("the image has {bytes} bytes"))
}

/// One element of the array; `None` when it is anything but a byte.
struct Octet(Option<u8>);

impl<'de> Deserialize<'de> for Octet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;

        impl<'de> Visitor<'de> for Number {
            type Value = Octet;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number from 0 to 255")
            }

            fn visit_u64<E>(self, number: u64) -> Result<Octet, E> {
                Ok(Octet(u8::try_from(number).ok()))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Octet, E> {
                Ok(Octet(None))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Octet, E> {
                Ok(Octet(None))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Octet, E> {
                Ok(Octet(None))
            }

            fn visit_str<E>(self, _: &str) -> Result<Octet, E> {
                Ok(Octet(None))
            }

            fn visit_unit<E>(self) -> Result<Octet, E> {
                Ok(Octet(None))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Octet, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Octet(None))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Octet, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Octet(None))
            }
        }

        deserializer.deserialize_any(Number)
    }
}

#[cfg(test)]
mod tests {
    use super::super::endpoint::Endpoint;
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn code(body: &str) -> i64 {
        read(body.as_bytes())
            .unwrap_err()
            .answer(Endpoint::ValuesImage)
            .1
    }

    #[test]
    fn the_documented_example_is_read() {
        let body = r#"{ "range": "Q7PlXT!H7:H7", "image": [137,80,78,71], "name": "test.png" }"#;
        assert_eq!(
            read(body.as_bytes()),
            Ok(ImageRequest {
                range: "Q7PlXT!H7:H7".into(),
                image: vec![137, 80, 78, 71],
                name: "test.png".into(),
                encoding: Encoding::Array,
            })
        );
    }

    #[rstest]
    #[case::not_json("hello", 9_499)]
    #[case::cut_off(r#"{"range":"a!A1:A1","image":[1,2"#, 9_499)]
    #[case::no_range(r#"{"image":[1],"name":"a.png"}"#, 90_202)]
    #[case::no_name(r#"{"range":"a!A1:A1","image":[1]}"#, 90_204)]
    #[case::no_image(r#"{"range":"a!A1:A1","name":"a.png"}"#, 90_204)]
    #[case::null(r#"{"range":"a!A1:A1","image":null,"name":"a.png"}"#, 90_204)]
    #[case::number(r#"{"range":"a!A1:A1","image":7,"name":"a.png"}"#, 90_204)]
    #[case::object(r#"{"range":"a!A1:A1","image":{"0":1},"name":"a.png"}"#, 90_204)]
    #[case::over_255(r#"{"range":"a!A1:A1","image":[1,256],"name":"a.png"}"#, 90_204)]
    #[case::negative(r#"{"range":"a!A1:A1","image":[-1],"name":"a.png"}"#, 90_204)]
    #[case::fraction(r#"{"range":"a!A1:A1","image":[1.5],"name":"a.png"}"#, 90_204)]
    #[case::nested(r#"{"range":"a!A1:A1","image":[[1]],"name":"a.png"}"#, 90_204)]
    #[case::text(r#"{"range":"a!A1:A1","image":["1"],"name":"a.png"}"#, 90_204)]
    #[case::unpadded(r#"{"range":"a!A1:A1","image":"AQ","name":"a.png"}"#, 90_204)]
    #[case::overpadded(r#"{"range":"a!A1:A1","image":"AQ==AQ==","name":"a.png"}"#, 90_204)]
    #[case::url_safe(r#"{"range":"a!A1:A1","image":"-_-_","name":"a.png"}"#, 90_204)]
    #[case::line_break(r#"{"range":"a!A1:A1","image":"AQID\nAQID","name":"a.png"}"#, 90_204)]
    #[case::data_url(
        r#"{"range":"a!A1:A1","image":"data:image/png;base64,AQID","name":"a.png"}"#,
        90_204
    )]
    fn a_wrong_body_is_refused_with_its_code(#[case] body: &str, #[case] expected: i64) {
        assert_eq!(code(body), expected);
    }

    #[test]
    fn an_image_over_the_limit_is_refused_in_both_encodings() {
        let over = MAX_IMAGE_BYTES + 1;
        let array = format!(
            r#"{{"range":"a!A1:A1","name":"a.png","image":[0{}]}}"#,
            ",0".repeat(over - 1)
        );
        assert_eq!(code(&array), 90_227);
        let text = STANDARD.encode(vec![0; over + 8]);
        let base64 = format!(r#"{{"range":"a!A1:A1","name":"a.png","image":"{text}"}}"#);
        assert_eq!(code(&base64), 90_227);
    }

    proptest! {
        #[test]
        fn both_encodings_carry_the_exact_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let array = serde_json::json!({"range": "a!A1:A1", "name": "a.png", "image": bytes});
            let base64 = serde_json::json!({
                "range": "a!A1:A1", "name": "a.png", "image": STANDARD.encode(&bytes)
            });
            let read_array = read(array.to_string().as_bytes()).unwrap();
            prop_assert_eq!((&read_array.image, read_array.encoding), (&bytes, Encoding::Array));
            let read_base64 = read(base64.to_string().as_bytes()).unwrap();
            prop_assert_eq!((&read_base64.image, read_base64.encoding), (&bytes, Encoding::Base64));
        }
    }
}
