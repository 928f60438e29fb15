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
        let prepared = self.prepare(env, target, spec)?;
        let (promise, object) = Promise::new(env)?;
        prepared.start(env, Arc::clone(&link), Command::collect, move |started| match started {
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
        let keeps = spec.keep_files == Some(true);
        let prepared = self.prepare(env, target, spec)?;
        let (promise, object) = Promise::new(env)?;
        prepared.start(env, leash.link(), Command::spawn, move |started| {
            promise.settle(started.map(|child| Child::new(child, keeps)));
        })?;
        Ok(object)
    }

    /// What can be done on JavaScript's thread.
    fn prepare(&self, env: &Env, target: Target<'_>, mut spec: Spec) -> Result<Prepared> {
        let engine = self.0.clone().ok_or_else(|| napi::Error::from_reason("it is closed"))?;
        let streams = Streams::open(spec.take_streams());
        let streams = streams.map_err(|error| Failure::from(error).throw(env))?;
        let input = spec.take_input();
        let root = match target {
            Either::A(name) => Either::A(name),
            Either::B(root) => Either::B(root.0.clone()),
        };
        Ok(Prepared { engine, root, spec, streams, input })
    }
}

/// A container to be started.
struct Prepared {
    engine: skep::Engine,
    root: Either<String, skep::Root>,
    spec: Spec,
    streams: Streams,
    input: Option<Vec<u8>>,
}

impl Prepared {
    /// Has it started by the [pool], and `then` called.
    fn start<T: 'static>(
        self,
        env: &Env,
        link: Arc<Link>,
        start: fn(&mut Command) -> skep::Result<T>,
        then: impl FnOnce(Started<T>) + Send + 'static,
    ) -> Result<()> {
        submit(env, &pool::SHORT, move || {
            let root = match self.root() {
                Ok(root) => root,
                Err(error) => return then(Err(error.into())),
            };
            let Some(image) = packed(&root) else { return then(self.started(&link, root, start)) };
            let job = pool::UNPACK.submit(move || {
                let unpacked = image.cancellable(&link.cancel).layers();
                then(match unpacked {
                    Err(error) if !link.killed() => Err(error.into()),
                    _ => self.started(&link, root, start),
                });
            });
            if let Err((_, job)) = job {
                job();
            }
        })
    }

    fn root(&self) -> skep::Result<skep::Root> {
        Ok(match &self.root {
            Either::A(name) => self.engine.images().find(name)?.into(),
            Either::B(root) => root.clone(),
        })
    }

    /// Starts it, unless it was killed before there was one.
    fn started<T>(
        self,
        link: &Link,
        root: skep::Root,
        start: fn(&mut Command) -> skep::Result<T>,
    ) -> Started<T> {
        reactor::ready()?;
        if link.killed() {
            return Err(Failure::killed());
        }
        let mut command = self.engine.command(root);
        self.spec.configure(&mut command)?;
        self.streams.connect(&mut command);
        if let Some(input) = self.input {
            command.input(input);
        }
        Ok(start(&mut command)?)
    }
}

type Started<T> = std::result::Result<T, Failure>;

/// The image, if there is one, that would take a start a long time: its layers are not unpacked.
fn packed(root: &skep::Root) -> Option<skep::Image> {
    match root {
        skep::Root::Image(image) if !image.is_unpacked() => Some(image.clone()),
        _ => None,
    }
}
