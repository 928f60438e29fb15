//! Containers on the real kernel, with the host's own root.

mod commit;
mod full_disk;
mod images;
mod isolation;
mod limits;
mod magic;
mod processes;
mod python;
mod roots;
mod start;

/// What the other tests run inside; see `skep_tests::probe`.
#[test]
fn probe() {
    skep_tests::probe::answer();
}
