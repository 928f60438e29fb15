//! Pull and push against Debian's docker-registry, with skopeo as a peer, and against a server
//! that does what a test says, right or wrong. All of it on loopback.

mod access;
mod cancel;
mod failures;
mod image;
mod peer;
mod peers;
mod scripted;
mod together;
