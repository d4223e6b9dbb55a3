//! See `src/targets/leaf.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = (graven_fuzz::Target::named("leaf").expect("the target is listed").run)(data);
});
