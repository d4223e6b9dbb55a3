//! Being written by helper G (seals and completeness), together with `seal/*.rs` and `completeness.rs`: helper A leaves item 6 of its brief to it.
