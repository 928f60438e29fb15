//! Whether `include/skep.h`, at the top, is what cbindgen makes of the sources. `SKEP_UPDATE_HEADER=1` writes it.

use std::fs;
use std::path::Path;

#[test]
fn the_header_is_up_to_date() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(here.join("cbindgen.toml")).unwrap();
    let bindings =
        cbindgen::Builder::new().with_crate(here).with_config(config).generate().unwrap();
    let mut generated = Vec::new();
    bindings.write(&mut generated);
    // The renamed pointers of cbindgen.toml are names to it, and get a space behind them.
    let generated = String::from_utf8(generated).unwrap();
    let generated = generated.replace("char * ", "char *").replace("*const * ", "*const *");
    let file = here.join("../include/skep.h");
    if std::env::var_os("SKEP_UPDATE_HEADER").is_some() {
        fs::write(&file, &generated).unwrap();
    }
    let committed = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed == generated,
        "include/skep.h is not what src/ says; SKEP_UPDATE_HEADER=1 cargo test -p skep-c --test \
         header writes it anew"
    );
}
