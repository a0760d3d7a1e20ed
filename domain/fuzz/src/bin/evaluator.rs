//! The evaluator under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| coupon_fuzz::run(data));
