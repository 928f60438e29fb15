//! Links the crate as an addon of Node.js.

fn main() {
    napi_build::setup();
}
