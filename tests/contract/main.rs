//! The host contract: one test for each clause of what skep never does to its host.
