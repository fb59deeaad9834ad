//! Decimals from JSON and to JSON. Arrow's own ways lead through 256-bit numbers and through text that is allocated for
//! each value: they cost more than the rest of a record's JSON (docs/decisions/0030).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Decimal128Builder, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Decimal128Type, DecimalType, FieldRef};
use arrow::error::ArrowError;
use datafusion::arrow::json::writer::{Encoder, EncoderFactory, EncoderOptions, NullableEncoder};

/// What a number of so many digits still fits into.
const PLAIN_DIGITS: u32 = 18;

/// Texts as decimals; what does not fit is null.
pub(super) fn parse(texts: &StringArray, precision: u8, scale: i8) -> Result<ArrayRef, ArrowError> {
    let data_type = DataType::Decimal128(precision, scale);
    let mut decimals = Decimal128Builder::with_capacity(texts.len()).with_data_type(data_type.clone());
    for (row, text) in texts.iter().enumerate() {
        let plain = text.and_then(|text| plain(text.as_bytes(), scale));
        match plain.filter(|value| Decimal128Type::is_valid_decimal_precision(*value, precision)) {
            Some(value) => decimals.append_value(value),
            None if text.is_none() => decimals.append_null(),
            None => {
                // Exponents, more digits than the scale keeps, and what is no number at all.
                let options = CastOptions { safe: true, ..CastOptions::default() };
                let value = cast_with_options(&texts.slice(row, 1), &data_type, &options)?;
                decimals.append_option(value.as_primitive::<Decimal128Type>().iter().next().flatten());
            }
        }
    }
    Ok(Arc::new(decimals.finish()))
}

/// Digits with at most `scale` of them behind a point, as most numbers are written.
fn plain(text: &[u8], scale: i8) -> Option<i128> {
    let (is_negative, digits) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        _ => (false, text),
    };
    let mut value = 0_i64;
    let mut count = 0_u32;
    let mut behind_point = None;
    for byte in digits {
        match byte {
            b'0'..=b'9' => {
                value = value.checked_mul(10)?.checked_add(i64::from(byte - b'0'))?;
                count += 1;
                if let Some(behind) = &mut behind_point {
                    *behind += 1_u32;
                }
            }
            b'.' if behind_point.is_none() && count > 0 => behind_point = Some(0),
            _ => return None,
        }
    }
    let missing = u32::try_from(scale).ok()?.checked_sub(behind_point.unwrap_or_default())?;
    if count == 0 || behind_point == Some(0) || count + missing > PLAIN_DIGITS {
        return None;
    }
    let value = i128::from(value) * i128::from(10_i64.pow(missing));
    Some(if is_negative { -value } else { value })
}

/// For `to_json`: writes decimals, and leaves all else to Arrow.
#[derive(Debug)]
pub(super) struct DecimalEncoders;

impl EncoderFactory for DecimalEncoders {
    fn make_default_encoder<'a>(
        &self,
        _field: &'a FieldRef,
        array: &'a dyn Array,
        _options: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        let Some(decimals) = array.as_primitive_opt::<Decimal128Type>() else {
            return Ok(None);
        };
        let Ok(scale) = usize::try_from(decimals.scale()) else {
            return Ok(None);
        };
        let encoder = DecimalEncoder { decimals, scale };
        Ok(Some(NullableEncoder::new(Box::new(encoder), decimals.nulls().cloned())))
    }
}

struct DecimalEncoder<'a> {
    decimals: &'a Decimal128Array,
    scale: usize,
}

impl Encoder for DecimalEncoder<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        write(self.decimals.value(row), self.scale, out);
    }
}

fn write(value: i128, scale: usize, out: &mut Vec<u8>) {
    /// A sign, 39 digits, a point and a zero before it.
    const LONGEST: usize = 42;
    let mut text = [b'0'; LONGEST];
    let mut at = LONGEST;
    let mut rest = value.unsigned_abs();
    let mut written = 0;
    // The largest scale, 38, and all digits of a number fit.
    while rest > 0 || written <= scale {
        if written == scale && scale > 0 {
            at -= 1;
            text[at] = b'.';
        }
        // Division of 64 bits is one instruction, that of 128 is a call.
        let digit = match u64::try_from(rest) {
            Ok(small) => {
                rest = u128::from(small / 10);
                small % 10
            }
            Err(_) => {
                let digit = rest % 10;
                rest /= 10;
                digit as u64
            }
        };
        at -= 1;
        text[at] = b'0' + digit as u8;
        written += 1;
    }
    if value < 0 {
        at -= 1;
        text[at] = b'-';
    }
    out.extend_from_slice(&text[at..]);
}

#[cfg(test)]
mod tests {
    use arrow::compute::cast;
    use proptest::prelude::*;

    use super::*;

    fn written(value: i128, scale: usize) -> String {
        let mut out = Vec::new();
        write(value, scale, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn decimals_are_written_as_arrow_writes_them() {
        for value in [
            0,
            1,
            -1,
            5,
            10,
            99,
            -100,
            123_456,
            i128::from(u64::MAX),
            10_i128.pow(38) - 1,
            1 - 10_i128.pow(38),
        ] {
            for scale in [0, 1, 2, 6, 37, 38] {
                assert_eq!(
                    written(value, scale),
                    Decimal128Type::format_decimal(value, 38, scale as i8),
                    "{value} {scale}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn a_text_gives_the_decimal_that_arrow_gives(text in r"-?[0-9]{0,20}(\.[0-9]{0,8})?([eE][+-]?[0-9])?|[ +x0-9.-]{0,6}", precision in 1..=38_u8, scale in 0..=8_i8) {
            prop_assume!(scale <= precision as i8);
            let texts = StringArray::from(vec![Some(text.as_str()), None]);
            let ours = parse(&texts, precision, scale).unwrap();
            let data_type = DataType::Decimal128(precision, scale);
            prop_assert_eq!(&ours, &cast(&texts, &data_type).unwrap());
        }

        #[test]
        fn what_is_written_reads_back(value in any::<i64>(), scale in 0..=9_usize) {
            let texts = StringArray::from(vec![written(value.into(), scale)]);
            let read = parse(&texts, 38, scale as i8).unwrap();
            prop_assert_eq!(read.as_primitive::<Decimal128Type>().value(0), i128::from(value));
        }
    }
}
