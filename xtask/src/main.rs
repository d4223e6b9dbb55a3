//! graven
fn main() {}
