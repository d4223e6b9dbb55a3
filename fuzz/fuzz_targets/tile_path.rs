//! See `src/targets/audit.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = (graven_fuzz::Target::named("tile_path").expect("the target is listed").run)(data);
});
