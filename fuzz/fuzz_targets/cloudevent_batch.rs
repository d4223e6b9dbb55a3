//! See `src/targets/cloudevent.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = (graven_fuzz::Target::named("cloudevent_batch").expect("the target is listed").run)(data);
});
