#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| socketio_fuzz::doctor_answer(data));
