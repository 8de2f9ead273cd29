//! Route templates: a bounded name for an unbounded set of paths.

use crate::path;

/// A path with holes: `/orders/{id}` (one segment, not empty), `/static/{rest...}` (all that follows, even nothing).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Hole,
    Rest,
}

impl Part {
    fn rank(&self) -> u8 {
        match self {
            Self::Literal(_) => 0,
            Self::Hole => 1,
            Self::Rest => 2,
        }
    }
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// Which rule it breaks.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if !text.starts_with('/') {
            return Err("it does not start with '/'");
        }
        let mut parts = Vec::new();
        for segment in path::segments(text) {
            if parts.last() == Some(&Part::Rest) {
                return Err("something follows {rest...}, which takes all that follows");
            }
            parts.push(Self::part(segment)?);
        }
        Ok(Self { text: text.to_owned(), parts })
    }

    fn part(segment: &str) -> Result<Part, &'static str> {
        match segment.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')) {
            Some("" | "...") => Err("a hole has no name: write {id} or {rest...}"),
            Some(name) if name.contains(['{', '}']) => Err("a hole holds another brace"),
            Some(name) if name.ends_with("...") => Ok(Part::Rest),
            Some(_) => Ok(Part::Hole),
            None if segment.contains(['{', '}']) => Err("a hole is not a whole segment"),
            None => Ok(Part::Literal(segment.to_owned())),
        }
    }

    /// The template as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a raw path fills the template.
    pub fn fits(&self, path: &str) -> bool {
        let mut segments = path::segments(path);
        for part in &self.parts {
            let filled = match (part, segments.next()) {
                (Part::Rest, _) => return true,
                (Part::Literal(literal), Some(segment)) => literal == segment,
                (Part::Hole, Some(segment)) => !segment.is_empty(),
                (Part::Literal(_) | Part::Hole, None) => false,
            };
            if !filled {
                return false;
            }
        }
        segments.next().is_none()
    }

    /// The most specific first: literals before holes before rests, from the left.
    pub(crate) fn order(&self) -> (Vec<u8>, &str) {
        (self.parts.iter().map(Part::rank).collect(), &self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_fit_whole_paths() {
        for (template, path, expected) in [
            ("/orders/{id}", "/orders/7", true),
            ("/orders/{id}", "/orders/", false),
            ("/orders/{id}", "/orders", false),
            ("/orders/{id}", "/orders/7/items", false),
            ("/static/{rest...}", "/static/a/b", true),
            ("/static/{rest...}", "/static", true),
            ("/static/{rest...}", "/statics", false),
            ("/", "/", true),
            ("/", "/a", false),
        ] {
            assert_eq!(Template::parse(template).unwrap().fits(path), expected, "{template} {path}");
        }
    }

    #[test]
    fn broken_templates_say_which_rule_they_break() {
        for bad in ["orders", "/{}", "/{...}", "/x{id}", "/{rest...}/x", "/{a{b}"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }
}
