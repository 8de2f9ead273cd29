//! What a team declares: parse, defaults, overlays, validation with line and column.
