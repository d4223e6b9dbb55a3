//! See `src/targets/anchor.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = (graven_fuzz::Target::named("timestamp").expect("the target is listed").run)(data);
});
