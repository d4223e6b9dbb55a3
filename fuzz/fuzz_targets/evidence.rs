//! See `src/targets/evidence.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = (graven_fuzz::Target::named("evidence").expect("the target is listed").run)(data);
});
