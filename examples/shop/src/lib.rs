//! A small real service to deploy: the example of the README and the demo.
