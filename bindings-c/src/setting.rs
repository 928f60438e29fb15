//! Options that are set one by one, by functions that need not be looked at.

use std::ffi::c_int;

use crate::error::{SKEP_OK, skep_code, skep_error};
use crate::panic::{Call, contained};

/// Options, or the error of the first that could not be set: that is what their use fails with.
#[derive(Debug, Default)]
pub(crate) struct Setting<T> {
    options: T,
    refused: Option<skep_error>,
}

impl<T> Setting<T> {
    pub(crate) fn new(options: T) -> Setting<T> {
        Setting { options, refused: None }
    }

    pub(crate) fn get(&self) -> Result<&T, skep_error> {
        match &self.refused {
            Some(error) => Err(error.clone()),
            None => Ok(&self.options),
        }
    }

    pub(crate) fn get_mut(&mut self) -> Result<&mut T, skep_error> {
        self.get()?;
        Ok(&mut self.options)
    }
}

/// Sets an option, in the C function `name`; what that returns.
pub(crate) fn set<T>(
    name: &'static str,
    setting: Option<&mut Setting<T>>,
    change: impl FnOnce(Call, &mut T) -> Result<(), skep_error>,
) -> c_int {
    let Some(setting) = setting else { return skep_code::SKEP_INVALID_INPUT as c_int };
    let result = contained(name, || change(Call(name), &mut setting.options));
    let Err(error) = result else { return SKEP_OK };
    let code = error.code();
    setting.refused.get_or_insert(error);
    code
}

/// As [`set`], where core's options are consumed by a change. After an error they are of no use.
pub(crate) fn build<T: Default>(
    name: &'static str,
    setting: Option<&mut Setting<T>>,
    change: impl FnOnce(Call, T) -> Result<T, skep_error>,
) -> c_int {
    set(name, setting, |call, options| {
        *options = change(call, std::mem::take(options))?;
        Ok(())
    })
}
