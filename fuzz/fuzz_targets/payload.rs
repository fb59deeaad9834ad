#![no_main]

// libFuzzer's hook aborts. A panic that epochflow catches is none; one that it does not catch ends the process all the same.
libfuzzer_sys::fuzz_target!(
    init: std::panic::set_hook(Box::new(|panic| eprintln!("{panic}"))),
    |data: &[u8]| epochflow_fuzz::payload::run(data)
);
