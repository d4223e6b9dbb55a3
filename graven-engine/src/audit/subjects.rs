//! Being written by helper I (keys of data subjects, sealing and opening of payloads), together with `subjects/*.rs` and `envelope.rs`: helper C leaves step 4 of its brief to it.
