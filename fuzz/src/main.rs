//! One program for all targets: `AWF_FUZZ_TARGET` names the property of [`awf_userspace::fuzzing`] that libFuzzer
//! tries to break; the arguments are libFuzzer's own. `cargo xtask fuzz` builds and runs it.

#![cfg_attr(awf_fuzz, no_main)]

#[cfg(awf_fuzz)]
mod target {
    use std::{env, sync::OnceLock};

    use awf_userspace::fuzzing::{self, Property};

    static PROPERTY: OnceLock<Property> = OnceLock::new();

    libfuzzer_sys::fuzz_target!(
        init: {
            let name = env::var("AWF_FUZZ_TARGET").expect("AWF_FUZZ_TARGET names a target");
            let property = fuzzing::property(&name).unwrap_or_else(|| panic!("there is no target {name:?}"));
            let _ = PROPERTY.set(property);
        },
        |data: &[u8]| PROPERTY.get().expect("set above")(data)
    );
}

#[cfg(not(awf_fuzz))]
fn main() {}
