//! Carries out the cases of this directory; see its `README.md`.

mod cases;
mod expect;
mod registry;
mod steps;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};

use steps::Store;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let cases = cases::all();
    // A list alone needs no store.
    let store = (!arguments.list).then(|| Arc::new(Store::new()));
    let mut trials: Vec<Trial> = cases
        .into_iter()
        .map(|case| {
            let store = store.clone();
            let ignored = case.name.starts_with("registry/") && !registry::is_there();
            Trial::test(case.name.replace('/', "::"), move || match store {
                Some(store) => steps::carry_out(&store, &case).map_err(Into::into),
                None => Ok(()),
            })
            .with_ignored_flag(ignored)
        })
        .collect();
    trials.push(Trial::test("every_file_is_here", || {
        cases::assert_complete();
        Ok(())
    }));
    let conclusion = libtest_mimic::run(&arguments, trials);
    // Before the process exits, which drops nothing.
    drop(store);
    conclusion.exit_code()
}
