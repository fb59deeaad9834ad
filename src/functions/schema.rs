//! Types in Spark's notation: `a INT, b ARRAY<STRING>, c STRUCT<d: DOUBLE>`.

use std::iter::Peekable;
use std::str::Chars;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, TimeUnit};

/// The type that `text` names: one type, or a list of fields, which is a struct.
///
/// # Errors
/// What was expected, and where it was looked for.
pub(super) fn parse(text: &str) -> Result<DataType, String> {
    let tokens = tokens(text)?;
    let mut as_type = Parser { tokens: &tokens, depth: 0, is_too_deep: false };
    match as_type.data_type() {
        Ok(data_type) if as_type.tokens.is_empty() => return Ok(data_type),
        // Read as fields it would be wrong, too, and for a reason that helps nobody.
        Err(reason) if as_type.is_too_deep => return Err(reason),
        _ => {}
    }
    let mut parser = Parser { tokens: &tokens, depth: 0, is_too_deep: false };
    let fields = parser.fields()?;
    match parser.tokens.first() {
        None => Ok(DataType::Struct(fields)),
        Some(token) => Err(format!("expected ',' and another field, not {}", token.shown())),
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    /// In back quotes: a name, whatever it says.
    Name(String),
    Text,
    Symbol(char),
}

impl Token {
    fn shown(&self) -> String {
        match self {
            Token::Word(word) | Token::Name(word) => format!("'{word}'"),
            Token::Text => "a text".to_owned(),
            Token::Symbol(symbol) => format!("'{symbol}'"),
        }
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(next) = chars.next() {
        match next {
            space if space.is_whitespace() => {}
            '`' => tokens.push(Token::Name(quoted(&mut chars, '`')?)),
            quote @ ('\'' | '"') => {
                quoted(&mut chars, quote)?;
                tokens.push(Token::Text);
            }
            first if first.is_alphanumeric() || first == '_' => {
                let mut word = String::from(first);
                while let Some(more) = chars.next_if(|c| c.is_alphanumeric() || *c == '_') {
                    word.push(more);
                }
                tokens.push(Token::Word(word));
            }
            symbol => tokens.push(Token::Symbol(symbol)),
        }
    }
    Ok(tokens)
}

/// Up to the closing quote, which stands twice where it is meant.
fn quoted(chars: &mut Peekable<Chars<'_>>, quote: char) -> Result<String, String> {
    let mut name = String::new();
    while let Some(next) = chars.next() {
        if next != quote {
            name.push(next);
        } else if chars.next_if_eq(&quote).is_some() {
            name.push(quote);
        } else {
            return Ok(name);
        }
    }
    Err(format!("a closing {quote} is missing"))
}

/// Types within types at most: each is a call on the stack, here and where values are read.
const MAX_DEPTH: usize = 64;

struct Parser<'a> {
    tokens: &'a [Token],
    depth: usize,
    is_too_deep: bool,
}

impl Parser<'_> {
    fn next(&mut self) -> Option<&Token> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    fn skip(&mut self, symbol: char) -> bool {
        let is_next = self.tokens.first() == Some(&Token::Symbol(symbol));
        if is_next {
            self.next();
        }
        is_next
    }

    fn skip_word(&mut self, word: &str) -> bool {
        let is_next =
            matches!(self.tokens.first(), Some(Token::Word(next)) if next.eq_ignore_ascii_case(word));
        if is_next {
            self.next();
        }
        is_next
    }

    fn expect(&mut self, symbol: char) -> Result<(), String> {
        if self.skip(symbol) {
            return Ok(());
        }
        let found = self.tokens.first().map_or_else(|| "the end".to_owned(), Token::shown);
        Err(format!("expected '{symbol}', not {found}"))
    }

    fn fields(&mut self) -> Result<Fields, String> {
        let mut fields = Vec::new();
        loop {
            fields.push(self.field()?);
            if !self.skip(',') {
                return Ok(fields.into());
            }
        }
    }

    /// Every field may be null: whatever the schema says, JSON may lack it.
    fn field(&mut self) -> Result<FieldRef, String> {
        let name = match self.next() {
            Some(Token::Word(name) | Token::Name(name)) => name.clone(),
            Some(token) => return Err(format!("expected the name of a field, not {}", token.shown())),
            None => return Err("expected the name of a field".to_owned()),
        };
        self.skip(':');
        let data_type = self.data_type()?;
        if self.skip_word("NOT") && !self.skip_word("NULL") {
            return Err("expected NULL after NOT".to_owned());
        }
        if self.skip_word("COMMENT") && self.next() != Some(&Token::Text) {
            return Err("expected a text after COMMENT".to_owned());
        }
        Ok(Arc::new(Field::new(name, data_type, true)))
    }

    fn data_type(&mut self) -> Result<DataType, String> {
        if self.depth == MAX_DEPTH {
            self.is_too_deep = true;
            return Err(format!("types nest more than {MAX_DEPTH} deep"));
        }
        self.depth += 1;
        let data_type = self.data_type_within();
        self.depth -= 1;
        data_type
    }

    fn data_type_within(&mut self) -> Result<DataType, String> {
        let name = match self.next() {
            Some(Token::Word(name)) => name.to_ascii_uppercase(),
            Some(token) => return Err(format!("expected a type, not {}", token.shown())),
            None => return Err("expected a type".to_owned()),
        };
        Ok(match name.as_str() {
            "BOOLEAN" => DataType::Boolean,
            "TINYINT" | "BYTE" => DataType::Int8,
            "SMALLINT" | "SHORT" => DataType::Int16,
            "INT" | "INTEGER" => DataType::Int32,
            "BIGINT" | "LONG" => DataType::Int64,
            "FLOAT" | "REAL" => DataType::Float32,
            "DOUBLE" => DataType::Float64,
            "STRING" => DataType::Utf8,
            "VARCHAR" | "CHAR" => {
                self.numbers()?;
                DataType::Utf8
            }
            "DECIMAL" | "DEC" | "NUMERIC" => self.decimal()?,
            "DATE" => DataType::Date32,
            "TIMESTAMP" | "TIMESTAMP_NTZ" | "TIMESTAMP_LTZ" => {
                DataType::Timestamp(TimeUnit::Microsecond, None)
            }
            "ARRAY" => {
                self.expect('<')?;
                let element = self.data_type()?;
                self.expect('>')?;
                DataType::List(Arc::new(Field::new_list_field(element, true)))
            }
            "MAP" => {
                self.expect('<')?;
                let key = self.data_type()?;
                if key != DataType::Utf8 {
                    return Err("the keys of a MAP are STRING in JSON".to_owned());
                }
                self.expect(',')?;
                let value = self.data_type()?;
                self.expect('>')?;
                let entry =
                    Fields::from(vec![Field::new("key", key, false), Field::new("value", value, true)]);
                DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entry), false)), false)
            }
            "STRUCT" => {
                self.expect('<')?;
                let fields = self.fields()?;
                self.expect('>')?;
                DataType::Struct(fields)
            }
            _ => return Err(format!("there is no type '{name}' in JSON")),
        })
    }

    fn decimal(&mut self) -> Result<DataType, String> {
        let (precision, scale) = match self.numbers()?.as_slice() {
            [] => (10, 0),
            [precision] => (*precision, 0),
            [precision, scale, ..] => (*precision, *scale),
        };
        match (u8::try_from(precision), i8::try_from(scale)) {
            (Ok(precision @ 1..=38), Ok(scale)) if scale >= 0 && scale.unsigned_abs() <= precision => {
                Ok(DataType::Decimal128(precision, scale))
            }
            _ => Err(format!(
                "DECIMAL({precision},{scale}) has no meaning; at most 38 digits, of them the scale"
            )),
        }
    }

    /// In parentheses, if there are any.
    fn numbers(&mut self) -> Result<Vec<u32>, String> {
        let mut numbers = Vec::new();
        if !self.skip('(') {
            return Ok(numbers);
        }
        loop {
            match self.next() {
                Some(Token::Word(number)) => {
                    numbers.push(number.parse().map_err(|_| format!("expected a number, not '{number}'"))?);
                }
                _ => return Err("expected a number".to_owned()),
            }
            if !self.skip(',') {
                self.expect(')')?;
                return Ok(numbers);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_in_sparks_notation() {
        for (text, expected) in [
            ("a INT, b STRING", r#"Struct("a": Int32, "b": Utf8)"#),
            ("`a b` bigint NOT NULL COMMENT 'it''s', c: double", r#"Struct("a b": Int64, "c": Float64)"#),
            ("STRUCT<a: INT, b: STRUCT<c: BOOLEAN>>", r#"Struct("a": Int32, "b": Struct("c": Boolean))"#),
            ("ARRAY<ARRAY<INT>>", "List(List(Int32))"),
            (
                "m MAP<STRING, DECIMAL(5,2)>",
                r#"Struct("m": Map("entries": non-null Struct("key": non-null Utf8, "value": Decimal128(5, 2)), unsorted))"#,
            ),
            ("date DATE, array ARRAY<DATE>", r#"Struct("date": Date32, "array": List(Date32))"#),
            ("v VARCHAR(10), d DECIMAL", r#"Struct("v": Utf8, "d": Decimal128(10, 0))"#),
        ] {
            assert_eq!(parse(text).map(|t| t.to_string()).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_schema_without_end_is_refused() {
        let nested = |depth: usize| format!("{}INT{}", "ARRAY<".repeat(depth), ">".repeat(depth));
        assert!(parse(&nested(MAX_DEPTH - 1)).is_ok());
        for schema in [nested(MAX_DEPTH), nested(100_000), format!("a {}", "STRUCT<a: ".repeat(100_000))] {
            let error = parse(&schema).unwrap_err();
            assert!(error.contains("64 deep"), "{error}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, hint) in [
            ("", "the name of a field"),
            ("a", "expected a type"),
            ("a INT b INT", "not 'b'"),
            ("a WORD", "no type 'WORD'"),
            ("a ARRAY<INT", "expected '>', not the end"),
            ("a MAP<INT, INT>", "keys"),
            ("a DECIMAL(50,2)", "DECIMAL(50,2)"),
            ("a DECIMAL(x)", "'x'"),
            ("`a INT", "closing"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(hint), "{text}: {error}");
        }
    }
}
