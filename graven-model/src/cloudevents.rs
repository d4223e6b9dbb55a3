//! CloudEvents 1.0 (JSON format) to and from Graven's events.
