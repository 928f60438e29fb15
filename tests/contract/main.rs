//! The host contract: one test for each clause of what skep never does to its host.
//!
//! Nearly all of them run as a program of their own, see [`skep_tests::host`]: what they look at
//! belongs to a whole process.

mod children;
mod leftovers;
mod limits;
mod memory_files;
mod rough;
mod sharing;
mod terminal;
mod untouched;
