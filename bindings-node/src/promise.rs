//! Promises that threads of this binding settle.

use std::io;

use napi::bindgen_prelude::{Object, ToNapiValue};
use napi::{Env, Error, JsDeferred, Result};

use crate::error::Failure;
use crate::pool::{self, Pool};

type Resolver<T> = Box<dyn FnOnce(Env) -> Result<T>>;

/// The side of a JavaScript promise that settles it, from any thread. It keeps the event loop alive.
/// Once its environment is gone, a worker's for instance, settling does nothing.
pub(crate) struct Promise<T: ToNapiValue>(Option<JsDeferred<T, Resolver<T>>>);

impl<T: ToNapiValue + Send + 'static> Promise<T> {
    /// A promise, and what JavaScript sees of it.
    pub(crate) fn new(env: &Env) -> Result<(Promise<T>, Object<'_>)> {
        let (deferred, promise) = env.create_deferred()?;
        Ok((Promise(Some(deferred)), promise))
    }

    pub(crate) fn settle(mut self, result: std::result::Result<T, Failure>) {
        if let Some(deferred) = self.0.take() {
            deferred.resolve(Box::new(|env| result.map_err(|failure| failure.throw(&env))));
        }
    }
}

impl<T: ToNapiValue> Drop for Promise<T> {
    /// Nobody is left to settle it, as after a panic.
    fn drop(&mut self) {
        if let Some(deferred) = self.0.take() {
            deferred.reject(Error::from_reason("skep has failed: this is a bug"));
        }
    }
}

/// A promise of what `work` comes to, on a thread of `pool`.
pub(crate) fn offload<'env, T: ToNapiValue + Send + 'static>(
    env: &'env Env,
    pool: &'static Pool,
    work: impl FnOnce() -> std::result::Result<T, Failure> + Send + 'static,
) -> Result<Object<'env>> {
    let (promise, object) = Promise::new(env)?;
    submit(env, pool, move || promise.settle(work()))?;
    Ok(object)
}

/// As [`offload`], for what may take minutes; it ends soon once `cancel` is cancelled.
pub(crate) fn offload_long<'env, T: ToNapiValue + Send + 'static>(
    env: &'env Env,
    cancel: &skep::Cancel,
    work: impl FnOnce() -> std::result::Result<T, Failure> + Send + 'static,
) -> Result<Object<'env>> {
    let (promise, object) = Promise::new(env)?;
    let submitted = pool::LONG.submit_cancellable(cancel, move || promise.settle(work()));
    submitted.map_err(|(error, _)| no_thread(error).throw(env))?;
    Ok(object)
}

fn no_thread(error: io::Error) -> Failure {
    Failure::scarce("start", "a thread", error)
}

/// Has `job` done by `pool`.
pub(crate) fn submit(
    env: &Env,
    pool: &'static Pool,
    job: impl FnOnce() + Send + 'static,
) -> Result<()> {
    pool.submit(job).map_err(|(error, _)| no_thread(error).throw(env))
}
