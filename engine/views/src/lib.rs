//! Read models: the shapes that faces show.
