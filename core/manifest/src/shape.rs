//! The grammar that the field table is written in: what a field is called, which form its value has, its bounds,
//! default and meaning. Readers, "did you mean" and the JSON Schema all come from the one table in [`crate::fields`].

/// A mapping with known fields.
#[derive(Debug)]
pub(crate) struct Object {
    /// Its place, for messages: `rollout.canary`.
    pub(crate) path: &'static str,
    pub(crate) about: &'static str,
    pub(crate) fields: &'static [Field],
    /// Words that people know from elsewhere, with what to do instead.
    pub(crate) elsewhere: &'static [(&'static str, Elsewhere)],
}

/// What becomes of a word that is known, but not here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Elsewhere {
    /// It has another name.
    Use(&'static str),
    /// Shipshape cannot do it yet; what to do until then.
    NotYet(&'static str),
}

/// One field of a mapping.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    pub(crate) about: &'static str,
    /// As it would be written.
    pub(crate) default: Option<&'static str>,
    pub(crate) required: bool,
}

/// The form of a value, with its bounds.
#[derive(Debug)]
pub(crate) enum Shape {
    /// A string.
    Text,
    /// A string, number or boolean, taken as written.
    Written,
    /// A whole number.
    Integer { min: i64, max: i64 },
    /// A number; with `open`, the bounds themselves are excluded.
    Number { min: f64, max: f64, open: bool },
    /// `true` and nothing else.
    True,
    /// `true` or `false`.
    Bool,
    /// `30s`.
    Duration { positive: bool },
    /// `256Mi`, in bytes, from `min`.
    Bytes { min: u64 },
    /// `500m` or `0.5`.
    Cpu,
    /// `5` or `5%`.
    Percent,
    /// `1` or `25%`.
    Amount,
    /// `result < 0.05`.
    Condition,
    /// `/healthz`.
    Path,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A mapping with known fields.
    Object(&'static Object),
    /// A mapping from names of one's own.
    MapOf { key: Key, value: &'static Shape, max: usize },
    /// A list.
    List { item: &'static Shape, max: usize },
    /// A string or a mapping: `run`.
    TextOr(&'static Object),
    /// A scalar, taken as it is written, or a mapping with these fields.
    WrittenOr(&'static Object),
    /// `false` or a mapping: `judge`.
    FalseOr(&'static Object),
    /// `99.9%`, exact.
    Ratio,
    /// `none`, or something else: `objectives`.
    NoneOr(&'static Shape),
    /// A command line or the list of its words.
    Words,
}

/// What the keys of a mapping of one's own may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// The name of an environment variable.
    Variable,
    /// A DNS label.
    Label,
    /// Anything.
    Title,
}

impl Object {
    pub(crate) fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

impl Shape {
    /// What is expected, for messages.
    pub(crate) fn expected(&self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Written => "a string, number or boolean",
            Self::Integer { .. } => "a whole number",
            Self::Number { .. } => "a number",
            Self::True => "`true`",
            Self::Bool => "`true` or `false`",
            Self::Duration { .. } => "a duration such as 30s",
            Self::Bytes { .. } => "a size such as 256Mi",
            Self::Cpu => "a number of cores such as 500m or 2",
            Self::Percent => "a percentage such as 5 or 5%",
            Self::Amount => "a number of replicas or a percentage",
            Self::Condition => "a condition such as `result < 0.05`",
            Self::Path => "a path such as /healthz",
            Self::Choice(_) => "a word",
            Self::Object(_) | Self::MapOf { .. } => "a mapping",
            Self::List { .. } => "a list",
            Self::TextOr(_) | Self::WrittenOr(_) => "a string or a mapping",
            Self::FalseOr(_) => "`false` or a mapping",
            Self::Ratio => "a percentage such as 99.9%",
            Self::NoneOr(_) => "`none` or a mapping",
            Self::Words => "a command line or a list",
        }
    }
}

impl Field {
    pub(crate) const fn new(name: &'static str, shape: Shape, about: &'static str) -> Self {
        Self { name, shape, about, default: None, required: false }
    }

    pub(crate) const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    pub(crate) const fn or(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }
}
