//! What the host is and has stays as it was.

use skep_tests::host::{self, alone};
use skep_tests::state::State;

#[test]
fn the_host_is_the_same_before_and_after() {
    alone(|| {
        let before = State::now();
        let engine = host::engine();
        let running: Vec<_> =
            (0..3).map(|_| host::shell(&engine, "exec sleep 600").spawn().unwrap()).collect();
        assert_eq!(host::shell(&engine, "exit 4").output().unwrap().status.code(), Some(4));
        host::shell(&engine, "exit 0").args(["x"]).user("nobody-of-that-name").spawn().unwrap_err();
        State::now().assert_same_but(&before, &["files"]);
        drop(running);
        drop(engine);
        State::now().assert_same(&before);
    });
}
