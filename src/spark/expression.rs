//! Expressions as Spark's SQL.

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::{Case, InList, Like};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator};

use super::functions::call;
use super::literal::{Kind, literal};
use super::{Refusal, refuse};

type Text = Result<String, Refusal>;

/// An expression that was printed, with what decides whether it means the same in Spark.
#[derive(Debug)]
pub(super) struct Printed {
    pub(super) text: String,
    pub(super) kind: Kind,
    /// The value, of a literal.
    pub(super) value: Option<ScalarValue>,
    pub(super) is_nullable: bool,
}

impl Printed {
    /// The text of a literal that is not null.
    pub(super) fn text_value(&self) -> Option<&str> {
        self.value.as_ref()?.try_as_str()?
    }

    /// The number of an integer literal that is not null.
    pub(super) fn number(&self) -> Option<i64> {
        match self.value.as_ref()?.cast_to(&DataType::Int64) {
            Ok(ScalarValue::Int64(number)) => number,
            _ => None,
        }
    }
}

/// Prints expressions over the columns of one schema.
pub(super) struct Printer<'a> {
    pub(super) schema: &'a DFSchema,
}

impl Printer<'_> {
    /// The expression in Spark's SQL.
    pub(super) fn print(&self, expr: &Expr) -> Result<Printed, Refusal> {
        let value = constant(expr);
        let kind = self.kind(expr)?;
        let text = match &value {
            Some(value) => literal(value)?,
            None => self.text(expr, kind)?,
        };
        let is_nullable = expr.nullable(self.schema).unwrap_or(true);
        Ok(Printed { text, kind, value, is_nullable })
    }

    fn kind(&self, expr: &Expr) -> Result<Kind, Refusal> {
        let Ok(data_type) = expr.get_type(self.schema) else {
            return refuse(format!("{expr} has no type that is known"), "cast it");
        };
        Kind::of(&data_type).map_or_else(
            || {
                refuse(
                    format!("{expr} has the type {data_type}, which was not found to be the same in Spark"),
                    "use text, binary, boolean, a signed integer, double, date or timestamp in microseconds",
                )
            },
            Ok,
        )
    }

    fn text(&self, expr: &Expr, kind: Kind) -> Text {
        let of = |inner: &Expr| self.print(inner).map(|printed| printed.text);
        match expr {
            Expr::Alias(alias) => of(&alias.expr),
            Expr::Column(column) => Ok(identifier(&column.name)),
            Expr::Not(inner) => Ok(format!("(NOT {})", of(inner)?)),
            Expr::IsNull(inner) => Ok(format!("({} IS NULL)", of(inner)?)),
            Expr::IsNotNull(inner) => Ok(format!("({} IS NOT NULL)", of(inner)?)),
            Expr::IsTrue(inner) => Ok(format!("({} IS TRUE)", of(inner)?)),
            Expr::IsNotTrue(inner) => Ok(format!("({} IS NOT TRUE)", of(inner)?)),
            Expr::IsFalse(inner) => Ok(format!("({} IS FALSE)", of(inner)?)),
            Expr::IsNotFalse(inner) => Ok(format!("({} IS NOT FALSE)", of(inner)?)),
            Expr::IsUnknown(inner) => Ok(format!("({} IS NULL)", of(inner)?)),
            Expr::IsNotUnknown(inner) => Ok(format!("({} IS NOT NULL)", of(inner)?)),
            Expr::Negative(inner) => Ok(format!("(- {})", of(inner)?)),
            Expr::BinaryExpr(binary) => self.binary(binary),
            Expr::Like(like) => self.like(like),
            Expr::Between(between) => {
                let (value, low, high) =
                    (self.print(&between.expr)?, self.print(&between.low)?, self.print(&between.high)?);
                comparable("BETWEEN", &[&value, &low])?;
                comparable("BETWEEN", &[&value, &high])?;
                let not = if between.negated { "NOT " } else { "" };
                Ok(format!("({} {not}BETWEEN {} AND {})", value.text, low.text, high.text))
            }
            Expr::InList(list) => self.in_list(list),
            Expr::Case(case) => self.case(case),
            Expr::Cast(cast) => self.cast(&cast.expr, kind),
            Expr::TryCast(cast) => self.try_cast(&cast.expr, kind),
            Expr::ScalarFunction(function) => {
                let args: Vec<_> =
                    function.args.iter().map(|arg| self.print(arg)).collect::<Result<_, _>>()?;
                call(function.func.name(), &args, kind)
            }
            other => refuse(format!("{other} was not found to mean the same in Spark"), "write it otherwise"),
        }
    }

    fn binary(&self, binary: &BinaryExpr) -> Text {
        let (left, right) = (self.print(&binary.left)?, self.print(&binary.right)?);
        let infix = |operator: &str| Ok(format!("({} {operator} {})", left.text, right.text));
        let compared = |operator: &str| {
            comparable(operator, &[&left, &right])?;
            infix(operator)
        };
        let numbers = left.kind == right.kind && (left.kind.is_integer() || left.kind.is_float());
        match binary.op {
            Operator::And => infix("AND"),
            Operator::Or => infix("OR"),
            Operator::Eq => compared("="),
            Operator::NotEq => compared("<>"),
            Operator::Lt => compared("<"),
            Operator::LtEq => compared("<="),
            Operator::Gt => compared(">"),
            Operator::GtEq => compared(">="),
            Operator::IsDistinctFrom => compared("IS DISTINCT FROM"),
            Operator::IsNotDistinctFrom => compared("IS NOT DISTINCT FROM"),
            Operator::Plus if numbers => infix("+"),
            Operator::Minus if numbers => infix("-"),
            Operator::Multiply if numbers => infix("*"),
            Operator::Modulo if numbers => infix("%"),
            Operator::Divide if numbers && left.kind.is_float() => infix("/"),
            // Spark's `/` of integers gives a double, and DIV a bigint.
            Operator::Divide if numbers => {
                Ok(format!("CAST({} DIV {} AS {})", left.text, right.text, left.kind.name()))
            }
            Operator::BitwiseAnd if numbers && left.kind.is_integer() => infix("&"),
            Operator::BitwiseOr if numbers && left.kind.is_integer() => infix("|"),
            Operator::BitwiseXor if numbers && left.kind.is_integer() => infix("^"),
            Operator::StringConcat if left.kind == Kind::Text && right.kind == Kind::Text => infix("||"),
            Operator::RegexMatch => call("regexp_like", &[left, right], Kind::Boolean),
            Operator::RegexNotMatch => {
                call("regexp_like", &[left, right], Kind::Boolean).map(|text| format!("(NOT {text})"))
            }
            operator => refuse(
                format!(
                    "{} {operator} {} was not found to mean the same in Spark for these types",
                    binary.left, binary.right
                ),
                "use comparison, arithmetic of numbers, AND, OR, || of texts, or a function",
            ),
        }
    }

    fn like(&self, like: &Like) -> Text {
        if like.case_insensitive {
            return refuse(
                "ILIKE folds other letters in Spark",
                "write lower(…) LIKE and a pattern in lower case",
            );
        }
        let (value, pattern) = (self.print(&like.expr)?, self.print(&like.pattern)?);
        if like.escape_char.is_some_and(|escape| escape != '\\') || pattern.text_value().is_none() {
            return refuse(
                "LIKE with an escape of its own, or a pattern that is no literal",
                "write LIKE 'pattern'",
            );
        }
        let not = if like.negated { "NOT " } else { "" };
        Ok(format!("({} {not}LIKE {})", value.text, pattern.text))
    }

    fn in_list(&self, list: &InList) -> Text {
        let value = self.print(&list.expr)?;
        let mut texts = Vec::new();
        for item in &list.list {
            let item = self.print(item)?;
            comparable("IN", &[&value, &item])?;
            texts.push(item.text);
        }
        let not = if list.negated { "NOT " } else { "" };
        Ok(format!("({} {not}IN ({}))", value.text, texts.join(", ")))
    }

    fn case(&self, case: &Case) -> Text {
        let mut text = "CASE".to_owned();
        let base = case.expr.as_ref().map(|base| self.print(base)).transpose()?;
        if let Some(base) = &base {
            text += &format!(" {}", base.text);
        }
        for (when, then) in &case.when_then_expr {
            let when = self.print(when)?;
            if let Some(base) = &base {
                comparable("CASE", &[base, &when])?;
            }
            text += &format!(" WHEN {} THEN {}", when.text, self.print(then)?.text);
        }
        if let Some(otherwise) = &case.else_expr {
            text += &format!(" ELSE {}", self.print(otherwise)?.text);
        }
        Ok(text + " END")
    }

    fn cast(&self, inner: &Expr, to: Kind) -> Text {
        let from = self.print(inner)?;
        if from.kind == to {
            return Ok(from.text);
        }
        let is_number = |kind: Kind| kind.is_integer() || kind.is_float();
        let is_same = match (from.kind, to) {
            (Kind::Null, _) | (Kind::Text, Kind::Binary | Kind::Boolean) | (Kind::Binary, Kind::Text) => true,
            (Kind::Boolean | Kind::Date, Kind::Text) | (Kind::Timestamp, Kind::Date) => true,
            (Kind::Text, to) => is_number(to) || to == Kind::Date,
            (from, Kind::Text) => from.is_integer(),
            (Kind::Boolean, to) => to.is_integer(),
            (from, Kind::Boolean) => from.is_integer(),
            (from, to) => is_number(from) && is_number(to),
        };
        if !is_same {
            let what = format!(
                "CAST({inner} AS {}) of {} gives another value in Spark",
                to.name(),
                from.kind.name()
            );
            return refuse(what, cast_way_out(from.kind, to));
        }
        Ok(format!("CAST({} AS {})", from.text, to.name()))
    }

    /// Where one engine takes what the other does not, TRY_CAST gives a value here and NULL there.
    fn try_cast(&self, inner: &Expr, to: Kind) -> Text {
        let from = self.print(inner)?;
        if from.kind == to {
            return Ok(from.text);
        }
        if !(from.kind.is_integer() && to.is_integer()) {
            let what =
                format!("TRY_CAST({inner} AS {}): Spark takes other texts than this engine", to.name());
            return refuse(what, "write CAST, or compare with LIKE or a regular expression before");
        }
        Ok(format!("TRY_CAST({} AS {})", from.text, to.name()))
    }
}

fn cast_way_out(from: Kind, to: Kind) -> &'static str {
    match (from, to) {
        (from, Kind::Text) if from.is_float() => {
            "send the number as it came, as text, or cast it to BIGINT first"
        }
        (Kind::Timestamp, Kind::Text) => "cast it to DATE first, or write its parts with date_part",
        (Kind::Timestamp, _) | (_, Kind::Timestamp) => {
            "compare with TIMESTAMP '…', or use date_part and date_trunc"
        }
        _ => "cast it by way of another type",
    }
}

/// A literal, also behind casts: `TIMESTAMP '…'` is a cast of a text.
fn constant(expr: &Expr) -> Option<ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Some(value.clone()),
        Expr::Alias(alias) => constant(&alias.expr),
        Expr::Cast(cast) => constant(&cast.expr)?.cast_to(cast.field.data_type()).ok(),
        Expr::Negative(inner) => constant(inner)?.arithmetic_negate().ok(),
        _ => None,
    }
}

/// Spark takes 0.0 and -0.0 for equal.
fn comparable(operator: &str, sides: &[&Printed]) -> Result<(), Refusal> {
    let is_zero = |value: &ScalarValue| {
        matches!(value, ScalarValue::Float64(Some(v)) if *v == 0.0)
            || matches!(value, ScalarValue::Float32(Some(v)) if *v == 0.0)
    };
    let is_safe =
        |side: &&Printed| side.value.as_ref().is_some_and(|value| !value.is_null() && !is_zero(value));
    if sides.iter().any(|side| side.kind.is_float()) && !sides.iter().any(is_safe) {
        return refuse(
            format!("{operator} of floating-point numbers: -0.0 and 0.0 are equal in Spark and not here"),
            "compare with a literal other than 0, or cast to BIGINT",
        );
    }
    Ok(())
}

/// A column's name in backticks.
pub(super) fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}
