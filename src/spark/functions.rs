//! The functions that mean the same in Spark, and how they are called there.

use regex::Regex;

use super::expression::Printed;
use super::literal::Kind;
use super::{Refusal, refuse};

/// What an argument has to be.
#[derive(Clone, Copy, Debug)]
enum Takes {
    Text,
    Binary,
    Integer,
    Double,
    Time,
    /// A literal text that is not empty.
    NotEmpty,
    /// A literal number that is 0 or more.
    Count,
    /// A literal number that is 1 or more.
    Position,
    /// A literal regular expression of the part that Rust and Java share.
    Pattern,
    /// Such a pattern that matches no empty text: the engines do not agree where one is.
    Consuming,
    /// A literal text without the signs that name groups.
    Replacement,
    /// One of these literal words.
    OneOf(&'static [&'static str]),
}

use Takes::{
    Binary, Consuming, Count, Double, Integer, NotEmpty, OneOf, Pattern, Position, Replacement, Text, Time,
};

/// A function here by DataFusion's name, its arguments, and the call in Spark; `{0}` is the first argument, `{t}` the type.
const SAME: &[(&str, &[Takes], &str)] = &[
    ("upper", &[Text], "upper({0})"),
    ("lower", &[Text], "lower({0})"),
    ("btrim", &[Text], "trim({0})"),
    ("ltrim", &[Text], "ltrim({0})"),
    ("rtrim", &[Text], "rtrim({0})"),
    ("reverse", &[Text], "reverse({0})"),
    ("character_length", &[Text], "CAST(char_length({0}) AS {t})"),
    ("octet_length", &[Text], "octet_length({0})"),
    ("bit_length", &[Text], "bit_length({0})"),
    ("ascii", &[Text], "ascii({0})"),
    ("substr", &[Text, Position], "substring({0}, CAST({1} AS INT))"),
    ("substr", &[Text, Position, Count], "substring({0}, CAST({1} AS INT), CAST({2} AS INT))"),
    ("left", &[Text, Count], "left({0}, CAST({1} AS INT))"),
    ("right", &[Text, Count], "right({0}, CAST({1} AS INT))"),
    ("lpad", &[Text, Count, NotEmpty], "lpad({0}, CAST({1} AS INT), {2})"),
    ("rpad", &[Text, Count, NotEmpty], "rpad({0}, CAST({1} AS INT), {2})"),
    ("lpad", &[Text, Count], "lpad({0}, CAST({1} AS INT))"),
    ("rpad", &[Text, Count], "rpad({0}, CAST({1} AS INT))"),
    ("repeat", &[Text, Count], "repeat({0}, CAST({1} AS INT))"),
    ("replace", &[Text, NotEmpty, Text], "replace({0}, {1}, {2})"),
    ("translate", &[Text, Text, Text], "translate({0}, {1}, {2})"),
    ("starts_with", &[Text, Text], "startswith({0}, {1})"),
    ("ends_with", &[Text, Text], "endswith({0}, {1})"),
    ("contains", &[Text, Text], "contains({0}, {1})"),
    ("strpos", &[Text, Text], "CAST(instr({0}, {1}) AS {t})"),
    ("split_part", &[Text, NotEmpty, Position], "split_part({0}, {1}, CAST({2} AS INT))"),
    ("levenshtein", &[Text, Text], "levenshtein({0}, {1})"),
    ("regexp_like", &[Text, Pattern], "({0} RLIKE {1})"),
    ("regexp_replace", &[Text, Consuming, Replacement, OneOf(&["g"])], "regexp_replace({0}, {1}, {2})"),
    ("md5", &[Text], "md5(CAST({0} AS BINARY))"),
    ("md5", &[Binary], "md5({0})"),
    ("sha224", &[Text], "unhex(sha2(CAST({0} AS BINARY), 224))"),
    ("sha256", &[Text], "unhex(sha2(CAST({0} AS BINARY), 256))"),
    ("sha384", &[Text], "unhex(sha2(CAST({0} AS BINARY), 384))"),
    ("sha512", &[Text], "unhex(sha2(CAST({0} AS BINARY), 512))"),
    ("sha224", &[Binary], "unhex(sha2({0}, 224))"),
    ("sha256", &[Binary], "unhex(sha2({0}, 256))"),
    ("sha384", &[Binary], "unhex(sha2({0}, 384))"),
    ("sha512", &[Binary], "unhex(sha2({0}, 512))"),
    ("encode", &[Binary, OneOf(&["hex"])], "lower(hex({0}))"),
    ("to_hex", &[Integer], "lower(hex({0}))"),
    ("abs", &[Integer], "abs({0})"),
    ("abs", &[Double], "abs({0})"),
    ("sqrt", &[Double], "sqrt({0})"),
    ("isnan", &[Double], "if({0} IS NULL, NULL, isnan({0}))"),
    (
        "date_part",
        &[OneOf(&["year", "quarter", "month", "week", "day", "doy", "hour", "minute"]), Time],
        "CAST(date_part({0}, {1}) AS {t})",
    ),
    (
        "date_trunc",
        &[OneOf(&["year", "quarter", "month", "week", "day", "hour", "minute", "second"]), Time],
        "date_trunc({0}, {1})",
    ),
];

/// Functions with as many arguments as one likes, all of the result's kind.
const SAME_OF_ALL: &[(&str, &str)] = &[
    ("coalesce", "coalesce"),
    ("nvl", "nvl"),
    ("nullif", "nullif"),
    ("greatest", "greatest"),
    ("least", "least"),
];

/// Functions that users look for: what differs, and what to write instead.
const DIFFERENT: &[(&str, &str, &str)] = &[
    (
        "now",
        "is the time of each batch of rows here, of each micro-batch in Spark, and not there under continuous",
        "use the column timestamp",
    ),
    (
        "current_date",
        "is the date of each batch of rows here, of each micro-batch in Spark",
        "use CAST(timestamp AS DATE)",
    ),
    ("current_time", "is not in Spark in this form", "use date_part of the column timestamp"),
    (
        "initcap",
        "starts a word after any character that is no letter or digit here, after a blank in Spark",
        "use upper and lower of substr",
    ),
    ("chr", "takes its argument modulo 256 in Spark", "write the character as a literal"),
    ("round", "rounds the decimal notation in Spark and the binary number here", "cast to BIGINT"),
    ("ceil", "gives a bigint in Spark", "cast to BIGINT"),
    ("floor", "gives a bigint in Spark", "cast to BIGINT"),
    ("trunc", "is a function of dates in Spark", "cast to BIGINT"),
    ("to_char", "takes other formats in Spark", "use date_part"),
    ("to_timestamp", "takes other texts in Spark and has other units", "use the column timestamp"),
    ("to_date", "takes other texts in Spark", "use CAST(… AS DATE)"),
    ("date_bin", "is not in Spark", "use date_trunc"),
    ("regexp_match", "is not in Spark", "use regexp_like, or regexp_replace with the flag 'g'"),
    ("random", "gives other numbers in each engine", "leave it out"),
    ("uuid", "gives other values in each engine", "leave it out"),
    ("decode", "fails here where Spark gives null", "pass the text on as it is"),
];

/// The call in Spark.
pub(super) fn call(name: &str, args: &[Printed], result: Kind) -> Result<String, Refusal> {
    match name {
        "concat" => return concat(args),
        "concat_ws" if args.iter().all(|arg| arg.kind == Kind::Text) => return Ok(plain("concat_ws", args)),
        _ => {}
    }
    if let Some((_, spark)) = SAME_OF_ALL.iter().find(|(ours, _)| *ours == name) {
        return of_all(name, spark, args);
    }
    let rules = SAME.iter().filter(|(ours, takes, _)| *ours == name && takes.len() == args.len());
    let mut refused = None;
    for (_, takes, spark) in rules {
        match takes.iter().zip(args).try_for_each(|(takes, arg)| check(name, *takes, arg)) {
            Ok(()) => return Ok(filled(spark, args, result)),
            Err(refusal) => refused = Some(refusal),
        }
    }
    if let Some(refusal) = refused {
        return Err(refusal);
    }
    if let Some((_, what, way_out)) = DIFFERENT.iter().find(|(ours, ..)| *ours == name) {
        return refuse(format!("{name}() {what}"), *way_out);
    }
    if name.starts_with("json_") {
        return refuse(
            format!("{name}() has no counterpart in Spark that gives the same for all texts"),
            "compare the text with LIKE or a regular expression, or write it out and parse it there",
        );
    }
    let with = if SAME.iter().any(|(ours, ..)| *ours == name) { " with these arguments" } else { "" };
    refuse(
        format!("{name}(){with} is not on the list of functions that were found to be the same in Spark"),
        "see the list in docs/coming-from-spark.md",
    )
}

fn plain(spark: &str, args: &[Printed]) -> String {
    let texts: Vec<_> = args.iter().map(|arg| arg.text.as_str()).collect();
    format!("{spark}({})", texts.join(", "))
}

fn filled(spark: &str, args: &[Printed], result: Kind) -> String {
    let call = spark.replace("{t}", result.name());
    args.iter().enumerate().rev().fold(call, |call, (n, arg)| call.replace(&format!("{{{n}}}"), &arg.text))
}

/// Here a null counts as an empty text, in Spark it makes the whole null.
fn concat(args: &[Printed]) -> Result<String, Refusal> {
    if args.iter().any(|arg| arg.kind != Kind::Text) {
        return refuse("concat() of other things than text", "cast the arguments to STRING");
    }
    let part = |arg: &Printed| {
        if arg.is_nullable { format!("coalesce({}, '')", arg.text) } else { arg.text.clone() }
    };
    Ok(format!("concat({})", args.iter().map(part).collect::<Vec<_>>().join(", ")))
}

fn of_all(name: &str, spark: &str, args: &[Printed]) -> Result<String, Refusal> {
    let only_picks = matches!(name, "coalesce" | "nvl");
    let Some(first) = args.first() else {
        return refuse(format!("{name}() of nothing"), "give it arguments");
    };
    if args.iter().any(|arg| arg.kind != first.kind && arg.kind != Kind::Null) {
        return refuse(format!("{name}() of several types"), "cast them to one");
    }
    if first.kind.is_float() && !only_picks {
        return refuse(
            format!("{name}() of floating-point numbers: -0.0 and 0.0 are equal in Spark and not here"),
            "cast to BIGINT, or use CASE with a comparison",
        );
    }
    Ok(plain(spark, args))
}

fn check(name: &str, takes: Takes, arg: &Printed) -> Result<(), Refusal> {
    let (fits, expected) = match takes {
        Text => (arg.kind == Kind::Text, "text".to_owned()),
        Binary => (arg.kind == Kind::Binary, "binary".to_owned()),
        Integer => (arg.kind.is_integer(), "an integer".to_owned()),
        Double => (arg.kind == Kind::Double, "a double".to_owned()),
        Time => (matches!(arg.kind, Kind::Timestamp | Kind::Date), "a timestamp or date".to_owned()),
        NotEmpty => {
            (arg.text_value().is_some_and(|text| !text.is_empty()), "a literal that is not empty".to_owned())
        }
        Count => (arg.number().is_some_and(is_count), "a literal number from 0".to_owned()),
        Position => {
            (arg.number().is_some_and(|n| n > 0 && is_count(n)), "a literal number from 1".to_owned())
        }
        Pattern => (
            arg.text_value().is_some_and(is_shared_pattern),
            "a literal pattern of letters, digits, blanks, [ ], ( ), |, ^, *, +, ? and escaped punctuation"
                .to_owned(),
        ),
        Consuming => (
            arg.text_value().is_some_and(|pattern| {
                is_shared_pattern(pattern) && Regex::new(pattern).is_ok_and(|regex| !regex.is_match(""))
            }),
            "a literal pattern as regexp_like takes it, which matches no empty text".to_owned(),
        ),
        Replacement => (
            arg.text_value().is_some_and(|text| !text.contains(['$', '\\'])),
            "a literal replacement without $ and \\".to_owned(),
        ),
        OneOf(words) => {
            let fits =
                arg.text_value().is_some_and(|text| words.contains(&text.to_ascii_lowercase().as_str()));
            (fits, format!("one of the literals '{}'", words.join("', '")))
        }
    };
    if fits {
        return Ok(());
    }
    refuse(
        format!("{name}() was found to be the same in Spark only with {expected} where {} stands", arg.text),
        format!("write {expected}"),
    )
}

fn is_count(number: i64) -> bool {
    (0..=i64::from(i32::MAX)).contains(&number)
}

/// Whether Rust's and Java's regular expressions read a pattern the same way. `.`, `$`, `\d` and their like differ at
/// ends of lines and beyond ASCII.
fn is_shared_pattern(pattern: &str) -> bool {
    let mut chars = pattern.chars().peekable();
    let mut in_class = false;
    while let Some(c) = chars.next() {
        let fits = match c {
            '\\' => chars.next().is_some_and(|escaped| escaped.is_ascii_punctuation()),
            '[' if !in_class => {
                in_class = true;
                let _ = chars.next_if_eq(&'^');
                chars.peek().is_some_and(|first| *first != ']')
            }
            ']' if in_class => {
                in_class = false;
                true
            }
            '(' => in_class || chars.peek() != Some(&'?'),
            ')' | '|' | '*' | '+' | '?' => true,
            '^' => !in_class,
            // Two of them are operators on sets in one engine or the other.
            '-' | '~' => chars.peek() != Some(&c),
            c => c.is_ascii_alphanumeric() || " _:,/@=%#\"'!<>;".contains(c),
        };
        if !fits {
            return false;
        }
    }
    !in_class
}

/// Names of the functions that are known to differ.
#[cfg(test)]
pub(super) fn different() -> impl Iterator<Item = &'static str> {
    DIFFERENT.iter().map(|(name, ..)| *name)
}

/// Names of all functions that may be exported.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    SAME.iter()
        .map(|(name, ..)| *name)
        .chain(SAME_OF_ALL.iter().map(|(name, _)| *name))
        .chain(["concat", "concat_ws"])
}
