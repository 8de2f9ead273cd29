//! A query as it is evaluated: what the subset serves, and nothing else. How it is read from text is `read`'s business.

use std::fmt;

use regex::Regex;

use crate::labels::{Labels, NAME};

/// An expression.
#[derive(Debug, Clone)]
pub enum Expr {
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// The newest sample of each series.
    Instant(Selector),
    /// The samples of each series in a range; only as an argument of a function.
    Range(Selector, i64),
    /// An expression evaluated again and again over a range; only as an argument of a function.
    Subquery(Box<Subquery>),
    /// A minus sign.
    Negated(Box<Expr>),
    /// A function.
    Call(Function, Vec<Expr>),
    /// An aggregation over series.
    Aggregate(Box<Aggregate>),
    /// An operator between two.
    Binary(Box<Binary>),
}

/// What kind of value an expression gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A number without labels.
    Scalar,
    /// A text.
    Text,
    /// Series at one time.
    Vector,
    /// Series over a range.
    Matrix,
}

impl Expr {
    /// What kind of value it gives.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Number(_) => Kind::Scalar,
            Self::Text(_) => Kind::Text,
            Self::Instant(_) | Self::Aggregate(_) => Kind::Vector,
            Self::Range(..) | Self::Subquery(_) => Kind::Matrix,
            Self::Negated(inner) => inner.kind(),
            Self::Call(function, _) => function.kind(),
            Self::Binary(binary) => match (binary.left.kind(), binary.right.kind()) {
                (Kind::Scalar, Kind::Scalar) => Kind::Scalar,
                (Kind::Scalar | Kind::Text | Kind::Vector | Kind::Matrix, _) => Kind::Vector,
            },
        }
    }
}

impl Expr {
    /// All selectors in it, from left to right.
    pub fn selectors(&self) -> Vec<&Selector> {
        let (mut found, mut open) = (Vec::new(), vec![self]);
        while let Some(expr) = open.pop() {
            match expr {
                Self::Number(_) | Self::Text(_) => {}
                Self::Instant(selector) | Self::Range(selector, _) => found.push(selector),
                Self::Subquery(subquery) => open.push(&subquery.inner),
                Self::Negated(inner) => open.push(inner),
                Self::Call(_, arguments) => open.extend(arguments.iter().rev()),
                Self::Aggregate(aggregate) => open.push(&aggregate.inner),
                Self::Binary(binary) => open.extend([&binary.right, &binary.left]),
            }
        }
        found
    }

    /// The ranges of samples that it looks at, each with its length in milliseconds, in no particular order.
    pub fn ranges(&self) -> Vec<(&Selector, i64)> {
        let (mut ranges, mut rest) = (Vec::new(), vec![self]);
        while let Some(expr) = rest.pop() {
            match expr {
                Self::Number(_) | Self::Text(_) | Self::Instant(_) => {}
                Self::Range(selector, range) => ranges.push((selector, *range)),
                Self::Subquery(subquery) => rest.push(&subquery.inner),
                Self::Negated(inner) => rest.push(inner),
                Self::Call(_, arguments) => rest.extend(arguments),
                Self::Aggregate(aggregate) => rest.push(&aggregate.inner),
                Self::Binary(binary) => rest.extend([&binary.left, &binary.right]),
            }
        }
        ranges
    }
}

/// Which series, and when.
#[derive(Debug, Clone)]
pub struct Selector {
    /// All have to match.
    pub matchers: Vec<Matcher>,
    /// How far back, in milliseconds.
    pub offset: i64,
    /// A fixed time instead of the evaluation's.
    pub at: Option<At>,
}

/// A fixed time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Milliseconds since 1970.
    Time(i64),
    /// The query's start.
    Start,
    /// The query's end.
    End,
}

/// A condition on a label.
#[derive(Debug, Clone)]
pub struct Matcher {
    /// The label's name.
    pub name: String,
    /// The condition.
    pub test: Test,
}

/// A condition on a label's value; a missing label has the empty value.
#[derive(Debug, Clone)]
pub enum Test {
    /// Equal.
    Equal(String),
    /// Not equal.
    NotEqual(String),
    /// The whole value matches.
    Matches(Regex),
    /// The whole value does not match.
    MatchesNot(Regex),
}

impl Selector {
    /// The metric's name, when exactly one is asked for.
    pub fn name(&self) -> Option<&str> {
        self.matchers.iter().find_map(|matcher| match &matcher.test {
            Test::Equal(name) if matcher.name == NAME => Some(name.as_str()),
            Test::Equal(_) | Test::NotEqual(_) | Test::Matches(_) | Test::MatchesNot(_) => None,
        })
    }
}

impl Matcher {
    /// Whether a value meets it.
    pub fn holds(&self, value: &str) -> bool {
        match &self.test {
            Test::Equal(wanted) => value == wanted,
            Test::NotEqual(unwanted) => value != unwanted,
            Test::Matches(regex) => regex.is_match(value),
            Test::MatchesNot(regex) => !regex.is_match(value),
        }
    }

    /// The selector of several, as PromQL: `{__name__="up",job=~"a|b"}`.
    pub fn selector(matchers: &[Self]) -> String {
        let each: Vec<String> = matchers.iter().map(ToString::to_string).collect();
        format!("{{{}}}", each.join(","))
    }

    /// Whether a series' value of its label meets it; a missing label is empty.
    pub fn selects(&self, labels: &Labels) -> bool {
        self.holds(labels.get(&self.name))
    }
}

impl fmt::Display for Matcher {
    /// As in PromQL. An expression stands there as it was compiled, anchors and all, which means the same.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (operator, value) = match &self.test {
            Test::Equal(value) => ("=", value.as_str()),
            Test::NotEqual(value) => ("!=", value.as_str()),
            Test::Matches(regex) => ("=~", regex.as_str()),
            Test::MatchesNot(regex) => ("!~", regex.as_str()),
        };
        let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        write!(to, "{}{operator}\"{escaped}\"", self.name)
    }
}

/// An expression evaluated again and again.
#[derive(Debug, Clone)]
pub struct Subquery {
    /// What.
    pub inner: Expr,
    /// Over how long, in milliseconds.
    pub range: i64,
    /// How often, in milliseconds; `None` = the evaluation interval.
    pub step: Option<i64>,
    /// How far back, in milliseconds.
    pub offset: i64,
    /// A fixed time instead of the evaluation's.
    pub at: Option<At>,
}

/// Which labels are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grouping {
    /// These (`by`, `on`).
    Only(Vec<String>),
    /// All but these and the metric's name (`without`, `ignoring`).
    AllBut(Vec<String>),
}

/// An aggregation over series.
#[derive(Debug, Clone)]
pub struct Aggregate {
    /// How.
    pub how: Aggregation,
    /// Over what.
    pub inner: Expr,
    /// Into which groups.
    pub grouping: Grouping,
}

/// How series become one.
#[derive(Debug, Clone)]
pub enum Aggregation {
    /// The sum.
    Sum,
    /// The mean.
    Avg,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// How many.
    Count,
    /// One, for each group.
    Group,
    /// The standard deviation of all of them.
    Stddev,
    /// The variance of all of them.
    Stdvar,
    /// The greatest, as they are.
    Topk(Expr),
    /// The least, as they are.
    Bottomk(Expr),
    /// A quantile.
    Quantile(Expr),
    /// How many have each value, which goes into this label.
    CountValues(String),
}

/// An operator between two.
#[derive(Debug, Clone)]
pub struct Binary {
    /// Left of it.
    pub left: Expr,
    /// Right of it.
    pub right: Expr,
    /// Which.
    pub operator: Operator,
    /// How the series of both sides find each other.
    pub matching: Matching,
}

/// How the series of both sides of an operator find each other.
#[derive(Debug, Clone)]
pub struct Matching {
    /// By which labels.
    pub grouping: Grouping,
    /// Whether one side may have several for one of the other.
    pub many: Many,
}

/// Which side may have several series for one of the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Many {
    /// None.
    Neither,
    /// The left one; these labels come from the right one (`group_left`).
    Left(Vec<String>),
    /// The right one; these labels come from the left one (`group_right`).
    Right(Vec<String>),
}

/// An operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// A calculation.
    Arithmetic(Arithmetic),
    /// A comparison: a filter, or with `bool` 0 or 1.
    Compare {
        /// Which.
        test: Comparison,
        /// Whether it gives 0 or 1.
        bool: bool,
    },
    /// Those on the left that have a match on the right.
    And,
    /// Those on the left, and those on the right that have no match on the left.
    Or,
    /// Those on the left that have no match on the right.
    Unless,
}

/// A calculation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
    Atan2,
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

macro_rules! functions {
    ($($(#[$doc:meta])* $name:ident = $text:literal -> $kind:ident),* $(,)?) => {
        /// A function of the subset. Each means what Prometheus' function of that name means.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the names are PromQL's")]
        pub enum Function { $($name),* }

        impl Function {
            /// All of them, by name.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The function of this name, if the subset has it.
            pub fn named(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$name),)* _ => None }
            }

            /// Its name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            /// What kind of value it gives.
            pub fn kind(self) -> Kind {
                match self { $(Self::$name => Kind::$kind),* }
            }
        }
    };
}

functions! {
    Abs = "abs" -> Vector, Absent = "absent" -> Vector, AbsentOverTime = "absent_over_time" -> Vector,
    Acos = "acos" -> Vector, Acosh = "acosh" -> Vector, Asin = "asin" -> Vector, Asinh = "asinh" -> Vector,
    Atan = "atan" -> Vector, Atanh = "atanh" -> Vector, AvgOverTime = "avg_over_time" -> Vector,
    Ceil = "ceil" -> Vector, Changes = "changes" -> Vector, Clamp = "clamp" -> Vector,
    ClampMax = "clamp_max" -> Vector, ClampMin = "clamp_min" -> Vector, Cos = "cos" -> Vector, Cosh = "cosh" -> Vector,
    CountOverTime = "count_over_time" -> Vector, DayOfMonth = "day_of_month" -> Vector,
    DayOfWeek = "day_of_week" -> Vector, DayOfYear = "day_of_year" -> Vector, DaysInMonth = "days_in_month" -> Vector,
    Deg = "deg" -> Vector, Delta = "delta" -> Vector, Deriv = "deriv" -> Vector, Exp = "exp" -> Vector,
    Floor = "floor" -> Vector, HistogramQuantile = "histogram_quantile" -> Vector, Hour = "hour" -> Vector,
    Idelta = "idelta" -> Vector, Increase = "increase" -> Vector, Irate = "irate" -> Vector,
    LabelJoin = "label_join" -> Vector, LabelReplace = "label_replace" -> Vector,
    LastOverTime = "last_over_time" -> Vector, Ln = "ln" -> Vector, Log10 = "log10" -> Vector, Log2 = "log2" -> Vector,
    MaxOverTime = "max_over_time" -> Vector, MinOverTime = "min_over_time" -> Vector, Minute = "minute" -> Vector,
    Month = "month" -> Vector, Pi = "pi" -> Scalar, PredictLinear = "predict_linear" -> Vector,
    PresentOverTime = "present_over_time" -> Vector, QuantileOverTime = "quantile_over_time" -> Vector,
    Rad = "rad" -> Vector, Rate = "rate" -> Vector, Resets = "resets" -> Vector, Round = "round" -> Vector,
    Scalar = "scalar" -> Scalar, Sgn = "sgn" -> Vector, Sin = "sin" -> Vector, Sinh = "sinh" -> Vector,
    Sort = "sort" -> Vector, SortDesc = "sort_desc" -> Vector, Sqrt = "sqrt" -> Vector,
    StddevOverTime = "stddev_over_time" -> Vector, StdvarOverTime = "stdvar_over_time" -> Vector,
    SumOverTime = "sum_over_time" -> Vector, Tan = "tan" -> Vector, Tanh = "tanh" -> Vector, Time = "time" -> Scalar,
    Timestamp = "timestamp" -> Vector, Vector = "vector" -> Vector, Year = "year" -> Vector,
}
