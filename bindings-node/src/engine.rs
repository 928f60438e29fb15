//! The engine: opens a store, and starts containers.

use std::sync::Arc;

use napi::bindgen_prelude::{ClassInstance, Object};
use napi::{Either, Env, Result};
use napi_derive::napi;
use skep::Command;

use crate::child::Child;
use crate::command::Spec;
use crate::error::Failure;
use crate::image::Images;
use crate::leash::{Leash, Link};
use crate::pool;
use crate::promise::{Promise, offload, submit};
use crate::reactor;
use crate::root::Root;
use crate::run::Run;
use crate::stdio::Streams;

/// [`skep::Engine`], until it is closed.
#[napi]
pub struct Engine(Option<skep::Engine>);

/// An image's name or id, or a root.
type Target<'env> = Either<String, ClassInstance<'env, Root>>;

#[napi]
impl Engine {
    /// A promise of an engine; of the default store without a path.
    #[napi]
    pub fn open(env: &Env, store: Option<String>) -> Result<Object<'_>> {
        offload(env, &pool::SHORT, move || {
            let engine = match store {
                Some(path) => skep::Engine::open(path)?,
                None => skep::Engine::open_default()?,
            };
            Ok(Engine(Some(engine)))
        })
    }

    #[napi(getter)]
    pub fn images(&self) -> Option<Images> {
        self.0.as_ref().map(|engine| Images(engine.images().clone()))
    }

    /// Lets go of the engine: when its last container has ended, so does its keeper.
    #[napi]
    pub fn close<'env>(&mut self, env: &'env Env) -> Result<Object<'env>> {
        let engine = self.0.take();
        offload(env, &pool::SHORT, move || {
            drop(engine);
            Ok(())
        })
    }

    /// A promise of what a container has said, as text or as bytes, and how it ended.
    #[napi]
    pub fn run<'env>(
        &self,
        env: &'env Env,
        target: Target<'_>,
        spec: Spec,
        leash: &Leash,
        text: bool,
    ) -> Result<Object<'env>> {
        let link = leash.link();
        let command = self.prepare(env, target, spec)?;
        let (promise, object) = Promise::new(env)?;
        submit(env, &pool::SHORT, move || match start(&link, command, Command::collect) {
            Err(failure) => promise.settle(Err(failure)),
            Ok(collector) => {
                let run = Run { collector, promise, text, result: None };
                reactor::watch(link, Box::new(run));
            }
        })?;
        Ok(object)
    }

    /// A promise of a container that runs.
    #[napi]
    pub fn spawn<'env>(
        &self,
        env: &'env Env,
        target: Target<'_>,
        spec: Spec,
        leash: &Leash,
    ) -> Result<Object<'env>> {
        let link = leash.link();
        let keeps = spec.keep_files == Some(true);
        let command = self.prepare(env, target, spec)?;
        offload(env, &pool::SHORT, move || {
            start(&link, command, Command::spawn).map(|child| Child::new(child, keeps))
        })
    }

    /// What can be done on JavaScript's thread; the rest is left to the function returned.
    fn prepare(
        &self,
        env: &Env,
        target: Target<'_>,
        mut spec: Spec,
    ) -> Result<impl FnOnce() -> skep::Result<Command> + Send + 'static> {
        let engine = self.0.clone().ok_or_else(|| napi::Error::from_reason("it is closed"))?;
        let streams = Streams::open(spec.take_streams());
        let streams = streams.map_err(|error| Failure::from(error).throw(env))?;
        let input = spec.take_input();
        let root = match target {
            Either::A(name) => Either::A(name),
            Either::B(root) => Either::B(root.0.clone()),
        };
        Ok(move || {
            let root = match root {
                Either::A(name) => engine.images().find(&name)?.into(),
                Either::B(root) => root,
            };
            let mut command = engine.command(root);
            spec.configure(&mut command)?;
            streams.connect(&mut command);
            if let Some(input) = input {
                command.input(input);
            }
            Ok(command)
        })
    }
}

/// Starts a container, unless it was killed before there was one.
fn start<T>(
    link: &Arc<Link>,
    command: impl FnOnce() -> skep::Result<Command>,
    start: impl FnOnce(&mut Command) -> skep::Result<T>,
) -> std::result::Result<T, Failure> {
    reactor::ready()?;
    if link.killed() {
        return Err(Failure::killed());
    }
    Ok(start(&mut command()?)?)
}
