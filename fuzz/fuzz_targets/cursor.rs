//! See `src/targets/cursor.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = (graven_fuzz::Target::named("cursor").expect("the target is listed").run)(data);
});
