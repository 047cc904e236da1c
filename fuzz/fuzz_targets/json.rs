#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    npc_gateway_fuzz::targets::json(data);
});
